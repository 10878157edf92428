"""`make hil-real PORT=...`: what an adapter or board of yours does under Wirelet's own link and protocol, and its row for the table of
docs/tested-hardware.md.

It opens the port that is named and no other. Without options it sends nothing but what a gateway sends to find a board; LOOPBACK=1 (TX
joined to RX) sends every byte value, RUN=PROGRAM starts a program of the board, UNPLUG=1 asks you to pull the cable. What cannot be
tried here is said with its reason, and is no failure.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Iterator

import anyio
from real_checks import Finding, Verdict, check_all
from real_port import Port

from transports.discovery.facts import PortFacts
from transports.discovery.sysfs import port_of_device


def row(facts: PortFacts | None, findings: list[tuple[str, Finding]], who: str) -> str:
    """A line of the table in docs/tested-hardware.md."""
    what = "a tty that is no port of this machine" if facts is None else " ".join(_parts(facts))
    verdicts = {name: finding.verdict.value for name, finding in findings}
    cells = [
        what,
        f"{platform.system()} {platform.release()} {platform.machine()}",
        *verdicts.values(),
        time.strftime("%Y-%m-%d", time.gmtime()),
        who,
    ]
    return f"| {' | '.join(cells)} |"


def _parts(facts: PortFacts) -> Iterator[str]:
    for part in (facts.manufacturer, facts.product, facts.vid_pid, facts.platform, facts.driver):
        if part:
            yield part.replace("|", "/")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port")
    parser.add_argument("--baud", type=int, default=115200)
    parser.add_argument("--modem-lines", choices=["leave", "assert", "esp-autoreset"], default="leave")
    parser.add_argument("--loopback", action="store_true")
    parser.add_argument("--run", metavar="PROGRAM")
    parser.add_argument("--unplug", action="store_true")
    parser.add_argument("--who", default="", help="for the row of the table")
    arguments = parser.parse_args()
    port = Port(arguments)
    try:
        facts = port_of_device(os.stat(port.path).st_rdev)
    except OSError as error:
        print(f"hil-real: {port.path}: {error.strerror}", file=sys.stderr)
        return 2
    findings = anyio.run(check_all, port)
    print(f"\nFor docs/tested-hardware.md:\n{row(facts, findings, arguments.who)}")
    return 1 if any(finding.verdict is Verdict.FAILED for _, finding in findings) else 0


if __name__ == "__main__":
    raise SystemExit(main())

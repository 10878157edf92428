"""What 100 busy serial ports cost the gateway: each full of 80-byte lines at 921600 baud, into rings.

The figure is the CPU time of the gateway's process alone, as getrusage counts it. Where this machine has no time for so many boards,
fewer are taken, so that each still has its line's rate, and the figure is scaled by ports. Then the same as "Pi class (scaled)": fewer
ports under a quota of 1/8 of a core; and the five functions that cost the most, by samples of the gateway's CPU time.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bench._busy_table import BYTES_PER_S, Look, busy_table
from bench._cpu_quota import cpu_quota
from bench._figures import Figures, show_pace
from processes import NotReady

PORTS: Final = (100, 50, 20)
"""How many are tried."""
WARM_S: Final = 3.0
RUNS: Final = 5
RUN_S: Final = 3.0
PERCENT: Final = 25.0
FULL_RATE: Final = 0.97
"""Of the line: boards that reach less had no time."""
PI_PORTS: Final = 20
PI_CORES: Final = 1 / 8
PI_S: Final = 10.0
PROFILE_S: Final = 15.0
TOP: Final = 5
SAMPLED: Final = Path(__file__).parent / "_sampled.py"


def busy_ports(figures: Figures) -> int:
    """Returns how many ports this machine has time for."""
    for ports in PORTS:
        with busy_table(ports) as table:
            gateway = table.start_gateway()
            time.sleep(WARM_S)
            pace = show_pace(figures)
            runs = [table.watch(gateway, RUN_S) for _ in range(RUNS)]
        rate = statistics.median(run.received_bytes / run.at_s for run in runs) / ports
        if rate >= FULL_RATE * BYTES_PER_S:
            break
    figures.show(f"{ports} ports full of 80-byte lines: each", rate / 1000, "kB/s")
    figures.show("  of the line", rate / BYTES_PER_S * 100, "%")
    for name, words in _COUNTS.items():
        figures.show(f"  {words} for a MB", statistics.median(_per_mb(run, name) for run in runs), "")
    figures.show("  gateway's CPU for a MB", statistics.median(_per_mb(run, "cpu_s") for run in runs) * 1000, "ms")
    share = statistics.median(run.cpu_s / run.at_s for run in runs) * PORTS[0] / ports * BYTES_PER_S / rate
    scaled = "" if ports == PORTS[0] else f", scaled from {ports}"
    figures.show(f"  gateway's CPU, {PORTS[0]} ports at the full rate{scaled}", share * 100, "% of a core", PERCENT)
    figures.show("  the same at the pace that limits assume", share * 100 / pace, "% of a core")
    return ports


_COUNTS: Final = {"reads": "reads", "writes": "writes, mostly acknowledgements", "saves": "checkpoints saved", "wake_ups": "wake-ups"}


def _per_mb(run: Look, name: str) -> float:
    return float(getattr(run, name) / run.received_bytes * 1e6)


def pi_class(figures: Figures) -> None:
    with busy_table(PI_PORTS) as table:
        gateway = table.start_gateway()
        with cpu_quota(gateway.process.pid, PI_CORES) as means:
            time.sleep(WARM_S)
            run = table.watch(gateway, PI_S)
    rate = run.received_bytes / run.at_s / PI_PORTS
    print(f"Pi class (scaled): 1/8 of a core ({means})")
    figures.show(f"  {PI_PORTS} ports full of 80-byte lines: each", rate / 1000, "kB/s")
    figures.show("  of the line", rate / BYTES_PER_S * 100, "%")
    figures.show("  gateway's CPU for a MB", _per_mb(run, "cpu_s") * 1000, "ms")
    figures.show("  gateway's CPU", run.cpu_s / run.at_s * 100, "% of a core")


def profile(ports: int) -> None:
    with tempfile.TemporaryDirectory(prefix="wirelet-bench-") as folder, busy_table(ports) as table:
        counts = Path(folder) / "counts"
        gateway = table.start_gateway((sys.executable, str(SAMPLED), str(counts)))
        os.kill(gateway.process.pid, signal.SIGUSR1)
        time.sleep(PROFILE_S)
        gateway.stop()
        told: dict[str, int] = json.loads(counts.read_text())
    total = sum(told.values())
    print(f"the {TOP} functions that cost the most, of {total} samples; calls into C and the kernel count for their caller")
    for name, count in sorted(told.items(), key=lambda pair: -pair[1])[:TOP]:
        print(f"  {count / total:5.1%}  {name}")


def main() -> int:
    figures = Figures()
    try:
        ports = busy_ports(figures)
        pi_class(figures)
        profile(ports)
    except NotReady as error:
        print(f"ports: {error}", file=sys.stderr)
        return 1
    return figures.exit_code


if __name__ == "__main__":
    raise SystemExit(main())

"""From udev's event to the session, and what ports cost that are not there.

A supervisor with our protocol finds a simulated board by its USB serial number: real libudev, mock devices (umockdev), a pty for the
line. The board answers at once: its own start is not in the figures. Then a gateway whose ports are all absent, by path and by rule.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import umockdev
from bench._figures import Figures, quantile, show_pace
from bench._footprint import cpu_s, memory_mib
from gateways import Gateway
from needs import missing
from processes import NotReady
from workbench import Workbench

REPLUGS: Final = 20
CHILD: Final = Path(__file__).parent / "_hotplug_replugs.py"
CHILD_TIMEOUT_S: Final = 120
EVENT_TO_LINK_MS: Final = 100.0
EVENT_TO_SESSION_MS: Final = 100.0
ABSENT: Final = 10
SETTLE_S: Final = 5.0
IDLE_S: Final = 20.0
ABSENT_PERCENT: Final = 0.5
"""Of which a gateway without devices takes 0.1, and rules on a machine without udevd 0.2: they look every two seconds."""


def replugs(folder: Path, figures: Figures) -> None:
    env = umockdev.environment({**os.environ, "PYTHONPATH": f"{CHILD.parents[1]}:{CHILD.parents[2]}"})
    argv = [sys.executable, str(CHILD), str(folder), str(REPLUGS)]
    told = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=CHILD_TIMEOUT_S, check=False)
    if told.returncode:
        raise NotReady(told.stderr)
    rows = [[float(number) for number in line.split()] for line in told.stdout.splitlines()]
    names = ("unplug event to LinkLost", "plug event to link", "plug event to session, with LIST")
    for name, limit, times in zip(names, (None, EVENT_TO_LINK_MS, EVENT_TO_SESSION_MS), zip(*rows, strict=True), strict=True):
        figures.show(f"{name}, median of {len(times)}", statistics.median(times), "ms", limit)
        figures.show(f"{name}, p95", quantile(times, 0.95), "ms")


def absent(folder: Path, figures: Figures) -> None:
    (folder / "pods").mkdir()
    by_path = [{"path": f"/dev/serial/by-id/usb-absent-{number}"} for number in range(ABSENT)]
    by_rule = [{"match": {"usbSerial": f"ABSENT{number}"}} for number in range(ABSENT)]
    for what, links in (("no device", []), (f"{ABSENT} absent paths", by_path), (f"{ABSENT} absent rules", by_rule)):
        bench = Workbench(folder)
        gateway = bench.gateway(configuration(links), "--standalone", "--manifests", str(folder / "pods"))
        try:
            measure(what, gateway, figures, ABSENT_PERCENT if links else None)
        finally:
            bench.clear()


def measure(what: str, gateway: Gateway, figures: Figures, more_percent: float | None) -> None:
    time.sleep(SETTLE_S)
    before_s = cpu_s(gateway.process.pid)
    time.sleep(IDLE_S)
    percent = (cpu_s(gateway.process.pid) - before_s) / IDLE_S * 100
    figures.show(f"{what}: CPU over {IDLE_S:g} s", percent, "% of a core", more_percent)
    figures.show(f"{what}: RssAnon", memory_mib(gateway.process.pid)["RssAnon"], "MiB")


def configuration(links: list[dict[str, Any]]) -> dict[str, Any]:
    devices = [{"name": f"board-{number}", "class": "sim", "link": {"serial": link}} for number, link in enumerate(links)]
    return {"node": {"name": "bench"}, "classes": [{"name": "sim", "slots": 1}], "devices": devices}


def main() -> int:
    figures = Figures()
    show_pace(figures)
    if why := missing("umockdev"):
        print(f"hotplug: {why}", file=sys.stderr)
        return 1
    try:
        with tempfile.TemporaryDirectory(prefix="wirelet-bench-") as folder:
            replugs(Path(folder), figures)
        with tempfile.TemporaryDirectory(prefix="wirelet-bench-") as folder:
            absent(Path(folder), figures)
    except NotReady as error:
        print(f"hotplug: {error}", file=sys.stderr)
        return 1
    return figures.exit_code


if __name__ == "__main__":
    raise SystemExit(main())

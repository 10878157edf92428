"""What 100 busy serial ports cost the gateway: boards that write 80-byte lines as fast as a line of 921600 baud carries them, into rings.

Simulated boards need far more CPU than the gateway, so 20 ports are measured, at the rate that they reach, and the figure is that of 100
ports at the full rate. Also as "Pi class (scaled)": under a quota of 1/8 of a core, where this machine lets us set one.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from bench._figures import Figures, show_pace
from bench._footprint import cpu_s
from gateways import Gateway, device
from processes import NotReady
from workbench import Workbench

PORTS: Final = 20
BOARD_PROCESSES: Final = 2
BAUD: Final = 921600
BYTES_PER_S: Final = BAUD / 10
FULL_PORTS: Final = 100
START_S: Final = 30.0
WARM_S: Final = 3.0
MEASURE_S: Final = 10.0
PERCENT: Final = 25.0
PI_PORTS: Final = 4
PI_CORE: Final = 1 / 8
PERIOD_US: Final = 100_000
QUOTA_US: Final = int(PERIOD_US * PI_CORE)
GROUPS: Final = (
    (Path("/sys/fs/cgroup"), {"cpu.max": f"{QUOTA_US} {PERIOD_US}"}),
    (Path("/sys/fs/cgroup/cpu"), {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(QUOTA_US)}),
)
PACED_BOARDS: Final = Path(__file__).parent / "_paced_boards.py"


def manifest(number: int) -> dict[str, Any]:
    """A pod that never stops writing, on its own board."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"firehose-{number}", "annotations": {"wirelet.dev/device": f"board-{number}"}},
        "spec": {"containers": [{"name": "main", "image": "firehose", "resources": {"limits": {"wirelet.dev/sim": 1}}}]},
    }


def set_up(folder: Path, memory: Path, workbench: Workbench, ports: int, baud: int) -> Gateway:
    links = [folder / f"port-{process}-{number}" for process in range(BOARD_PROCESSES) for number in range(ports // BOARD_PROCESSES)]
    for process in range(BOARD_PROCESSES):
        options = ["--link", str(folder / f"port-{process}-%d"), "--count", str(ports // BOARD_PROCESSES), "--seed", str(process * ports)]
        workbench.process(f"boards-{process}", [sys.executable, str(PACED_BOARDS), *options, "--baud", str(baud)])
    deadline = time.monotonic() + START_S
    while not all(link.exists() for link in links):
        if time.monotonic() > deadline:
            raise NotReady(f"the boards are not ready within {START_S:g} s")
        time.sleep(0.05)
    manifests = folder / "manifests"
    manifests.mkdir()
    (manifests / "pods.yaml").write_text(yaml.safe_dump_all(manifest(number) for number in range(ports)))
    devices = [device(f"board-{number}", "sim", link, baud) for number, link in enumerate(links)]
    configuration = {
        "node": {"name": "bench"},
        "runtimeDirectory": str(memory),
        "classes": [{"name": "sim", "slots": 1}],
        "devices": devices,
        "logs": {"ring": 1 << 20},
    }
    return workbench.gateway(configuration, "--standalone", "--manifests", str(manifests), wait=False)


def received_bytes(pid: int) -> int:
    """All that the process has read: its ports, but for a little."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return int(lines[0].split()[1])


def measure(gateway: Gateway, ports: int) -> tuple[float, float]:
    """(bytes a second and port, CPU seconds per MB)."""
    pid = gateway.process.pid
    base = received_bytes(pid)
    gateway.process.wait_for(lambda: received_bytes(pid) > base + ports * 50_000, "every board to write")
    time.sleep(WARM_S)
    before_s, before_bytes, begun = cpu_s(pid), received_bytes(pid), time.monotonic()
    time.sleep(MEASURE_S)
    used_s, moved, elapsed_s = cpu_s(pid) - before_s, received_bytes(pid) - before_bytes, time.monotonic() - begun
    return moved / elapsed_s / ports, used_s / moved * 1e6


@contextlib.contextmanager
def quota(pid: int) -> Iterator[str]:
    """Give the process PI_CORE of a core, by cgroup v2 or v1. Yields why not, or nothing."""
    group, limits = next(((folder, limits) for folder, limits in GROUPS if (folder / "cgroup.procs").exists()), (None, {}))
    if group is None:
        yield "no cgroup file system"
        return
    own = group / f"wirelet-bench-{os.getpid()}"
    try:
        own.mkdir()
        for name, value in limits.items():
            (own / name).write_text(value)
        (own / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        with contextlib.suppress(OSError):
            own.rmdir()
        yield f"{error.filename or own}: {error.strerror}"
        return
    try:
        yield ""
    finally:
        with contextlib.suppress(OSError):  # it may have ended meanwhile
            (group / "cgroup.procs").write_text(str(pid))
        own.rmdir()


def busy_ports(figures: Figures) -> None:
    with _table(PORTS, BAUD) as gateway:
        rate, s_per_mb = measure(gateway, PORTS)
        show_pace(figures)
        figures.show(f"{PORTS} ports of {BAUD} baud full of 80-byte lines: each", rate / 1000, "kB/s")
        figures.show("  gateway's CPU for a MB", s_per_mb * 1000, "ms")
        share = s_per_mb * FULL_PORTS * BYTES_PER_S / 1e6
        figures.show(f"  {FULL_PORTS} ports at the full rate: CPU", share * 100, "% of a core", PERCENT)


def pi_class(figures: Figures) -> None:
    with _table(PI_PORTS, BAUD) as gateway, quota(gateway.process.pid) as refusal:
        if refusal:
            print(f"Pi class (scaled): not measured, no CPU quota here: {refusal}")
            return
        rate, s_per_mb = measure(gateway, PI_PORTS)
        figures.show(f"Pi class (scaled), 1/8 core: {PI_PORTS} ports of {BAUD} baud, each", rate / 1000, "kB/s")
        figures.show("  of the line", rate / BYTES_PER_S * 100, "%")
        figures.show("  gateway's CPU for a MB", s_per_mb * 1000, "ms")


@contextlib.contextmanager
def _table(ports: int, baud: int) -> Iterator[Gateway]:
    with tempfile.TemporaryDirectory(prefix="wirelet-bench-") as folder, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        workbench = Workbench(Path(folder))
        try:
            yield set_up(Path(folder), Path(memory), workbench, ports, baud)
        finally:
            workbench.clear()


def main() -> int:
    figures = Figures()
    try:
        busy_ports(figures)
        pi_class(figures)
    except NotReady as error:
        print(f"ports: {error}", file=sys.stderr)
        return 1
    return figures.exit_code


if __name__ == "__main__":
    raise SystemExit(main())

"""What an idle gateway takes: memory as the kernel counts it, and CPU.

In a cluster with ten devices and standalone with one, no pods. Medians of 5 starts, each looked at after a few seconds; the CPU over
20 s of the last start. The limits are on RssAnon: what no other process can use.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import control_plane as control_planes
from bench._figures import Figures
from bench._footprint import MEMORY, cpu_s, memory_mib
from gateways import Gateway, device
from lab import Lab
from processes import NotReady
from workbench import Workbench

STARTS: Final = 5
SETTLE_S: Final = 5.0
"""The node is Ready and every board was asked for its inventory long before."""
IDLE_S: Final = 20.0
BOARDS: Final = 10
SLOTS: Final = 4
NAMESPACE: Final = "bench"

CLUSTER_MIB: Final = 50
STANDALONE_MIB: Final = 30
IDLE_PERCENT: Final = 1


def measure(what: str, start: Callable[[], Gateway], figures: Figures, limit_mib: float) -> None:
    """Start it again and again; the last one is left to its idling."""
    looks = []
    for number in range(STARTS):
        gateway = start()
        time.sleep(SETTLE_S)
        looks.append(memory_mib(gateway.process.pid))
        if number < STARTS - 1:
            gateway.stop()
    for name in MEMORY:
        limit = limit_mib if name == "RssAnon" else None
        figures.show(f"{what}: {name}", statistics.median(look[name] for look in looks), "MiB", limit)
    before_s = cpu_s(gateway.process.pid)
    time.sleep(IDLE_S)
    share = (cpu_s(gateway.process.pid) - before_s) / IDLE_S
    figures.show(f"{what}: CPU over {IDLE_S:g} s", share * 100, "% of a core", IDLE_PERCENT)
    gateway.stop()


def in_cluster(folder: Path, workbench: Workbench, figures: Figures) -> None:
    with control_planes.running(folder / "control-plane") as cluster:
        lab = Lab(cluster, workbench, NAMESPACE)
        lab.boards = workbench.boards(BOARDS, "--slots", str(SLOTS))
        configuration = lab.configuration(boards=BOARDS, slots=SLOTS, shared=False)

        def start() -> Gateway:
            gateway = workbench.gateway(configuration)
            lab.wait_for_node(lambda node: node["status"]["allocatable"].get(lab.resource) == str(BOARDS * SLOTS))
            return gateway

        try:
            measure(f"in a cluster, {BOARDS} devices", start, figures, CLUSTER_MIB)
        finally:
            workbench.clear()


def standalone(folder: Path, workbench: Workbench, figures: Figures) -> None:
    manifests = folder / "manifests"
    manifests.mkdir()
    boards = workbench.boards(1, "--slots", str(SLOTS))
    devices = [device("board", "sim", boards.links[0])]
    configuration = {"node": {"name": "bench"}, "classes": [{"name": "sim", "slots": SLOTS}], "devices": devices}
    try:
        measure(
            "standalone, 1 device",
            lambda: workbench.gateway(configuration, "--standalone", "--manifests", str(manifests)),
            figures,
            STANDALONE_MIB,
        )
    finally:
        workbench.clear()


def main() -> int:
    print(f"medians of {STARTS} starts, {SETTLE_S:g} s after each")
    figures = Figures()
    stages: Sequence[Callable[[Path, Workbench, Figures], None]] = (standalone, in_cluster)
    for stage in stages:
        with tempfile.TemporaryDirectory(prefix="wirelet-bench-") as folder:
            try:
                stage(Path(folder), Workbench(Path(folder)), figures)
            except (control_planes.NotBuilt, NotReady) as error:
                print(f"memory: {error}", file=sys.stderr)
                return 1
    return figures.exit_code


if __name__ == "__main__":
    raise SystemExit(main())

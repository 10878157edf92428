"""How long a person waits: from a bound pod to Running, from delete to gone, from a device's line to `kubectl logs -f`.

A real control plane, the gateway as one of its nodes and ten boards behind ptys, in processes of their own on this machine. One watch in
this process is the clock of a pod's life. Medians of 5 runs; a figure over its limit is MISSED and the exit code is 1.

- bind to Running: pods are created with spec.nodeName, one after another; from the event ADDED to the first with phase Running.
- delete to gone: from the DELETE request (grace 30 s) to the event DELETED, so with the STOP and the exit of a program that ends at once.
- line to `kubectl logs -f`: from the write in the device's process to the whole line in ours, by CLOCK_MONOTONIC. It holds the framed
  protocol, the pty (which takes no time to transmit, unlike a UART), the gateway, the API server, kubectl and the pipe to us.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import control_plane as control_planes
from bench._cluster import Connection, PodWatch, seat
from bench._figures import Figures, median_of_runs, quantile
from bench._footprint import cpu_s, memory_mib
from gateways import device
from lab import Lab
from processes import NotReady
from workbench import Workbench

RUNS: Final = 5
PODS: Final = 100
SCHEDULED_PODS: Final = 20
BOARDS: Final = 10
SLOTS: Final = 4
LINES: Final = 200
LINES_HZ: Final = 50
SKIPPED_LINES: Final = 5
"""What was in the ring before kubectl came."""
NAMESPACE: Final = "bench"
CLOCK_BOARDS: Final = Path(__file__).parent / "_clock_boards.py"

BIND_P50_MS: Final = 60
BIND_P99_MS: Final = 250
DELETE_MS: Final = 200
LINE_P99_MS: Final = 100


class Bench:
    """One node with its boards, and a seat to look at it from."""

    def __init__(self, lab: Lab, connection: Connection, watch: PodWatch, figures: Figures) -> None:
        self._lab = lab
        self._connection = connection
        self._watch = watch
        self._figures = figures
        self._pods = f"/api/v1/namespaces/{lab.namespace}/pods"

    def create(self, name: str, image: str, *args: str, is_bound: bool = True) -> None:
        pod = self._lab.pod_manifest(name, image, *args, request=True)
        if is_bound:
            del pod["spec"]["nodeSelector"]
            pod["spec"]["nodeName"] = self._lab.node
        self._connection.request("POST", self._pods, pod)

    def delete(self, name: str) -> float:
        """Milliseconds from the request to DELETED."""
        begun = time.monotonic()
        self._connection.request("DELETE", f"{self._pods}/{name}")
        return (self._watch.wait(name, lambda seen: seen.kind == "DELETED", "its end") - begun) * 1000

    def run_one(self, name: str, *, is_bound: bool) -> tuple[float, float]:
        """(bound to Running, delete to gone) in milliseconds."""
        self.create(name, "hello", is_bound=is_bound)
        bound_at = self._watch.wait(name, lambda seen: seen.object["spec"].get("nodeName"), "its node")
        running_at = self._watch.wait(name, lambda seen: seen.object["status"].get("phase") == "Running", "Running")
        return (running_at - bound_at) * 1000, self.delete(name)

    def measure_lives(self) -> None:
        self.run_one("first", is_bound=True)  # connections open, modules load
        gateway = self._lab.gateway.process.pid
        before_cpu_s, before_mib = cpu_s(gateway), memory_mib(gateway)["RssAnon"]
        runs = [[self.run_one(f"pod-{run}-{pod}", is_bound=True) for pod in range(PODS)] for run in range(RUNS)]
        used_ms = (cpu_s(gateway) - before_cpu_s) * 1000
        scheduled = [[self.run_one(f"free-{run}-{pod}", is_bound=False) for pod in range(SCHEDULED_PODS)] for run in range(RUNS)]
        binds, deletes = ([[life[part] for life in run] for run in runs] for part in (0, 1))
        show = self._figures.show
        show(f"bind to Running, {PODS} pods one after another: p50", median_of_runs(binds, 0.5), "ms", BIND_P50_MS)
        show("  p99", median_of_runs(binds, 0.99), "ms", BIND_P99_MS)
        show("  the slowest of all runs", max(max(run) for run in binds), "ms")
        show(f"  bound by the scheduler, {SCHEDULED_PODS} pods: p50", median_of_runs([[a for a, _ in run] for run in scheduled], 0.5), "ms")
        show("delete to gone, the program ends at once: p50", median_of_runs(deletes, 0.5), "ms", DELETE_MS)
        show("  p99", median_of_runs(deletes, 0.99), "ms", DELETE_MS)
        show("  the slowest of all runs", max(max(run) for run in deletes), "ms")
        show("gateway's CPU for a pod's life", used_ms / (RUNS * PODS), "ms")
        show(f"gateway's RssAnon, more after {RUNS * (PODS + SCHEDULED_PODS)} pods", memory_mib(gateway)["RssAnon"] - before_mib, "MiB")

    def measure_lines(self) -> None:
        self.create("clock", "clock", "--rate", str(LINES_HZ))
        self._watch.wait("clock", lambda seen: seen.object["status"].get("phase") == "Running", "Running")
        runs = [self._line_ages_ms() for _ in range(RUNS)]
        show = self._figures.show
        show(f"device line to kubectl logs -f, {LINES} lines at {LINES_HZ} Hz: p50", median_of_runs(runs, 0.5), "ms")
        show("  p99", median_of_runs(runs, 0.99), "ms", LINE_P99_MS)
        show("  the oldest of all runs", max(quantile(run, 1) for run in runs), "ms")
        self.delete("clock")

    def _line_ages_ms(self) -> list[float]:
        """How old each line is when it is read; those that were there before kubectl are left out."""
        argv = self._lab.control_plane.kubectl_argv("-n", self._lab.namespace, "logs", "-f", "--tail=1", "clock")
        ages = []
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as kubectl:
            assert kubectl.stdout is not None
            for line in kubectl.stdout:
                ages.append((time.monotonic_ns() - int(line)) / 1e6)
                if len(ages) == LINES + SKIPPED_LINES:
                    break
            kubectl.terminate()
        return ages[SKIPPED_LINES:]


def set_up(lab: Lab, workbench: Workbench, folder: Path) -> None:
    """Boards in a process of their own, and a gateway that is ready for pods on all of them."""
    links = [folder / f"board-{number}" for number in range(BOARDS)]
    argv = [sys.executable, str(CLOCK_BOARDS), "--count", str(BOARDS), "--link", str(folder / "board-%d"), "--slots", str(SLOTS)]
    workbench.process("boards", argv).wait_for(lambda: all(link.exists() for link in links), "the boards to be ready")
    devices = [device(f"board-{number}", lab.class_name, link) for number, link in enumerate(links)]
    configuration = lab.configuration(boards=0, slots=SLOTS, shared=False, devices=devices)
    lab.gateway = workbench.gateway(configuration, wait=False)
    lab.wait_for_node(lambda node: node["status"]["allocatable"].get(lab.resource) == str(BOARDS * SLOTS))


def run(folder: Path) -> int:
    figures = Figures()
    workbench = Workbench(folder)
    with control_planes.running(folder / "control-plane") as cluster:
        cluster.create_namespace(NAMESPACE)
        try:
            lab = Lab(cluster, workbench, NAMESPACE)
            set_up(lab, workbench, folder)
            with seat(cluster, NAMESPACE) as (connection, watch):
                bench = Bench(lab, connection, watch, figures)
                bench.measure_lives()
                bench.measure_lines()
        except BaseException:
            for log in folder.glob("gw-*/gateway.log"):
                print(log.read_text(), file=sys.stderr)
            raise
        finally:
            workbench.clear()
    return figures.exit_code


def main() -> int:
    print(f"medians of {RUNS} runs; {BOARDS} boards of {SLOTS} slots behind ptys")
    with tempfile.TemporaryDirectory(prefix="wirelet-bench-") as folder:
        try:
            return run(Path(folder))
        except (control_planes.NotBuilt, control_planes.KubectlFailed, NotReady) as error:
            print(f"cluster: {error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    raise SystemExit(main())

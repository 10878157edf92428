"""Many pods at once, beside kwok: 100 and 500 pods with spec.nodeName until all are Running, and until all are gone.

The gateway has 100 simulated boards in one other process; kwok has nothing behind its node, writes no terminal status and no events: it
is what the API server allows on this machine in these minutes. Both race in turn on one control plane. Then 500 pods just run.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import control_plane as control_planes
from bench._figures import Figures, show_pace
from bench._footprint import MEMORY, cpu_s, memory_mib
from bench._race import Racer, Result
from lab import Lab
from processes import NotReady, free_port
from workbench import Workbench

RACES: Final = 3
BOARDS: Final = 100
SLOTS: Final = 5
NAMESPACE: Final = "race"
KWOK_NODE: Final = "kwok-0"
KWOK_BUILD: Final = Path(__file__).parent / "kwok" / "build"
LIMITS_S: Final = {100: (0.5, None), 500: (2.0, 3.0)}
"""Pods -> seconds until all are Running, until all are gone."""
KWOK_RATIO: Final = 1.5
CPU_MS: Final = 3.0
STEADY_S: Final = 30.0
STEADY_PERCENT: Final = 2.0
STEADY_MIB: Final = 90.0
EVENTS_S: Final = 10.0
"""How long events may trail."""
EVENT_REASONS: Final = ("Pulled", "Created", "Started", "Killing")


class Race:
    """The gateway's node and kwok's, on one control plane."""

    def __init__(self, lab: Lab, figures: Figures, *, has_kwok: bool) -> None:
        self._lab = lab
        self._figures = figures
        self._has_kwok = has_kwok
        self._racer = Racer(lab.control_plane, NAMESPACE)
        self._gateway = lab.gateway.process.pid

    def run(self) -> None:
        self._race("warm", 20)
        if self._has_kwok:
            self._race_kwok("warm", 20)
        for pods in LIMITS_S:
            show_pace(self._figures)
            self._compare(pods)
        self._stand_still()

    def _compare(self, pods: int) -> None:
        show, (running_limit_s, gone_limit_s) = self._figures.show, LIMITS_S[pods]
        own, kwok, cpu_ms = [], [], []
        for number in range(RACES):
            if self._has_kwok:
                kwok.append(self._race_kwok(f"k{pods}-{number}", pods))
            before_s, audited = cpu_s(self._gateway), self._audited()
            own.append(self._race(f"w{pods}-{number}", pods))
            self._await_events(f"w{pods}-{number}", pods)
            cpu_ms.append((cpu_s(self._gateway) - before_s) * 1000 / pods)
            self._count_requests(audited, pods)
        running_s, gone_s = (statistics.median(getattr(result, name) for result in own) for name in ("running_s", "gone_s"))
        show(f"{pods} pods all Running", running_s, "s", running_limit_s)
        show("  all gone", gone_s, "s", gone_limit_s)
        show("  pods that went without a terminal status", pods - min(result.ended for result in own), "", 0)
        show("  gateway's CPU for a pod's life, events too", statistics.median(cpu_ms), "ms", CPU_MS)
        if kwok:
            kwok_running_s, kwok_gone_s = (statistics.median(getattr(result, name) for result in kwok) for name in ("running_s", "gone_s"))
            show("  kwok: all Running", kwok_running_s, "s")
            show("  kwok: all gone", kwok_gone_s, "s")
            show("  times kwok's, Running", running_s / kwok_running_s, "", KWOK_RATIO)
            show("  times kwok's, gone", gone_s / kwok_gone_s, "", KWOK_RATIO)

    def _race(self, prefix: str, pods: int) -> Result:
        manifest = self._lab.pod_manifest("", "hello", request=True)
        del manifest["spec"]["nodeSelector"]
        manifest["spec"]["nodeName"] = self._lab.node
        return self._racer.run([f"{prefix}-{number}" for number in range(pods)], manifest)

    def _race_kwok(self, prefix: str, pods: int) -> Result:
        manifest = self._lab.pod_manifest("", "hello")
        del manifest["spec"]["nodeSelector"]
        manifest["spec"]["nodeName"] = KWOK_NODE
        return self._racer.run([f"{prefix}-{number}" for number in range(pods)], manifest)

    def _stand_still(self) -> None:
        """500 pods that only run: what the gateway takes then."""
        pods = max(LIMITS_S)

        def look() -> None:
            self._await_events("steady", pods, EVENT_REASONS[:-1])
            audited, before_s, begun = self._audited(), cpu_s(self._gateway), time.monotonic()
            time.sleep(STEADY_S)
            share = (cpu_s(self._gateway) - before_s) / (time.monotonic() - begun)
            self._figures.show(f"{pods} pods just running: CPU", share * 100, "% of a core", STEADY_PERCENT)
            for name, mib in memory_mib(self._gateway).items():
                self._figures.show(f"  {name}", mib, "MiB", STEADY_MIB if name == MEMORY[0] else None)
            self._figures.show("  status writes", self._requests(audited)["patch pods/status"], "", 0)

        manifest = self._lab.pod_manifest("", "hello", request=True)
        del manifest["spec"]["nodeSelector"]
        manifest["spec"]["nodeName"] = self._lab.node
        self._racer.run([f"steady-{number}" for number in range(pods)], manifest, look)

    # -- what the server saw

    def _await_events(self, prefix: str, pods: int, reasons: tuple[str, ...] = EVENT_REASONS) -> None:
        """Told as a miss when some never come."""
        deadline = time.monotonic() + EVENTS_S
        wanted = pods * len(reasons)
        while True:
            _, found = self._lab.control_plane.request("GET", f"/api/v1/namespaces/{NAMESPACE}/events")
            count = sum(event["involvedObject"]["name"].startswith(f"{prefix}-") and event["reason"] in reasons for event in found["items"])
            if count >= wanted or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        if count < wanted:
            self._figures.show(f"  {prefix}: events missing after {EVENTS_S:g} s", wanted - count, "", 0)
        self._lab.control_plane.request("DELETE", f"/api/v1/namespaces/{NAMESPACE}/events")

    def _audited(self) -> int:
        return len(self._lab.control_plane.audit_events(f"system:node:{self._lab.node}"))

    def _requests(self, since: int) -> Counter[str]:
        events = self._lab.control_plane.audit_events(f"system:node:{self._lab.node}")[since:]
        return Counter(_kind(event) for event in events if event["stage"] == "ResponseComplete")

    def _count_requests(self, since: int, pods: int) -> None:
        requests = self._requests(since)
        writes = requests["patch pods/status"] / pods
        if writes > 2:
            self._figures.show("  status writes for a pod's life", writes, "", 2)
        told = ", ".join(f"{kind} {count / pods:.2f}" for kind, count in requests.most_common(5))
        print(f"    requests for a pod: {told}")


def _kind(event: dict[str, Any]) -> str:
    reference = event["objectRef"]
    resource = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
    return f"{event['verb']} {resource}"


def start_kwok(lab: Lab, workbench: Workbench) -> bool:
    """False when it cannot be built here; told on stderr."""
    built = subprocess.run([KWOK_BUILD], capture_output=True, text=True, check=False)
    if built.returncode:
        print(f"race: without kwok: {built.stderr.strip()}", file=sys.stderr)
        return False
    lab.control_plane.request("POST", "/api/v1/nodes", {"metadata": {"name": KWOK_NODE}, "spec": {}})
    argv = [
        f"{built.stdout.strip()}/kwok",
        f"--config={built.stdout.strip()}/stages.yaml",
        f"--kubeconfig={lab.control_plane.admin_kubeconfig}",
        f"--manage-single-node={KWOK_NODE}",
        "--node-ip=127.0.0.1",
        "--cidr=10.64.0.1/16",
        f"--node-port={free_port()}",
        "--node-lease-duration-seconds=40",
    ]
    workbench.process("kwok", argv)

    def is_ready() -> bool:
        status, node = lab.control_plane.request("GET", f"/api/v1/nodes/{KWOK_NODE}")
        return status == 200 and any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions", ()))

    lab.wait(is_ready, "kwok's node")
    return True


def run(folder: Path) -> int:
    figures = Figures()
    workbench = Workbench(folder)
    with control_planes.running(folder / "control-plane") as cluster, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        cluster.create_namespace(NAMESPACE)
        try:
            lab = Lab(cluster, workbench, NAMESPACE)
            lab.boards = workbench.boards(BOARDS, "--slots", str(SLOTS))
            configuration = lab.configuration(boards=BOARDS, slots=SLOTS, shared=False)
            configuration["node"]["capacity"] = {"pods": "1000"}
            configuration["runtimeDirectory"] = memory
            lab.gateway = workbench.gateway(configuration, wait=False)
            lab.wait_for_node(lambda node: node["status"]["allocatable"].get(lab.resource) == str(BOARDS * SLOTS))
            Race(lab, figures, has_kwok=start_kwok(lab, workbench)).run()
        except BaseException:
            for log in (*folder.glob("gw-*/gateway.log"), *folder.glob("kwok-*.log")):
                print("".join(log.read_text().splitlines(keepends=True)[-30:]), file=sys.stderr)
            raise
        finally:
            workbench.clear()
    return figures.exit_code


def main() -> int:
    print(f"medians of {RACES} races in turn; {BOARDS} boards of {SLOTS} slots behind ptys in one process")
    with tempfile.TemporaryDirectory(prefix="wirelet-bench-") as folder:
        try:
            return run(Path(folder))
        except (control_planes.NotBuilt, NotReady) as error:
            print(f"race: {error}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    raise SystemExit(main())

"""A lab in which one board with three counters hangs on a paced cable, and whatever may die is killed at moments drawn from a seed."""

from __future__ import annotations

import enum
import random
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any, Final

import board_on_a_cable
from cable import Cable
from control_plane import ControlPlane, KubectlFailed
from counted import Account, account, read_rings, without_times
from gateways import device
from lab import Lab, container
from processes import Process
from wire import Line
from workbench import Workbench

from gateway.logs.store import AttemptKey

RATE_HZ: Final = 2000
CONTAINERS: Final = ("a", "b", "c")
BAUD: Final = 1_000_000
"""About what the counters need; pace() then sets the line to what they are measured to need."""
LOAD: Final = 0.85
LOAD_SLACK: Final = 0.05
PACE_TRIES: Final = 8
BIG_RING_BYTES: Final = 1 << 24
"""Never overflows in a test: about three minutes of output."""
SMALL_RING_BYTES: Final = 1 << 16
"""Less than a second."""
START_UP_S: Final = 1.5
"""About how long a gateway needs from exec to its first session; some kills must fall into it."""
SESSION_S: Final = 1.5
"""How long a session may get before its gateway is killed."""
RECOVERY_S: Final = 120.0
BOOT_LINE: Final = re.compile(r"^boot \d+, reset cause (\w+)$", re.MULTILINE)
SESSION_LINE: Final = re.compile(r"^session, boot id ([0-9a-f]{8})$", re.MULTILINE)


class _Moment(enum.Enum):
    START_UP = enum.auto()
    SESSION = enum.auto()


class KillLab(Lab):
    """One board, `board`, in a process of its own at the far end of `cable`; its output is a trace of what it was asked."""

    def __init__(self, control_plane: ControlPlane, workbench: Workbench, namespace: str) -> None:
        super().__init__(control_plane, workbench, namespace)
        self.cable: Cable
        self.board: Process
        self._folder = workbench.folder

    def set_up_on_a_cable(self, *, ring_bytes: int = BIG_RING_BYTES, seed: int = 0) -> None:
        """Board, cable and gateway, until the Node is ready for pods."""
        near, far = self._folder / "near", self._folder / "far"
        # As UARTs: what nobody takes is lost, and neither end waits for the other.
        line = Line(baud=BAUD, overrun=True)
        self.cable = Cable(near, far, a_to_b=line, b_to_a=line, seed=seed).__enter__()
        argv = [sys.executable, board_on_a_cable.__file__, str(far), "--slots", "4", "--ring", str(ring_bytes), "--id", "board"]
        self.board = self._workbench.process("board", [*argv, "--line-bytes-per-s", str(BAUD / 10)])
        self.gateway = self._workbench.gateway(self.cable_configuration(near), wait=False)
        self.wait_for_node(lambda node: node["status"]["allocatable"].get(self.resource) == "4")

    def cable_configuration(self, near: Path) -> dict[str, Any]:
        return {
            **self.configuration(boards=0, slots=4, shared=False),
            "logs": {"ring": "48Mi", "budget": "512Mi"},
            "devices": [device("board", self.class_name, near, baud=BAUD)],
        }

    def close(self) -> None:
        super().close()
        if hasattr(self, "cable"):
            self._workbench.clear()  # before the cable goes: its ends are open ports
            self.cable.__exit__(None, None, None)

    # -- the pod

    def run_counters(self, name: str, count: int, **spec: Any) -> None:
        """A pod of three counters that end at count, each in a slot of its own."""
        pod = self.pod_manifest(name, "counter", **spec)
        pod["spec"]["containers"] = [
            {
                "name": each,
                "image": "counter",
                "args": ["--rate", str(RATE_HZ), "--count", str(count)],
                "resources": {"limits": {self.resource: 1}},
            }
            for each in CONTAINERS
        ]
        self.kubectl("create", "-f", "-", stdin=pod)

    def has_ended(self, name: str) -> bool:
        pod = self.pod(name)
        return pod is not None and pod["status"].get("phase") in ("Succeeded", "Failed")

    def log(self, pod: str, container_name: str, *args: str) -> list[str]:
        """`kubectl logs`, once the gateway answers it."""
        newest: list[str] = []

        def look() -> bool:
            try:
                newest[:] = self.kubectl("logs", pod, "-c", container_name, *args).splitlines()
            except KubectlFailed as error:
                newest[:] = [str(error)]
                return False
            return True

        self.wait(look, f"the log of {pod}: {newest}", RECOVERY_S)
        return newest

    def settle_accounts(self, name: str, count: int, attempts: int = 1) -> dict[str, Account]:
        """Every container's log as kubectl shows it, checked number by number, and the same straight from the ring. Ends the gateway."""
        uid = (self.pod(name) or {})["metadata"]["uid"]
        shown = {each: self.log(name, each) for each in CONTAINERS}
        self.gateway.stop()
        rings = read_rings(self.gateway.folder / "run" / "logs")
        for each, lines in shown.items():
            ring = rings[AttemptKey(uid, each, attempts)]
            differs = [(a, b) for a, b in zip(map(without_times, lines), map(without_times, ring), strict=False) if a != b]
            assert len(ring) == len(lines), f"container {each}: kubectl shows {len(lines)} lines, the ring holds {len(ring)}"
            assert not differs, f"container {each}: kubectl shows {differs[0][0]} where the ring holds {differs[0][1]}"
        return {each: account(lines, produced=count) for each, lines in shown.items()}

    # -- what the board saw

    @property
    def trace(self) -> str:
        return self.board.log.read_text()

    def starts(self) -> int:
        return len(re.findall(r"^START ", self.trace, re.MULTILINE))

    def boot_ids(self) -> list[str]:
        return SESSION_LINE.findall(self.trace)

    # -- the line

    def pace(self) -> float:
        """Set the line to the gateway so that what the counters say fills LOAD of it; return the load measured then, for which they must
        have passed 10000: each further digit is 7 % more. On a busy machine they stutter, and it is measured again."""
        wire = self.cable.wires["b"]
        for _ in range(PACE_TRIES):
            self.cable.change("b", baud=int(self._bytes_per_s() * 10 / LOAD))
            load = self._bytes_per_s() * 10 / wire.line.baud
            if abs(load - LOAD) < LOAD_SLACK:
                break
        return load

    def _bytes_per_s(self, window_s: float = 2.0) -> float:
        counts = self.cable.wires["b"].counts
        before, begun = counts.sent, time.monotonic()
        time.sleep(window_s)
        return (counts.sent - before) / (time.monotonic() - begun)

    def wait_for_number(self, pod: str, number: int) -> None:
        """Until every counter has said it and the gateway shows it."""
        self.wait(lambda: min(self._newest_number(pod, each) for each in CONTAINERS) >= number, f"{number} in every log")

    def _newest_number(self, pod: str, container_name: str) -> int:
        lines = self.log(pod, container_name, "--tail=1")
        return int(lines[0]) if lines and lines[0].isdigit() else 0

    # -- killing

    def kill_gateways(self, count: int, rng: random.Random) -> int:
        """Kill it so often, a third of the times on its way up and else at a random moment of its session; how many kills met a session."""
        moments = [_Moment.START_UP] * (count // 3) + [_Moment.SESSION] * (count - count // 3)
        rng.shuffle(moments)
        met, known = 0, len(self.boot_ids()) - 1
        for moment in moments:
            if moment is _Moment.START_UP:
                time.sleep(rng.uniform(0.0, START_UP_S))
            else:
                self.wait(lambda: len(self.boot_ids()) > known, "a session", RECOVERY_S)  # noqa: B023  # called at once
                time.sleep(rng.uniform(0.0, SESSION_S))
            met += len(self.boot_ids()) > known
            self.kill_gateway()
            known = len(self.boot_ids())
        return met

    def kill_gateway(self) -> None:
        self.gateway.kill()
        self.gateway.process.start()

    def kill_apiserver(self) -> None:
        self.control_plane.restart("kube-apiserver")

    def kill_etcd(self) -> None:
        self.control_plane.restart("etcd")

    def kill_board(self) -> None:
        self.board.stop(signal.SIGKILL)
        self.board.start()


def same_runs(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """What adoption must not change: restartCount, containerID and startedAt of each container."""
    return [_run(before, each) for each in CONTAINERS] == [_run(after, each) for each in CONTAINERS]


def _run(pod: dict[str, Any], name: str) -> tuple[int, str, str]:
    status = container(pod, name)
    state = status["state"].get("running") or status["state"]["terminated"]
    return status["restartCount"], status["containerID"], state["startedAt"]

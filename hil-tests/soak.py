"""`make soak`: the kill test at random for an hour (SOAK_MINUTES), beside a gateway that nobody kills and that must not grow.

The killed lab is that of test_kill.py: three counters on a busy line; in each round the gateway, the API server, etcd or the device are
killed or the cable is pulled at moments drawn from a seed, and in the end every number is there once or inside a named gap. The steady lab
has the same rounds of pods, boards that are unplugged and reset, a container in a crash loop and followers that go away; after each round,
when its pods are gone, its gateway is measured. A line a minute says how far it is; the exit code is 1 when a number is missing without
a word, when logs of deleted pods stay, or when something grows.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import control_plane as control_planes
from bench._footprint import memory_mib
from counted import account
from kill_lab import CONTAINERS, RATE_HZ, KillLab
from lab import Lab
from workbench import Workbench

DEFAULT_MINUTES: Final = 60.0
ROUND_NUMBERS: Final = 8 * RATE_HZ
RING_BYTES: Final = 1 << 18
"""Three seconds of output: long outages overflow it, short ones do not."""
STEADY_BOARDS: Final = 4
LINE_EVERY_S: Final = 60.0
BOARD_KILL_ROUNDS: Final = 0.2
"""The part of the rounds in which the device dies in the end."""
STARTED: Final = ("Running", "Succeeded")
"""On a slow machine a round's pod may have ended before anybody looks."""
MIN_ROUNDS: Final = 6
"""Fewer are too short to say whether something grows."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the steady gateway holds when no pod is left."""

    rss_anon_mib: float
    descriptors: int
    threads: int
    tasks: int
    ring_kib: int
    leases: int


GROWTH: Final = Footprint(rss_anon_mib=3.0, descriptors=2, threads=2, tasks=2, ring_kib=64 * STEADY_BOARDS, leases=0)
"""How much the median of the last third of the rounds may be above that of the second third. A board's own log may begin within it."""


class Soak:
    """rounds are all alike and leave nothing behind."""

    def __init__(self, plane: control_planes.ControlPlane, workbench: Workbench, seed: int) -> None:
        self.rounds = self.faults = self.numbers = self.missing = 0
        self.footprints: list[Footprint] = []
        self._plane = plane
        self._rng = random.Random(seed)
        for namespace in ("killed", "steady"):
            plane.create_namespace(namespace)
        self._killed = KillLab(plane, workbench, "killed")
        self._steady = Lab(plane, workbench, "steady")
        self._killed.set_up_on_a_cable(ring_bytes=RING_BYTES, seed=seed)
        self._steady.set_up(boards=STEADY_BOARDS, slots=4)

    def round(self) -> None:
        self.rounds += 1
        name = f"round-{self.rounds}"
        self._killed.run_counters(name, ROUND_NUMBERS, restartPolicy="Never")
        self._begin_steady(name)
        self._killed.wait_for_pod(name, lambda pod: pod["status"].get("phase") in STARTED)
        dies = self._rng.random() < BOARD_KILL_ROUNDS
        rounds_faults = self._rng.randrange(6)
        while not self._killed.has_ended(name):
            time.sleep(self._rng.uniform(0.0, 3.0))
            if dies and not rounds_faults:
                self._killed.kill_board()
                break
            rounds_faults -= 1
            self._fault()
        self._plug_all()
        self._settle_killed(name, dies=dies)
        self._end_steady(name)
        self.footprints.append(self._measure())

    def close(self) -> None:
        self._killed.close()
        self._steady.close()

    # -- faults

    def _fault(self) -> None:
        self.faults += 1
        killed, boards = self._killed, self._steady.boards
        number = self._rng.randrange(STEADY_BOARDS)
        match self._rng.choices(("gateway", "stop", "cable", "board", "reset", "apiserver", "etcd"), (8, 2, 3, 3, 3, 1, 1))[0]:
            case "gateway":
                killed.kill_gateway()
            case "stop":
                killed.gateway.stop()
                killed.gateway.process.start()
            case "cable":
                killed.cable.unplug("a")
                time.sleep(self._rng.uniform(0.0, 0.5))
                killed.cable.plug("a")
            case "board":
                boards.unplug(number)
                time.sleep(self._rng.uniform(0.0, 0.5))
                boards.plug(number)
            case "reset":
                boards.reset(number)
            case "apiserver":
                killed.kill_apiserver()
            case _:
                killed.kill_etcd()

    def _plug_all(self) -> None:
        self._killed.cable.plug("a")

    # -- the killed lab

    def _settle_killed(self, name: str, *, dies: bool) -> None:
        lab = self._killed
        ended = lab.wait_for_pod(name, lambda pod: pod["status"].get("phase") in ("Succeeded", "Failed"), 180.0)
        if ended["status"]["phase"] == "Succeeded":
            accounts = lab.settle_accounts(name, ROUND_NUMBERS)
            lab.gateway.process.start()
        else:
            assert dies, ended["status"]
            accounts = {each: account(lab.log(name, each)) for each in CONTAINERS}
            assert all(found.ends_in_gap for found in accounts.values()), accounts
        self.numbers += sum(found.delivered for found in accounts.values())
        self.missing += sum(found.missing for found in accounts.values())
        lab.kubectl("delete", "pod", name, "--wait=false")
        lab.wait_gone(name, 120.0)
        rings = lab.gateway.folder / "run" / "logs"
        lab.wait(lambda: len(list(rings.glob("*.ring"))) <= 1, "the logs of the deleted pod to go", 60.0)

    # -- the steady lab

    def _begin_steady(self, name: str) -> None:
        lab = self._steady
        items = [
            lab.pod_manifest(f"{name}-{number}", "counter", "--rate", "500", "--count", "3000", request=True, restartPolicy="Never")
            for number in range(2 * STEADY_BOARDS)
        ]
        items.append(lab.pod_manifest(f"{name}-crash", "exit", "1", request=True))
        lab.kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": items})
        lab.wait_for_pod(f"{name}-0", lambda pod: pod["status"].get("phase") in ("Running", "Succeeded", "Failed"), 120.0)
        follower = lab.follow(f"{name}-0")
        follower.wait_for_lines(10)
        follower.close()

    def _end_steady(self, name: str) -> None:
        lab = self._steady
        for number in range(2 * STEADY_BOARDS):
            pod = f"{name}-{number}"
            lab.wait_for_pod(pod, lambda pod: pod["status"].get("phase") in ("Succeeded", "Failed"), 120.0)
            account(lab.kubectl("logs", pod).splitlines())
        lab.kubectl("delete", "pods", "--all", "--wait=false")
        lab.wait(lambda: not lab.pods(), "the pods to go", 120.0)

    def _measure(self) -> Footprint:
        pid, logs = self._steady.gateway.process.pid, self._steady.gateway.folder / "run" / "logs"
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        _, leases = self._plane.request("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")
        return Footprint(
            rss_anon_mib=memory_mib(pid)["RssAnon"],
            descriptors=len(os.listdir(f"/proc/{pid}/fd")),
            threads=int(status["Threads"]),
            tasks=int(self._steady.gateway.metrics().value("wirelet_tasks")),
            ring_kib=sum(path.stat().st_blocks for path in logs.glob("*.ring")) // 2,
            leases=len(leases["items"]),
        )

    # -- telling

    def line(self, begun: float) -> str:
        now = self.footprints[-1]
        return (
            f"{(time.monotonic() - begun) / 60:5.1f} min  {self.rounds} rounds, {self.faults} faults, {self.numbers} numbers, "
            f"{self.missing} told missing; RssAnon {now.rss_anon_mib:.1f} MiB, {now.descriptors} descriptors, {now.threads} threads, "
            f"{now.tasks} tasks, "
            f"rings {now.ring_kib} KiB, {now.leases} leases"
        )

    def growth(self) -> list[str]:
        """What grew, in words. The first third is warming up."""
        third = len(self.footprints) // 3
        grown = []
        for field in fields(Footprint):
            values = [getattr(footprint, field.name) for footprint in self.footprints]
            before, after = statistics.median(values[third : 2 * third]), statistics.median(values[2 * third :])
            if after - before > getattr(GROWTH, field.name):
                grown.append(f"{field.name} grew from {before:g} to {after:g}: {values}")
        return grown


def main() -> int:
    minutes = float(os.environ.get("SOAK_MINUTES", DEFAULT_MINUTES))
    seed = int(os.environ.get("SOAK_SEED", time.time()))
    print(f"{minutes:g} minutes, SOAK_SEED={seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="wirelet-soak-") as folder, control_planes.running(Path(folder) / "control-plane") as plane:
        workbench = Workbench(Path(folder))
        try:
            return soak(Soak(plane, workbench, seed), minutes)
        finally:
            workbench.clear()


def soak(soaking: Soak, minutes: float) -> int:
    begun = told = time.monotonic()
    try:
        while time.monotonic() - begun < minutes * 60:
            soaking.round()
            if time.monotonic() - told >= LINE_EVERY_S:
                told = time.monotonic()
                print(soaking.line(begun), flush=True)
    finally:
        soaking.close()
    print(soaking.line(begun))
    if soaking.rounds < MIN_ROUNDS:
        print(f"{soaking.rounds} rounds are too few to say whether something grows")
        return 0
    grown = soaking.growth()
    print("\n".join(grown) or "nothing grew")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())

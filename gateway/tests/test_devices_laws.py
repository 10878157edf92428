"""Whatever devices, cables, people and kills do, in any order: laws of the device side, checked in random worlds.

Each (wid, gen) takes effect at most once; what the ledger says is what memory says; an attempt that has ended never lives again; when
the devices answer at last, every pod runs, and when it is asked to end it ends, on the device too.
"""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import anyio
import pytest

from gateway.devices.identity import is_unnamed, workload_id
from gateway.pods.seams import AdmissionRejected, AttemptState, PodIdentity, PodUid, StartRefused
from gateway.tests.desk import OTHER, POD, Desk, desk
from gateway.tests.fake_device import FakeDevice
from gateway.tests.warped_time import HastyLoop
from transports.protocol import Reboot, RemoveWorkload, StartWorkload, StopWorkload, WorkloadState

WORLDS = 24
LIVES = 2
STEPS = 60
PODS = (POD, OTHER)
REQUESTS = (StartWorkload, StopWorkload, RemoveWorkload, Reboot)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": HastyLoop}


class World:
    """Two devices and two pods that are started again whenever they ended, until they are to end."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.devices = [FakeDevice("a", slots=1), FakeDevice("b", slots=2)]
        self.stopping: set[PodUid] = set()
        self.ended: dict[tuple[PodUid, int], int] = {}
        """(uid, gen) -> exit code, as it was first told."""

    async def live(self, folder: Path) -> None:
        """One life of the gateway, ended by a kill."""
        async with desk(folder, *self.devices) as table:
            table.workloads.containers_of = lambda uid: {"main": False} if uid in {pod.uid for pod in PODS} else {}
            for device in self.devices:
                device.join()
            async with anyio.create_task_group() as tasks:
                for pod in PODS:
                    tasks.start_soon(self.keep_running, table, pod)
                for _ in range(STEPS):
                    self.step(table)
                    await anyio.sleep(self.rng.choice((0.0, 0.0, 0.1, 0.5, 2.0)))
                    self.check(table)
                tasks.cancel_scope.cancel()

    async def keep_running(self, table: Desk, pod: PodIdentity) -> None:
        """As the pod controller does: from what is seen, one action at a time."""
        while True:
            if table.workloads.settled():
                history = table.workloads.observe(pod.uid).attempts.get("main", ())
                last = history[-1] if history else None
                if pod.uid in self.stopping:
                    if last is not None and last.state is not AttemptState.EXITED:
                        await table.stop(grace_s=1.0, pod=pod)
                elif last is None or last.state in (AttemptState.INTENDED, AttemptState.EXITED):
                    gen = 1 if last is None else last.gen + (last.state is AttemptState.EXITED)
                    with contextlib.suppress(StartRefused, AdmissionRejected):
                        await table.start(gen=gen, pod=pod)
            await anyio.sleep(0.3)

    def step(self, table: Desk) -> None:
        device = self.rng.choice(self.devices)
        match self.rng.randrange(19):
            case 0 | 1:
                device.lose()
                device.join()
            case 2:
                device.lose()
                device.begin_session()
                device.lose()
                device.join()
            case 3:
                device.lose()
            case 4 | 5 | 6:
                device.lose()
                device.reset(4, keeps_ring=self.rng.random() < 0.3)
                if self.rng.random() < 0.7:
                    device.join()
            case 7 | 8 | 9:
                running = [wid for wid, run in device.runs.items() if run.state is not WorkloadState.EXITED]
                if running:
                    device.end(self.rng.choice(running), self.rng.randrange(3))
            case 10 | 11:
                device.held.add(StartWorkload)
            case 12:
                device.held.add(self.rng.choice(REQUESTS))
            case 13 | 14:
                device.let_go(*device.held)
            case 15:
                device.deaf_to ^= {self.rng.choice(REQUESTS)}
            case 16:
                self.stopping ^= {self.rng.choice(PODS).uid}
            case 17:
                device.log_is_held = not device.log_is_held
                device.flush()
            case 18:
                for each in self.devices:
                    each.held.clear()
                    each.deaf_to.clear()
                    each.lose()
                    each.join()

    def check(self, table: Desk) -> None:
        for device in self.devices:
            assert len(device.started) == len(set(device.started)), f"started twice: {device.started}"
        for pod in PODS:
            for attempt in table.workloads.observe(pod.uid).attempts.get("main", ()):
                if attempt.state is AttemptState.EXITED:
                    code = self.ended.setdefault((pod.uid, attempt.gen), attempt.exit_code)
                    assert code == attempt.exit_code, f"attempt {attempt.gen} ended with {code}, and then otherwise"
                else:
                    assert (pod.uid, attempt.gen) not in self.ended, f"attempt {attempt.gen} lives again"

    def runs(self, table: Desk, pod: PodIdentity) -> bool:
        """What the ledger says lives is on a device.

        It may be marked as stopping: a stop that was taken back before a kill is not asked for again, and the run lives on.
        """
        history = table.workloads.observe(pod.uid).attempts.get("main")
        if not history or history[-1].state not in (AttemptState.RUNNING, AttemptState.STOPPING):
            return False
        wid = workload_id(pod.uid, "main")
        on_devices = [run for device in self.devices if (run := device.runs.get(wid)) is not None]
        return any(run.gen == history[-1].gen and run.state is WorkloadState.RUNNING for run in on_devices)

    async def come_to_rest(self, folder: Path) -> None:
        """Everything answers again: every pod runs, and then every pod ends."""
        self.stopping.clear()
        for device in self.devices:
            device.held.clear()
            device.deaf_to.clear()
            device.log_is_held = False
        async with desk(folder, *self.devices) as table:
            table.workloads.containers_of = lambda uid: {"main": False} if uid in {pod.uid for pod in PODS} else {}
            for device in self.devices:
                device.join()
                device.flush()
            async with anyio.create_task_group() as tasks:
                for pod in PODS:
                    tasks.start_soon(self.keep_running, table, pod)
                await table.until(lambda: all(self.runs(table, pod) for pod in PODS))
                self.stopping = {pod.uid for pod in PODS}
                await table.until(lambda: all(table.state(pod=pod) is AttemptState.EXITED for pod in PODS))
                await table.until(lambda: not any(device.runs for device in self.devices))
                tasks.cancel_scope.cancel()
            self.check(table)
            kept = {entry.run: entry for entry in table.ledger.entries()}
            held = {entry.run: entry for uid in table.runs.pods() for entry in table.runs.of_pod(uid) if not is_unnamed(entry.container)}
            assert kept == held
            assert table.workloads.stops_under_way == 0
            for pod in PODS:
                await table.workloads.release(pod.uid)
            assert table.workloads.known_pods() == []
            assert table.ledger.entries() == []
            assert all(table.book.slots.usage(device.name) == (0, 0) for device in self.devices)


@pytest.mark.property
@pytest.mark.parametrize("seed", range(WORLDS))
async def test_the_laws_hold(tmp_path: Path, seed: int) -> None:
    world = World(seed)
    for _ in range(LIVES):
        await world.live(tmp_path)
    await world.come_to_rest(tmp_path)
    assert all(wid in {workload_id(pod.uid, "main") for pod in PODS} for device in world.devices for wid, _ in device.started)

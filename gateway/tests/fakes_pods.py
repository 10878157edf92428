"""Fakes that obey gateway/pods/seams.py: devices in memory, a small API server, a clock turned by hand."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio

from gateway.pods.controller import PodController
from gateway.pods.node import NodeAddresses
from gateway.pods.seams import (
    AdmissionRejected,
    Attempt,
    AttemptState,
    Claims,
    JsonObject,
    PodIdentity,
    PodObservation,
    PodUid,
    Program,
    SourceUnavailable,
    StartRefused,
)
from gateway.pods.times import format_time

WALL = 1_700_000_000.0
NODE = NodeAddresses("192.0.2.7")


def pod(name: str = "p", **spec: Any) -> JsonObject:
    """A pod with one container `main` of image hello, unless spec says otherwise; labels and such are set by the test."""
    spec.setdefault("containers", [{"name": "main", "image": "hello"}])
    metadata = {"name": name, "namespace": "lab", "uid": f"uid-{name}", "generation": 1}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def attempt(gen: int = 1, state: str = "running", **fields: Any) -> Attempt:
    fields.setdefault("started_at", WALL)
    if state == "exited":
        fields.setdefault("finished_at", WALL)
    return Attempt(gen, AttemptState(state), f"wirelet://{gen}", **fields)


class TurnedClock:
    """Both clocks stand still until the test turns them."""

    def __init__(self) -> None:
        self._now = 1000.0
        self.wall_offset = WALL - 1000.0
        self._sleepers: list[tuple[float, anyio.Event]] = []

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now + self.wall_offset

    async def sleep_until(self, deadline: float) -> None:
        if self._now < deadline:
            sleeper = (deadline, anyio.Event())
            self._sleepers.append(sleeper)
            try:
                await sleeper[1].wait()
            finally:
                self._sleepers.remove(sleeper)

    async def turn(self, seconds: float) -> None:
        """Let time pass from one sleeper's deadline to the next, each time until nothing is left to do."""
        end = self._now + seconds
        await idle()
        while (due := min((deadline for deadline, _ in self._sleepers), default=end)) < end:
            await self._turn_to(due)
        await self._turn_to(end)

    async def _turn_to(self, now: float) -> None:
        self._now = max(self._now, now)
        for deadline, alarm in self._sleepers:
            if deadline <= self._now:
                alarm.set()
        await idle()


async def idle() -> None:
    """Until nothing is left to do: the fakes wait for nothing but each other, and never more than a few rounds of the loop."""
    for _ in range(100):
        await anyio.lowlevel.checkpoint()


class FakeApi:
    """A PodSource and a StatusSink over one store of objects, as an API server with its admission of statuses."""

    def __init__(self, clock: TurnedClock) -> None:
        self.objects: dict[PodUid, JsonObject] = {}
        self.config_maps: dict[str, Mapping[str, str]] = {}
        self.secrets: dict[str, Mapping[str, bytes]] = {}
        self.synced = True
        self.is_reachable = True
        self.writes: list[JsonObject] = []
        self.finished: list[PodUid] = []
        self.events: list[tuple[str, str, str]] = []
        self._clock = clock
        self._changed: Callable[[PodUid], None] = lambda uid: None

    # PodSource

    def pods(self) -> Sequence[JsonObject]:
        return list(self.objects.values())

    def get(self, uid: PodUid) -> JsonObject | None:
        return copy.deepcopy(self.objects.get(uid))

    def subscribe(self, changed: Callable[[PodUid], None]) -> None:
        self._changed = changed

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        self._reach()
        return self.config_maps.get(name)

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        self._reach()
        return self.secrets.get(name)

    # StatusSink

    async def write_status(self, pod: JsonObject, status: JsonObject) -> None:
        await anyio.lowlevel.checkpoint()
        self._reach()
        stored = self.objects.get(pod["metadata"]["uid"])
        if stored is None:
            return
        new = self._merged(stored.get("status") or {}, status)
        if new == stored.get("status"):
            return
        self._admit(stored, new)
        stored["status"] = new
        self.writes.append(copy.deepcopy(status))
        self._changed(pod["metadata"]["uid"])

    async def finish(self, pod: JsonObject) -> None:
        self._reach()
        stored = self.objects.get(pod["metadata"]["uid"])
        if stored is None:
            return
        self.finished.append(pod["metadata"]["uid"])
        stored["metadata"]["deletionGracePeriodSeconds"] = 0
        if not stored["metadata"].get("finalizers"):
            del self.objects[pod["metadata"]["uid"]]
        self._changed(pod["metadata"]["uid"])

    def event(self, pod: JsonObject, kind: str, reason: str, message: str, container: str | None = None) -> None:
        self.events.append((kind, reason, message))

    @staticmethod
    def _merged(old: JsonObject, status: JsonObject) -> JsonObject:
        ours = {condition["type"]: condition for condition in status["conditions"]}
        foreign = [condition for condition in old.get("conditions", ()) if condition["type"] not in ours]
        return {**old, **copy.deepcopy(status), "conditions": [*foreign, *copy.deepcopy(status["conditions"])]}

    @staticmethod
    def _admit(stored: JsonObject, new: JsonObject) -> None:
        """kubelet-facts 9: terminated -> running is refused where restartPolicy forbids it."""
        old = stored.get("status") or {}
        if old.get("phase") in ("Succeeded", "Failed"):
            assert new["phase"] == old["phase"], f"{old['phase']} became {new['phase']}"
        for before in old.get("containerStatuses", ()):
            (after,) = (status for status in new["containerStatuses"] if status["name"] == before["name"])
            ended = before["state"].get("terminated")
            policy = stored["spec"].get("restartPolicy", "Always")
            if ended and (policy == "Never" or (policy == "OnFailure" and ended["exitCode"] == 0)):
                assert "terminated" in after["state"], "terminated container came back"
            assert after["restartCount"] >= before["restartCount"]

    def _reach(self) -> None:
        if not self.is_reachable:
            raise SourceUnavailable("connection refused")

    # what users do

    def create(self, pod: JsonObject) -> PodUid:
        uid = PodUid(pod["metadata"]["uid"])
        self.objects[uid] = pod
        self._changed(uid)
        return uid

    def delete(self, uid: PodUid, grace_s: int = 30) -> None:
        metadata = self.objects[uid]["metadata"]
        if grace_s == 0 and not metadata.get("finalizers"):
            self.remove(uid)
            return
        metadata["deletionTimestamp"] = format_time(self._clock.wall() + grace_s)
        metadata["deletionGracePeriodSeconds"] = grace_s
        self._changed(uid)

    def remove(self, uid: PodUid) -> None:
        """Forced: the object is gone at once."""
        del self.objects[uid]
        self._changed(uid)

    def status(self, uid: PodUid) -> JsonObject:
        status: JsonObject = self.objects[uid].get("status", {})
        return status

    def phase(self, uid: PodUid) -> str | None:
        return self.status(uid).get("phase")

    def container(self, uid: PodUid, name: str = "main") -> JsonObject:
        statuses = (*self.status(uid).get("initContainerStatuses", ()), *self.status(uid)["containerStatuses"])
        (found,) = (status for status in statuses if status["name"] == name)
        return dict(found)

    def condition(self, uid: PodUid, kind: str) -> JsonObject:
        (found,) = (condition for condition in self.status(uid)["conditions"] if condition["type"] == kind)
        return dict(found)

    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]


@dataclass
class FakeDevices:
    """Workloads on boards that do as the image says: `hello` stays, `exit-N` ends at once with N, `hang` starts only when told to."""

    clock: TurnedClock
    slots: int = 100
    is_settled: bool = True
    is_connected: bool = True
    is_restarting: bool = False
    is_lent: bool = False
    connection_changes_at: float | None = None
    images: set[str] = field(default_factory=lambda: {"hello", "hang", "exit-0", "exit-3"})
    attempts: dict[PodUid, dict[str, list[Attempt]]] = field(default_factory=dict)
    programs: dict[tuple[PodUid, str, int], Program] = field(default_factory=dict)
    stops: list[tuple[PodUid, str, float]] = field(default_factory=list)
    released: list[PodUid] = field(default_factory=list)
    retired: set[PodUid] = field(default_factory=set)
    changed: Callable[[PodUid], None] = lambda uid: None
    rejects: bool = False
    unhang: anyio.Event = field(default_factory=anyio.Event)

    def observe(self, uid: PodUid) -> PodObservation:
        held = self.attempts.get(uid, {})
        return PodObservation(
            {name: list(history) for name, history in held.items()},
            dict.fromkeys(held, "board-a"),
            self.is_connected,
            self.is_restarting,
            self.connection_changes_at,
            self.is_lent,
        )

    def known_pods(self) -> Sequence[PodUid]:
        return list(self.attempts)

    def settled(self) -> bool:
        return self.is_settled

    async def start(self, pod: PodIdentity, container: str, gen: int, program: Program, claims: Claims) -> None:
        await anyio.lowlevel.checkpoint()
        history = self.attempts.get(pod.uid, {}).get(container, [])
        if history and history[-1].gen == gen and history[-1].state is not AttemptState.INTENDED:
            return
        if self.rejects:
            raise AdmissionRejected("OutOfwirelet.dev/esp32", "Node didn't have enough resource: wirelet.dev/esp32")
        if program.image not in self.images:
            raise StartRefused("ErrImageNeverPull", f'image "{program.image}" is not on device board-a, which holds: hello')
        if sum(len(held) for uid, held in self.attempts.items() if uid not in self.retired) >= self.slots and not history:
            raise StartRefused("DeviceBusy", "every slot is taken")
        assert not history or gen > history[-1].gen or history[-1].state is AttemptState.INTENDED
        assert (pod.uid, container, gen) not in self.programs, "started twice"
        history = self.attempts.setdefault(pod.uid, {}).setdefault(container, [])
        history[:] = [old for old in history if old.gen != gen][-1:]
        history.append(Attempt(gen, AttemptState.INTENDED, f"wirelet://{pod.uid}/{container}/{gen}"))
        if program.image == "hang":
            await self.unhang.wait()
        self.programs[pod.uid, container, gen] = program
        self._replace(pod.uid, container, state=AttemptState.RUNNING, started_at=self.clock.wall())
        if program.image.startswith("exit-"):
            self.end(pod.uid, container, int(program.image.removeprefix("exit-")))

    async def stop(self, uid: PodUid, container: str, grace_s: float) -> None:
        self.stops.append((uid, container, grace_s))
        self._replace(uid, container, state=AttemptState.STOPPING)
        self.changed(uid)

    async def retire(self, uid: PodUid) -> None:
        self.retired.add(uid)

    async def release(self, uid: PodUid) -> None:
        assert all(history[-1].state is AttemptState.EXITED for history in self.attempts.get(uid, {}).values())
        self.attempts.pop(uid, None)
        self.released.append(uid)

    # what devices do

    def end(self, uid: PodUid, container: str = "main", code: int = 0, **fields: Any) -> None:
        self._replace(uid, container, state=AttemptState.EXITED, exit_code=code, finished_at=self.clock.wall(), **fields)
        self.changed(uid)

    def unplug(self, *, connected: bool = False, restarting: bool = False, changes_at: float | None = None) -> None:
        self.is_connected, self.is_restarting, self.connection_changes_at = connected, restarting, changes_at
        for uid in self.attempts:
            self.changed(uid)

    def state(self, uid: PodUid, container: str = "main") -> tuple[int, str]:
        last = self.attempts[uid][container][-1]
        return last.gen, last.state.value

    def _replace(self, uid: PodUid, container: str, **fields: Any) -> None:
        history = self.attempts[uid][container]
        history[-1] = replace(history[-1], **fields)


class Lab:
    """A controller between the fakes, running."""

    def __init__(self) -> None:
        self.clock = TurnedClock()
        self.api = FakeApi(self.clock)
        self.devices = FakeDevices(self.clock)
        self.node: JsonObject = {"metadata": {"name": "pi", "labels": {"bench": "left"}}}

    def controller(self) -> PodController:
        devices, clock = self.devices, self.clock
        controller = PodController(self.api, self.api, devices, node_addresses=NODE, node_object=lambda: self.node, clock=clock)
        self.devices.changed = controller.changed
        return controller

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start a (new) gateway on the same world; it ends like kill -9: nothing is cleaned up."""
        self.gateway = self.controller()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.gateway.run)
            await idle()
            yield
            tasks.cancel_scope.cancel()

    async def create(self, pod: JsonObject) -> PodUid:
        uid = self.api.create(pod)
        await idle()
        return uid

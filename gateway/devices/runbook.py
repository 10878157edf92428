"""Every change of an attempt goes through here: memory, ledger, then whoever watches the pod.

The order is: ledger first for an intent (nothing is started before it is written), ledger first for an end (nothing is told before it is
durable). A slot belongs to a container from its first start until the pod is retired or released and the run has ended on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from gateway.devices.exits import Exit
from gateway.devices.ledger import Entry, Ledger
from gateway.devices.runs import Runs, is_live
from gateway.logs.store import AttemptKey, LogStore
from gateway.pods.seams import AttemptState, PodUid
from transports.protocol import WorkloadStatus

UNKNOWN_CONTAINER: Final = "wid-"
"""Prefix of the name under which a run is kept whose container nobody remembers."""


class RunBook:
    """changed is called with the pod's uid after every change, on the loop."""

    def __init__(
        self, runs: Runs, ledger: Ledger, logs: LogStore, changed: Callable[[PodUid], None], wall_clock: Callable[[], float]
    ) -> None:
        self.runs = runs
        self._ledger = ledger
        self._logs = logs
        self._changed = changed
        self._wall_clock = wall_clock
        self._assigned: dict[tuple[str, str], str] = {}
        self._retired: set[str] = set()
        self._ending: set[str] = set()

    # -- slots

    def device_of(self, uid: str, container: str) -> str | None:
        entry = self.runs.newest(uid, container)
        return entry.device if entry is not None else self._assigned.get((uid, container))

    def devices_of(self, uid: str) -> Mapping[str, str]:
        devices = {container: device for (owner, container), device in self._assigned.items() if owner == uid}
        return devices | {container: entry.device for container, entry in self.runs.containers(uid).items()}

    def assign(self, uid: str, container: str, device: str) -> None:
        self._assigned[uid, container] = device

    def unassign(self, uid: str, container: str) -> None:
        """Give up a choice that led to no attempt, so that the next one may be another device."""
        self._assigned.pop((uid, container), None)

    def slots_of(self, device: str) -> tuple[int, int]:
        """Slots used on a device, and how many of those belong to pods on their way out."""
        used = ending = 0
        for uid in {*self.runs.pods(), *(uid for uid, _ in self._assigned)}:
            for container, holder in self.devices_of(uid).items():
                if holder != device:
                    continue
                entry = self.runs.newest(uid, container)
                if uid in self._retired and (entry is None or not is_live(entry)):
                    continue
                used += 1
                ending += uid in self._ending or uid in self._retired
        return used, ending

    def end_begins(self, uid: str) -> None:
        """The pod is on its way out: its slots will be free."""
        self._ending.add(uid)

    def retire(self, uid: str) -> None:
        self._retired.add(uid)

    # -- attempts

    async def intend(self, entry: Entry) -> None:
        """Durable on return: now START may be sent."""
        await self._put(entry)

    async def running(self, entry: Entry, status: WorkloadStatus, epoch: int) -> None:
        """The device runs it."""
        state = AttemptState.STOPPING if entry.state == AttemptState.STOPPING.value else AttemptState.RUNNING
        started_at = entry.started_at if entry.started_at is not None else self._wall_clock()
        told = replace(entry, state=state.value, slot=status.slot, epoch=epoch, start_off=status.start_off, started_at=started_at)
        if told != entry:
            await self._put(told)

    async def stopping(self, entry: Entry) -> None:
        if entry.state == AttemptState.RUNNING.value:
            await self._put(replace(entry, state=AttemptState.STOPPING.value))

    async def exited(self, entry: Entry, end: Exit) -> None:
        """It has ended and its log is complete or declared lost."""
        now = self._wall_clock()
        await self._put(
            replace(
                entry,
                state=AttemptState.EXITED.value,
                started_at=entry.started_at if entry.started_at is not None else now,
                finished_at=now,
                exit_code=end.exit_code,
                signal=end.signal,
                reason=end.reason,
                message=end.message,
            )
        )
        self._logs.close_attempt(AttemptKey(entry.uid, entry.container, entry.gen))

    def remember_unknown(self, entry: Entry) -> None:
        """A run that only the device knows: kept in memory, so that its slot counts and its pod can be asked about it."""
        self.runs.put(entry)
        self._changed(PodUid(entry.uid))

    def adopt(self, uid: str, container: str, device: str, wid: int) -> None:
        """A run that was unknown turns out to be container's: its placeholder goes."""
        self.runs.forget_container(uid, f"{UNKNOWN_CONTAINER}{wid:08x}")
        self.assign(uid, container, device)

    async def release(self, uid: str) -> None:
        """Forget the pod: its slots, its ledger entries and its rings."""
        await self._ledger.forget(uid)
        self.runs.forget(uid)
        self._assigned = {key: device for key, device in self._assigned.items() if key[0] != uid}
        self._retired.discard(uid)
        self._ending.discard(uid)
        self._logs.release(uid)

    def tell(self, uid: str) -> None:
        """Something about the pod's device changed, not its attempts."""
        self._changed(PodUid(uid))

    async def _put(self, entry: Entry) -> None:
        await self._ledger.put(entry)
        self.runs.put(entry)
        self._changed(PodUid(entry.uid))

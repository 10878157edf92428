"""Every change of an attempt goes through here: ledger, memory, then whoever watches the pod.

The order is: ledger first for an intent (nothing is started before it is written), ledger first for an end (nothing is told before it is
durable). Changes of one attempt are made one after another, each from the newest state: an attempt that has ended stays so, whoever
comes late. A run whose container's name nobody knows is kept in memory only; the device is its ledger until the name is known.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final
from weakref import WeakValueDictionary

import anyio

from gateway.devices.exits import Exit
from gateway.devices.handover import hand_over_log
from gateway.devices.identity import is_unnamed, workload_id
from gateway.devices.ledger import Entry, Ledger, LedgerFailed, RunKey
from gateway.devices.runs import Runs, is_live
from gateway.devices.slotbook import SlotBook
from gateway.logs.store import AttemptKey, LogStore
from gateway.pods.seams import AttemptState, PodUid
from transports.protocol import WorkloadStatus

LEDGER_RETRY_S: Final = 1.0
"""A full disk must be seen and emptied by a person; until then the device that told an end waits, and its log with it."""

_logger = logging.getLogger(__name__)


class RunBook:
    """changed is called with the pod's uid after every change, on the loop."""

    def __init__(
        self, runs: Runs, ledger: Ledger, logs: LogStore, changed: Callable[[PodUid], None], wall_clock: Callable[[], float]
    ) -> None:
        self.runs = runs
        self.slots = SlotBook(runs, changed)
        self._ledger = ledger
        self._logs = logs
        self._changed = changed
        self._wall_clock = wall_clock
        self._turns: WeakValueDictionary[RunKey, asyncio.Lock] = WeakValueDictionary()
        with_logs = {info.key.uid for info in logs.rings() if isinstance(info.key, AttemptKey)}
        self._leftover = with_logs - {str(uid) for uid in runs.pods()}
        """Pods that left nothing but a log: the last life ended between the ledger and the rings."""

    def pods(self) -> list[PodUid]:
        """Every pod that has an attempt or a log."""
        return [*self.runs.pods(), *(PodUid(uid) for uid in self._leftover)]

    def tell(self, uid: str) -> None:
        """Something about the pod's device changed, not its attempts."""
        self._changed(PodUid(uid))

    async def release(self, uid: str) -> None:
        """Forget the pod: its ledger entries, its slots and its rings."""
        await self._durably(lambda: self._ledger.forget(uid))
        self.runs.forget(uid)
        self._leftover.discard(uid)
        self._logs.release(uid)
        self.slots.forget(uid)

    def limit_logs(self, uid: str, log_bytes: int | None) -> None:
        """For the attempts that begin from now on."""
        self._logs.limit(uid, log_bytes)

    # -- attempts

    async def intend(self, entry: Entry) -> None:
        """Durable on return: now START may be sent. Not told: who intends knows. Raises LedgerFailed."""
        await self._ledger.put(entry)
        self.runs.put(entry)
        self.slots.begins(entry.uid)
        for old in self.runs.surplus(entry.uid, entry.container):
            await self._ledger.forget_attempt(old.uid, old.container, old.gen)
            self.runs.drop(old)
            self._logs.release_attempt(_log_key(old))

    async def withdraw(self, run: RunKey) -> None:
        """The device said that it does not start this: the intent never was. Nothing if it has been confirmed. Raises LedgerFailed."""
        async with self._turn(run):
            entry = self.runs.of_run(run)
            if entry is None or entry.state != AttemptState.INTENDED.value:
                return
            await self._ledger.forget_attempt(entry.uid, entry.container, entry.gen)
            self.runs.drop(entry)
        self._changed(PodUid(entry.uid))

    async def running(self, run: RunKey, status: WorkloadStatus, epoch: int, boot_id: int, *, is_told: bool = True) -> None:
        """The device has it. Not told when it is the answer to a start: who asked knows."""

        def confirmed(entry: Entry) -> Entry:
            return replace(
                entry,
                state=(AttemptState.STOPPING if entry.state == AttemptState.STOPPING.value else AttemptState.RUNNING).value,
                started_at=entry.started_at if entry.started_at is not None else self._wall_clock(),
                slot=status.slot,
                epoch=epoch,
                start_off=status.start_off,
                boot_id=boot_id,
                is_unready=status.ready is False,
            )

        await self._change(run, confirmed, is_told=is_told)

    async def stopping(self, run: RunKey) -> None:
        """A stop was asked for. Not told: who asked knows."""
        is_running = AttemptState.RUNNING.value
        stopping = AttemptState.STOPPING.value
        await self._change(run, lambda entry: replace(entry, state=stopping) if entry.state == is_running else entry, is_told=False)

    async def exited(self, run: RunKey, end: Exit) -> None:
        """It has ended and its log is complete or declared lost."""
        await self._change(run, lambda entry: self._ended(entry, end))

    async def never_started(self, run: RunKey, end: Exit) -> None:
        """The end of what is still an intent; nothing if the device has confirmed it meanwhile."""
        await self._change(run, lambda entry: self._ended(entry, end) if entry.state == AttemptState.INTENDED.value else entry)

    def _ended(self, entry: Entry, end: Exit) -> Entry:
        now = self._wall_clock()
        return replace(
            entry,
            state=AttemptState.EXITED.value,
            started_at=entry.started_at if entry.started_at is not None else now,
            finished_at=now,
            exit_code=end.exit_code,
            signal=end.signal,
            reason=end.reason,
            message=end.message,
        )

    # -- runs that only a device remembers

    def remember_unnamed(self, entry: Entry) -> Entry:
        """In memory, so that its slot counts and its pod can be asked about it."""
        self.runs.put(entry)
        self._changed(PodUid(entry.uid))
        return entry

    def recognise(self, uid: str, containers: Mapping[str, bool]) -> list[Entry]:
        """Give unnamed runs of the pod their container's name (name -> is it an init container). Returns them: keep() each."""
        found = []
        for entry in [entry for entry in self.runs.of_pod(uid) if is_unnamed(entry.container)]:
            for name, is_init in containers.items():
                if workload_id(uid, name) == entry.wid:
                    named = replace(entry, container=name, is_init=is_init)
                    self.runs.put(named)
                    hand_over_log(self._logs, _log_key(entry), _log_key(named))
                    found.append(named)
        return found

    async def keep(self, run: RunKey) -> None:
        """Make a recognised run durable."""
        async with self._turn(run):
            entry = self.runs.of_run(run)
            if entry is not None:
                await self._durably(lambda: self._ledger.put(entry))

    # -- private

    async def _change(self, run: RunKey, change: Callable[[Entry], Entry], *, is_told: bool = True) -> None:
        """Make a change of a live attempt, from its newest state: durable, then seen, then told."""
        async with self._turn(run):
            entry = self.runs.of_run(run)
            if entry is None or not is_live(entry):
                return
            told = change(entry)
            if told == entry:
                return
            if not is_unnamed(told.container):
                await self._durably(lambda: self._ledger.put(told))
            self.runs.put(told)
            if not is_live(told):
                self._logs.close_attempt(_log_key(told))
        if is_told:
            self._changed(PodUid(told.uid))

    def _turn(self, run: RunKey) -> asyncio.Lock:
        turn = self._turns.get(run)
        if turn is None:
            turn = self._turns[run] = asyncio.Lock()  # free, it costs no turn of the loop and no search for it
        return turn

    async def _durably(self, write: Callable[[], Awaitable[None]]) -> None:
        """What has happened cannot be refused: try until the ledger takes it."""
        while True:
            try:
                await write()
            except LedgerFailed as error:
                _logger.error("ends are not told before the ledger can be written", extra={"why": str(error)})
                await anyio.sleep(LEDGER_RETRY_S)
            else:
                return


def _log_key(entry: Entry) -> AttemptKey:
    return AttemptKey(entry.uid, entry.container, entry.gen)

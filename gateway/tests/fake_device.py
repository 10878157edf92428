"""A device and its supervisor, as the gateway's side of the seam sees them: in order, one event at a time, answers to their callers.

It obeys SPEC.md where the gateway can tell the difference: START of the same run is answered and not done again, another gen of a workload
that is present is BAD_STATE, exit records stay until REMOVE, a reset loses everything, RequestLost comes before Left.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

import anyio

from transports.errors import DeviceError, SessionLost
from transports.protocol import (
    Away,
    Checkpoint,
    ClockSample,
    ExitReason,
    Gap,
    Inventoried,
    Inventory,
    Item,
    Joined,
    Left,
    Listed,
    Output,
    ProgramInfo,
    Reboot,
    Record,
    RecordKind,
    RemoveWorkload,
    Request,
    Returned,
    StartWorkload,
    StopWorkload,
    WorkloadChanged,
    WorkloadState,
    WorkloadStatus,
)
from transports.sink import DeviceSink
from transports.wire.records import encode_record, parse_records

BUSY: Final = 4
BAD_STATE: Final = 8
REQUEST_DEADLINE_S: Final = 30.0
"""As a supervisor has it."""


@dataclass(eq=False)
class _Waiter:
    over: anyio.Event = field(default_factory=anyio.Event)
    status: WorkloadStatus | None = None
    error: Exception | None = None


class FakeDevice:
    """Power it with reset(), connect it with join(); held kinds of requests are done and not answered before let_go()."""

    def __init__(self, name: str, *, slots: int = 4) -> None:
        self.name = name
        self.slots = slots
        self.device_id = b"fake"
        self.sink: DeviceSink
        self.boot_id = 0x5EED0000
        self.epoch = self.boot_id
        self.reset_cause = 1
        self.offset = 0
        self.boot_off = 0
        self.runs: dict[int, WorkloadStatus] = {}
        self.started: list[tuple[int, int]] = []
        """Every START that took effect."""
        self.asked: list[Request] = []
        self.held: set[type[Request]] = set()
        """Answers that do not come."""
        self.deaf_to: set[type[Request]] = set()
        """Requests that are answered and have no effect."""
        self.refuses: dict[type[Request], DeviceError] = {}
        self.told_epoch = self.told_off = 0
        """How far the gateway was told of which epoch."""
        self.log_is_held = False
        """LOG is produced and does not arrive."""
        self._unsent: list[Item] = []
        self.known_boot = 0
        self._has_session = False
        self._is_listed = anyio.Event()
        self._waiters: list[tuple[Request, _Waiter]] = []
        self._events: list[Callable[[], Awaitable[None]]] = []
        self._more = anyio.Event()
        self._handled = anyio.Event()
        self._is_handling = False

    async def run(self) -> None:
        """The supervisor's life: events in order, one at a time."""
        while True:
            while self._events:
                self._is_handling = True
                await self._events.pop(0)()
                self._is_handling = False
            self._handled.set()
            self._more = anyio.Event()
            await self._more.wait()

    async def told(self) -> None:
        """Return when everything that has happened was handled."""
        while self._events or self._is_handling:
            self._handled = anyio.Event()
            await self._handled.wait()

    # -- power and cable

    def reset(self, cause: int = 1, *, keeps_ring: bool = False) -> None:
        """A new boot; the session ends, as it does when a device says HELLO."""
        self.lose("the device began a new session")
        self.runs.clear()
        self.boot_id += 1
        self.reset_cause = cause
        if not keeps_ring:
            self.epoch, self.offset, self.boot_off = self.boot_id, 0, 0
            self._unsent.clear()
        self.boot_off = self.offset

    def join(self) -> None:
        """HELLO to READY, LIST and INVENTORY."""
        self.begin_session()
        self.list()
        self.tell_inventory()

    def begin_session(self) -> None:
        is_new, self.known_boot = self.boot_id != self.known_boot, self.boot_id
        self._has_session = True
        if self.told_epoch not in (0, self.epoch):
            end = Output(self.told_epoch, (Gap(self.told_off, None, None, 4),), Checkpoint(self.boot_id, self.epoch), ClockSample(0, 0.0))
            self._tell(lambda: self._store(end))
        self.told_epoch = self.epoch
        joined = Joined(self.device_id, self.boot_id, self.epoch, is_new, self.reset_cause, 1, self.boot_off, ClockSample(0, 0.0))
        self._tell(lambda: self.sink.link_changed(self.name, None))
        self._tell(lambda: self.sink.happened(self.name, joined))

    def list(self) -> None:
        listed = Listed(tuple(self.runs.values()))
        self._tell(lambda: self.sink.happened(self.name, listed))
        self._is_listed.set()

    def tell_inventory(self) -> None:
        programs = tuple(ProgramInfo(name) for name in ("counter", "hello"))
        self._tell(lambda: self.sink.happened(self.name, Inventoried(Inventory(programs, self.slots))))

    def sleep(self) -> None:
        """AWAY: it says nothing for a while and means no harm."""
        self._tell(lambda: self.sink.happened(self.name, Away(1, 60_000)))

    def wake_up(self) -> None:
        self._tell(lambda: self.sink.happened(self.name, Returned()))

    def lose(self, why: str = "the cable was pulled") -> None:
        if not self._has_session:
            return
        self._has_session, self._is_listed = False, anyio.Event()
        waiters, self._waiters = self._waiters, []
        for _, waiter in waiters:
            self._tell(lambda waiter=waiter: self._answer(waiter, error=SessionLost(why)))  # type: ignore[misc]  # bound per turn
        self._tell(lambda: self.sink.happened(self.name, Left(why)))

    def gateway_died(self) -> None:
        """Its session is over without a word; what it knew of this boot is in its checkpoint."""
        self._has_session, self._is_listed = False, anyio.Event()
        self._waiters.clear()
        self._events.clear()
        self._is_handling = False

    # -- programs

    def end(self, wid: int, code: int = 0) -> None:
        """A program ends by itself, or because it was told to."""
        status = self.runs[wid]
        reason = ExitReason.ERROR if code else ExitReason.COMPLETED
        ended = replace(status, state=WorkloadState.EXITED, end_off=self.offset, exit_code=code, reason=reason)
        self.runs[wid] = ended
        if self._has_session:
            self._tell(lambda: self.sink.happened(self.name, WorkloadChanged(ended)))

    def say(self, wid: int, *lines: str) -> None:
        for line in lines:
            self._log(self.runs[wid].slot, RecordKind.STDOUT, line.encode())
        self.flush()

    def lose_bytes(self, size_bytes: int) -> None:
        """The ring overwrote some before they were sent."""
        self._unsent.append(Gap(self.offset, self.offset + size_bytes, 1, 1))
        self.offset += size_bytes
        self.flush()

    def flush(self) -> None:
        if self.log_is_held or not self._has_session or not self._unsent:
            return
        items, self._unsent = tuple(self._unsent), []
        self.told_off = self.offset
        output = Output(self.epoch, items, Checkpoint(self.boot_id, self.epoch, self.offset), ClockSample(0, 0.0))
        self._tell(lambda: self._store(output))

    async def _store(self, output: Output) -> None:
        if self.sink.store(self.name, output):
            await self.sink.settle(self.name)

    # -- Requester

    async def request(self, request: Request) -> WorkloadStatus | None:
        if not self._has_session:
            raise SessionLost(f"{self.name}: there is no session")
        waiter = _Waiter()
        self._waiters.append((request, waiter))
        if self._is_listed.is_set():
            self._do(request, waiter)
        else:
            self._tell(lambda: self._do_later(request, waiter))
        with anyio.move_on_after(REQUEST_DEADLINE_S):
            await waiter.over.wait()
        if waiter.error is not None:
            raise waiter.error
        if not waiter.over.is_set():
            raise SessionLost(f"{self.name}: no answer within {REQUEST_DEADLINE_S:g} s")
        return waiter.status

    def let_go(self, *kinds: type[Request]) -> None:
        """Answer what was held, with what was true when it was asked."""
        self.held -= set(kinds)
        held, self._waiters = self._waiters, []
        for request, waiter in held:
            if type(request) in kinds:
                self._tell(lambda waiter=waiter: self._answer(waiter))  # type: ignore[misc]  # bound per turn
            else:
                self._waiters.append((request, waiter))

    # -- private

    def _tell(self, event: Callable[[], Awaitable[None]]) -> None:
        self._events.append(event)
        self._more.set()

    def _do(self, request: Request, waiter: _Waiter) -> None:
        """The device's part, at once; its answer comes after what was told before."""
        self.asked.append(request)
        refusal = self.refuses.get(type(request))
        if refusal is not None:
            waiter.error = refusal
        elif type(request) not in self.deaf_to:
            self._obey(request, waiter)
        if type(request) in self.held:
            return
        if (request, waiter) in self._waiters:
            self._waiters.remove((request, waiter))
        self._tell(lambda: self._answer(waiter))
        self.answered(request)

    def answered(self, request: Request) -> None:
        """For tests in which something follows an answer at once."""

    async def _do_later(self, request: Request, waiter: _Waiter) -> None:
        """A request that waited for LIST."""
        if (request, waiter) in self._waiters:
            self._do(request, waiter)

    async def _answer(self, waiter: _Waiter, error: Exception | None = None) -> None:
        waiter.error = waiter.error or error
        waiter.over.set()

    def _obey(self, request: Request, waiter: _Waiter) -> None:
        match request:
            case StartWorkload():
                self._start(request, waiter)
            case StopWorkload():
                status = self.runs.get(request.wid)
                if status is not None and status.gen == request.gen and status.state is not WorkloadState.EXITED:
                    self._tell(lambda: self._end_later(request.wid))
            case RemoveWorkload():
                status = self.runs.get(request.wid)
                if status is not None and status.gen == request.gen:
                    if status.state is WorkloadState.EXITED:
                        del self.runs[request.wid]
                    else:
                        waiter.error = DeviceError(BAD_STATE, "it has not exited")
            case Reboot():
                self._tell(self._reboot)

    async def _end_later(self, wid: int) -> None:
        if wid in self.runs and self.runs[wid].state is not WorkloadState.EXITED:
            self.end(wid)

    async def _reboot(self) -> None:
        self.reset(3)
        self.join()

    def _start(self, request: StartWorkload, waiter: _Waiter) -> None:
        known = self.runs.get(request.wid)
        if known is not None:
            if known.gen == request.gen:
                waiter.status = known
            else:
                waiter.error = DeviceError(BAD_STATE, f"gen {known.gen} is here")
            return
        slot = next((slot for slot in range(self.slots) if all(run.slot != slot for run in self.runs.values())), None)
        if slot is None:
            waiter.error = DeviceError(BUSY, "all slots are in use")
            return
        self.started.append((request.wid, request.gen))
        status = WorkloadStatus(request.wid, request.gen, slot, WorkloadState.RUNNING, self.offset, tag=request.tag)
        self.runs[request.wid] = waiter.status = status
        self._unsent.append(Record(self.offset, self.offset + 16, 0, slot, RecordKind.SYSTEM, start=(request.wid, request.gen)))
        self.offset += 16
        self.flush()

    def _log(self, slot: int, kind: RecordKind, data: bytes) -> None:
        raw = encode_record(0, slot, kind, data)
        items, _ = parse_records(b"", raw, self.offset)
        self._unsent += items
        self.offset += len(raw)

"""The gateway of the model: real FramedProtocol, a store with the three places where kill -9 can fall, and a small pod controller.

`Disk` is what survives: rings that drop offsets they already hold, the checkpoint, and the ledger of runs. Everything else dies.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from transports.errors import DeviceError, SessionLost
from transports.protocol import (
    Answered,
    Checkpoint,
    Gap,
    Joined,
    Left,
    Listed,
    Output,
    Record,
    RemoveWorkload,
    Request,
    RequestId,
    RequestLost,
    SendInput,
    StartWorkload,
    StopWorkload,
    WorkloadChanged,
    WorkloadState,
    WorkloadStatus,
)
from transports.protocols.framed import FramedProtocol
from transports.tests.model_talks import Person, TalkWitness, has_typed
from transports.tests.taken_apart import taken_apart
from transports.wire.control_channel import earliest
from transports.wire.numbers import Code
from transports.wire.records import MAX_RECORD_BYTES

STORE_STEP_S = 0.0015
"""Between receive and ring, ring and checkpoint, checkpoint and stored()."""


@dataclass(slots=True)
class Run:
    """A line of the ledger."""

    gen: int
    boot_id: int
    was_seen: bool = False
    has_ended: bool = False


@dataclass(slots=True)
class Disk:
    """What a kill leaves."""

    checkpoint: Checkpoint | None = None
    rings: dict[int, list[Record | Gap]] = field(default_factory=dict)
    """epoch -> items, contiguous."""
    ledger: dict[int, Run] = field(default_factory=dict)
    next_number: int = 1
    """STOP requests, commands and typed items are numbered, so that each can be recognised."""
    people: list[Person] = field(default_factory=list)
    """Not that a gateway would know them."""

    def append(self, output: Output) -> None:
        """Drop what the ring already holds; a gap that begins before its end is trimmed."""
        ring = self.rings.setdefault(output.epoch, [])
        for item in taken_apart(output.items):
            held = ring[-1].end if ring else 0
            if held is None:
                continue
            if item.offset >= held:
                ring.append(item)
            elif item.end is None:
                ring.append(Gap(held, None, None, item.reason))
            elif item.end > held:
                assert isinstance(item, Gap), f"record {item} begins before {held}"
                ring.append(Gap(held, item.end, None, item.reason))


class ModelGateway:
    """One process of the gateway."""

    def __init__(self, disk: Disk, seed: int, credit_bytes: int, witness: TalkWitness) -> None:
        self.disk = disk
        self._witness = witness
        self._rng = random.Random(seed)
        self._credit_bytes = credit_bytes
        self.core = FramedProtocol(disk.checkpoint, gateway_id=1, mtu=243, credit_bytes=credit_bytes, rng=random.Random(seed))
        self._storing: list[Output] = []
        self._phase = 0
        self._phase_at: float | None = None
        self.open: dict[RequestId, Request] = {}
        self.ended: set[RequestId] = set()
        self.is_listed = False
        self.boot_id = 0
        self.view: dict[int, WorkloadStatus] = {}

    # -- the store

    def next_store(self) -> float | None:
        return self._phase_at

    def store_step(self, now: float) -> None:
        """The next of: ring, checkpoint, stored()."""
        if not self._storing:
            self._phase_at = None
            return
        output = self._storing[0]
        match self._phase:
            case 0:
                self.disk.append(output)
            case 1:
                self.disk.checkpoint = output.checkpoint
            case _:
                self.core.stored(output.checkpoint, now)
                self._storing.pop(0)
        self._phase = (self._phase + 1) % 3
        self._phase_at = now + STORE_STEP_S if self._storing else None

    # -- events

    def take_events(self, now: float) -> None:
        for event in self.core.events():
            match event:
                case Output():
                    self._storing.append(event)
                    self._check_memory()
                    if self._phase_at is None:
                        self._phase_at = now + STORE_STEP_S
                case Joined():
                    self.boot_id = event.boot_id
                case Listed():
                    self._listed(event.workloads, now)
                case WorkloadChanged():
                    self._saw(event.status)
                case Answered():
                    self._answered(event, now)
                case RequestLost():
                    self._end(event.request_id)
                case Left():
                    self.is_listed = False
                    assert not self.open, f"requests without an end: {self.open}"
                case _:
                    pass

    def _check_memory(self) -> None:
        """What is not stored is bounded by the credit, whatever the device sends; half a record more may have been stored before."""
        unstored = sum(item.end - item.offset for output in self._storing for item in output.items if not isinstance(item, Gap))
        assert unstored <= self._credit_bytes + MAX_RECORD_BYTES, f"{unstored} bytes are not stored"

    def _end(self, request_id: RequestId) -> Request:
        assert request_id not in self.ended, f"{request_id} ended twice"
        self.ended.add(request_id)
        return self.open.pop(request_id)

    def _saw(self, status: WorkloadStatus) -> None:
        self.view[status.wid] = status
        run = self.disk.ledger.get(status.wid)
        if run is not None and run.gen == status.gen:
            run.was_seen = True
            run.has_ended = status.state is WorkloadState.EXITED

    def _listed(self, workloads: tuple[WorkloadStatus, ...], now: float) -> None:
        """LIST decides."""
        self.is_listed = True
        self.view = {}
        for status in workloads:
            self._saw(status)
        for wid, run in self.disk.ledger.items():
            shown = self.view.get(wid)
            if run.has_ended or (shown is not None and shown.gen == run.gen):
                continue
            if run.was_seen or run.boot_id != self.boot_id:
                run.has_ended = True
            else:
                self._ask(StartWorkload(wid, run.gen, "p"), now)

    def _answered(self, event: Answered, now: float) -> None:
        request = self._end(event.request_id)
        match request:
            case StartWorkload():
                if event.code == 0:
                    assert event.status is not None
                    assert (event.status.wid, event.status.gen) == (request.wid, request.gen)
                    self._saw(event.status)
                else:
                    self.disk.ledger[request.wid].has_ended = True
            case StopWorkload():
                assert event.code == request.grace_ms % 11, f"{request} was answered with {event.code}"
            case RemoveWorkload():
                shown = self.view.get(request.wid)
                if event.code == 0 and shown is not None and shown.gen == request.gen:
                    del self.view[request.wid]
            case SendInput():
                known = event.code in (Code.OK, Code.BUSY, Code.BAD_STATE)
                assert known, event
                run, number = (request.wid, request.gen), int(request.data[1:7])
                assert event.code or has_typed(self._witness, run, number), f"{request} was answered and never arrived"
            case _:
                pass

    def _ask(self, request: Request, now: float) -> None:
        try:
            self.open[self.core.request(request, now)] = request
        except SessionLost:
            self.is_listed = False

    # -- what a controller wants

    def start(self, wid: int, now: float) -> None:
        """Start, or after an end remove and start the next attempt."""
        if not self.is_listed:
            return
        run = self.disk.ledger.get(wid)
        if run is not None and not run.has_ended:
            return
        gen = run.gen + 1 if run else 1
        if run is not None:
            self._ask(RemoveWorkload(wid, run.gen), now)
        self.disk.ledger[wid] = Run(gen, self.boot_id)
        self._ask(StartWorkload(wid, gen, "p", tag=bytes([wid])), now)

    def stop(self, wid: int, now: float) -> None:
        run = self.disk.ledger.get(wid)
        if run is not None and self.is_listed:
            self._ask(StopWorkload(wid, run.gen, grace_ms=self.disk.next_number), now)
            self.disk.next_number += 1

    # -- what people want

    def run_command(self, size: int, *, is_slow: bool, now: float) -> None:
        if not self.is_listed:
            return
        name = f"{self._number():06d}"
        saying = (name.encode() * (size // 6 + 1))[:size]
        try:
            command = self.core.begin_command((1, 1), [name], None, lambda: None, now)
        except DeviceError as error:
            if error.code != Code.BUSY:
                raise
            return
        self.disk.people.append(Person(name, command, saying, is_slow=is_slow))

    def type(self, wid: int, now: float) -> None:
        run = self.disk.ledger.get(wid)
        if run is not None and self.is_listed:
            try:
                self._ask(SendInput(wid, run.gen, b"<%06d>" % self._number()), now)
            except DeviceError as error:
                if error.code != Code.BUSY:
                    raise

    def typist_leaves(self, wid: int) -> None:
        """Not in the middle of an item: whoever does that knows that it may be lost."""
        waits = any(isinstance(request, SendInput) and request.wid == wid for request in self.open.values())
        if (run := self.disk.ledger.get(wid)) is not None and not waits:
            self.core.typist_left(wid, run.gen)

    def _number(self) -> int:
        self.disk.next_number += 1
        return self.disk.next_number - 1

    @property
    def people(self) -> list[Person]:
        """Who is in the middle of something."""
        return [person for person in self.disk.people if not person.is_done]

    def act(self) -> bool:
        """Everybody has a turn. True when somebody moved."""
        before = [(p.said_bytes, len(p.out), len(p.err), p.is_done) for p in self.disk.people]
        for person in self.people:
            person.act(self._rng)
        return before != [(p.said_bytes, len(p.out), len(p.err), p.is_done) for p in self.disk.people]

    def die(self) -> None:
        """With the process go the conversations."""
        for person in self.people:
            person.reason = "killed"

    def next_deadline(self) -> float | None:
        return earliest(self.core.next_deadline(), self._phase_at)

"""A console core and a gateway that keeps what it tells, by hand: bytes and time go in, events are looked at."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, TypeVar

from transports.console_driver import make_profile
from transports.console_options import ConsoleOptions
from transports.protocol import (
    DEVICE_SLOT,
    Answered,
    Checkpoint,
    Event,
    Gap,
    Item,
    Output,
    Record,
    RecordKind,
    RemoveWorkload,
    RequestId,
    SendInput,
    StartWorkload,
    StopWorkload,
    WorkloadChanged,
    WorkloadStatus,
)
from transports.protocols.console.core import ConsoleProtocol, profile_state

E = TypeVar("E")
STEP_S = 0.001


@dataclass
class Rig:
    """up() first. Everything that the core sent is in sent, everything that it told in events."""

    options: ConsoleOptions = field(default_factory=ConsoleOptions)
    checkpoint: Checkpoint | None = None
    seed: int = 1
    now: float = 100.0
    events: list[Event] = field(default_factory=list)
    sent: bytes = b""

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        profile = make_profile(self.options, profile_state(self.checkpoint, self.options.profile), rng)
        self.core = ConsoleProtocol(self.checkpoint, profile=profile, marks=self.options.marks, rng=rng)

    def up(self) -> Rig:
        self.core.link_up(self.now)
        return self.look()

    def down(self) -> Rig:
        self.core.link_down(self.now)
        return self.look()

    def hear(self, data: bytes) -> Rig:
        """The console says data."""
        self.now += STEP_S
        self.core.receive_data(data, self.now)
        return self.look()

    def wait(self, seconds: float) -> Rig:
        """Nothing comes for so long; deadlines are kept."""
        until = self.now + seconds
        while (at := self.core.next_deadline()) is not None and at <= until:
            self.now = max(self.now, at)
            self.core.handle_deadline(self.now)
            self.look()
        self.now = until
        return self

    def start(self, wid: int = 7, gen: int = 1, **more: Any) -> RequestId:
        request = self.core.request(StartWorkload(wid, gen, "any", **more), self.now)
        self.look()
        return request

    def stop(self, wid: int = 7, gen: int = 1, grace_ms: int = 5000) -> RequestId:
        request = self.core.request(StopWorkload(wid, gen, grace_ms), self.now)
        self.look()
        return request

    def keys(self, data: bytes, wid: int = 7, gen: int = 1, *, is_end: bool = False) -> RequestId:
        request = self.core.request(SendInput(wid, gen, data, is_end), self.now)
        self.look()
        return request

    def remove(self, wid: int = 7, gen: int = 1) -> RequestId:
        request = self.core.request(RemoveWorkload(wid, gen), self.now)
        self.look()
        return request

    def look(self) -> Rig:
        self.events += self.core.events()
        while not self.core.is_drained:
            self.sent += self.core.data_to_send(self.now)
            self.events += self.core.events()
        return self

    # -- what was told

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def last(self, kind: type[E]) -> E:
        return self.all(kind)[-1]

    def answer(self, request_id: RequestId) -> Answered | None:
        return next((event for event in self.all(Answered) if event.request_id == request_id), None)

    @property
    def items(self) -> list[Item]:
        return [item for output in self.all(Output) for item in output.items]

    def log(self, slot: int, kind: RecordKind = RecordKind.STDOUT) -> str:
        """As a reader sees one stream: pieces joined, gaps as `<gap>`."""
        text = b""
        for item in self.items:
            if isinstance(item, Gap):
                text += b"<gap>\n"
            elif isinstance(item, Record) and item.slot == slot and item.kind in (kind, kind + 2):
                text += item.data + (b"\n" if item.kind is kind else b"")
        return text.decode("utf-8", "backslashreplace")

    @property
    def device_log(self) -> str:
        return self.log(DEVICE_SLOT)

    @property
    def run_log(self) -> str:
        return self.log(0)

    @property
    def statuses(self) -> list[WorkloadStatus]:
        return [event.status for event in self.all(WorkloadChanged)]

    def killed(self, **changes: Any) -> Rig:
        """The gateway was killed after it had stored everything: another process begins with the last checkpoint."""
        return Rig(self.options, self.last(Output).checkpoint, seed=self.seed + 1, now=self.now + 10, **changes)

"""What a supervisor asks of a protocol core, and what the core tells: the seam between moving bytes and understanding them.

A core is pure: it does no I/O and reads no clock. Bytes and `now` (seconds on the event loop's clock) come in as arguments, bytes to
send and events come out. It lives as long as its device is configured and survives replugs; it is built from a Checkpoint.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, NewType, Protocol, runtime_checkable

RequestId = NewType("RequestId", int)


# -- what a device tells about a workload


class WorkloadState(enum.IntEnum):
    """State of a run on a device, with the numbers of SPEC.md (status key 4)."""

    STARTING = 1
    RUNNING = 2
    STOPPING = 3
    EXITED = 4


class ExitReason(enum.IntEnum):
    """Why a run ended, with the numbers of SPEC.md (status key 9)."""

    COMPLETED = 0
    ERROR = 1
    OOM = 2
    WATCHDOG = 3
    PANIC = 4
    STOPPED = 5
    LINK_LOSS = 6
    START_FAILED = 7


@dataclass(frozen=True, slots=True)
class WorkloadStatus:
    """One status record: the answer to START, an item of LIST, STARTED or EXITED. Offsets are full LOG offsets of the current epoch."""

    wid: int
    gen: int
    slot: int
    state: WorkloadState
    start_off: int = 0
    end_off: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: ExitReason | None = None
    start_uptime_ms: int | None = None
    end_uptime_ms: int | None = None
    tag: bytes = b""
    ready: bool | None = None
    """None: nobody can say, and it counts as ready while it runs."""
    message: str = ""
    """Why it ended, for people, where more is known than the reason."""


@dataclass(frozen=True, slots=True)
class ProgramInfo:
    """One program that a device holds (INVENTORY)."""

    name: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a device says about itself: its programs, its slots and the board's name."""

    programs: tuple[ProgramInfo, ...] = ()
    slots: int = 1
    board: str = ""


@dataclass(frozen=True, slots=True)
class DeviceStats:
    """What a device says about its own state, now (STATS). None is what it does not say."""

    cpu_permille: int | None = None
    heap_used_bytes: int | None = None
    heap_bytes: int | None = None
    least_stack_bytes: int | None = None
    """The least that was ever free."""
    temperature_mc: int | None = None
    """In thousandths of a degree Celsius."""
    readings: tuple[tuple[str, int], ...] = ()
    """Named by the device; they may go down."""


# -- output


class RecordKind(enum.IntEnum):
    """Kind of a LOG record (low three bits of src)."""

    SYSTEM = 0
    STDOUT = 1
    STDERR = 2
    STDOUT_PARTIAL = 3
    STDERR_PARTIAL = 4
    GAP = 7


DEVICE_SLOT = 31
"""The slot number in which the device itself logs."""


class Record(NamedTuple):
    """A whole LOG record, at [offset, end) of the epoch's stream. data has no line end; for SYSTEM and GAP see start_record, gap_record.

    A tuple, because a frozen dataclass takes four times as long to make, and there are thousands a second.
    """

    offset: int
    end: int
    uptime_ms: int
    slot: int
    kind: RecordKind
    data: bytes = b""
    start: tuple[int, int] | None = None
    """(wid, gen) when this is a start record (kind SYSTEM, data [1, wid, gen])."""
    lost: tuple[int, int, int] | None = None
    """(records, bytes, reason) when this is a gap record (kind GAP): lines the device refused."""
    log_from: int | None = None
    """Of a start record: what the device logged from this offset on is in the run's log too, though it came before the run."""


class Lines(NamedTuple):
    """Output records of one slot that follow each other, at [offset, end) of the stream, as they came.

    Nobody takes them apart before somebody reads them: a busy device brings thousands of lines a second.
    """

    offset: int
    end: int
    slot: int
    line_count: int
    size_bytes: int
    """Of the lines alone."""
    uptime_ms: int
    """Of the last one."""
    has_partial: bool
    """There are STDOUT_PARTIAL or STDERR_PARTIAL records among them."""
    raw: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes [offset, end) of the stream that will never come: overwritten in the device's ring, or before what the gateway asked for.

    records is None when nobody can count them; end is None when not even the bytes are known: an epoch that ended unread, or a time in
    which nobody read what nothing keeps.
    """

    offset: int
    end: int | None
    records: int | None
    reason: int


Item = Lines | Record | Gap
"""A piece of the log. A Record is one that is no line, or a line in an encoding that nobody writes."""


class GapReason(enum.IntEnum):
    """Why bytes or lines are missing (SPEC.md, SKIP and gap records)."""

    OVERWRITTEN = 1
    LOSSY_SENDER = 2
    REFUSED = 3
    UNKNOWN = 4
    NOBODY_READING = 16
    """Not of the wire: a console that nobody listened to."""


class Checkpoint(NamedTuple):
    """What must be durable before a byte is acknowledged; WELCOME is built from it after a restart of the gateway.

    stored = expected + len(tail): the tail is the half record that has arrived, kept raw so that it counts as stored.
    """

    boot_id: int
    epoch: int
    expected: int = 0
    tail: bytes = b""
    sid: int = 0
    uptime_ms: int = 0

    @property
    def stored(self) -> int:
        return self.expected + len(self.tail)


@dataclass(frozen=True, slots=True)
class ClockSample:
    """The device's uptime was uptime_ms (u32, wraps) when the loop's clock said now."""

    uptime_ms: int
    now: float


# -- events, in the order in which they happened


STATS_CAP: Final = 1 << 4
"""Bit of Joined.caps (SPEC.md, levels and capabilities)."""


@dataclass(frozen=True, slots=True)
class Joined:
    """A session began. Until Listed nothing may be concluded about workloads."""

    device_id: bytes
    boot_id: int
    epoch: int
    new_boot: bool
    """The device was reset since the last session (or was never seen): its RAM state is gone."""
    reset_cause: int
    caps: int
    boot_off: int
    """LOG offset at which this boot began; what ran before ended there, in the same epoch."""
    clock: ClockSample

    @property
    def tells_stats(self) -> bool:
        return bool(self.caps & STATS_CAP)


@dataclass(frozen=True, slots=True)
class Listed:
    """All workloads the device has, after Joined. Requests are accepted from now on."""

    workloads: tuple[WorkloadStatus, ...]


@dataclass(frozen=True, slots=True)
class Inventoried:
    inventory: Inventory


@dataclass(frozen=True, slots=True)
class Reported:
    """Before the answer to ReadStats."""

    stats: DeviceStats


class Output(NamedTuple):
    """LOG bytes in order. The sink stores items, then checkpoint, and only then calls stored(checkpoint) through the supervisor."""

    epoch: int
    items: tuple[Item, ...]
    checkpoint: Checkpoint
    clock: ClockSample


@dataclass(frozen=True, slots=True)
class WorkloadChanged:
    """STARTED or EXITED."""

    status: WorkloadStatus


@dataclass(frozen=True, slots=True)
class Text:
    """Bytes beside frames: boot ROM, panic, printf. Unauthenticated; logged with source console."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Away:
    """The device sleeps, erases, reboots or updates and will be silent for duration_ms; no fault."""

    reason: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Returned:
    """The end of Away in the same session."""


@dataclass(frozen=True, slots=True)
class Left:
    """The session ended; open requests were answered with RequestLost before this. why is for people."""

    why: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A request's answer. code 0 is OK; status where the request has one."""

    request_id: RequestId
    code: int
    status: WorkloadStatus | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class RequestLost:
    """The session ended before the answer: the outcome is unknown until the next Listed."""

    request_id: RequestId


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a person should know: garbage, a version mismatch, an ERROR notification. reason is CamelCase and stable."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class LinkSpent:
    """Nothing good comes of this link any more: it is given up, whatever the far end does, and another one opened."""

    why: str


GARBAGE: Final = "GarbageReceived"
"""Reason of a Problem: much cannot be decoded, and nobody knows why."""
ANOTHER_DEVICE: Final = "AnotherDevice"
"""Reason of a Problem: who answers is not who is meant, and gets no session."""
BAUD_MISMATCH: Final = "BaudMismatch"
"""Reason of a Problem: the line's own error counters say why."""
OUTPUT_HELD: Final = "OutputHeld"
"""Reason of a Problem: nothing that is sent is taken."""


Event = (
    Joined
    | Listed
    | Inventoried
    | Reported
    | Output
    | WorkloadChanged
    | Text
    | Away
    | Returned
    | Left
    | Answered
    | RequestLost
    | Problem
    | LinkSpent
)


# -- requests


@dataclass(frozen=True, slots=True)
class StartWorkload:
    wid: int
    gen: int
    program: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    tag: bytes = b""
    tty: bool = False
    stdin: bool = False
    working_dir: str = ""
    """Empty for where the device starts programs."""
    from_boot: bool = False
    """Its log shall begin with the boot that it starts in. Only where the gateway keeps the device's log."""


@dataclass(frozen=True, slots=True)
class StopWorkload:
    wid: int
    gen: int
    grace_ms: int
    signal: int = 15


@dataclass(frozen=True, slots=True)
class RemoveWorkload:
    wid: int
    gen: int


@dataclass(frozen=True, slots=True)
class Reboot:
    mode: int = 0
    delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class ReadStats:
    """All pages of it."""


MAX_INPUT_BYTES: Final = 4096
"""In one SendInput: what a tty takes at once, and what a person pastes."""


@dataclass(frozen=True, slots=True)
class SendInput:
    """Bytes for the standard input of a run, at most MAX_INPUT_BYTES. The answer comes when there is room for more."""

    wid: int
    gen: int
    data: bytes
    is_end: bool = False
    """Nothing follows data."""


Request = StartWorkload | StopWorkload | RemoveWorkload | Reboot | ReadStats | SendInput


@dataclass(slots=True)
class Counters:
    """Plain counters for metrics and tests; only ever grow."""

    rx_frames: int = 0
    rx_bad: int = 0
    tx_frames: int = 0
    retransmits: int = 0
    rejects: int = 0
    sessions: int = 0
    extra: dict[str, int] = field(default_factory=dict)


class DeviceProtocol(Protocol):
    """A protocol core of the gateway's side. Every method is cheap and never blocks."""

    @property
    def counters(self) -> Counters: ...

    def link_up(self, now: float) -> None:
        """A new link is open; nothing was sent on it yet."""
        ...

    def link_down(self, now: float) -> None:
        """The link is gone; the session ends, open requests are lost."""
        ...

    def receive_data(self, data: bytes, now: float) -> None:
        """Bytes from the link, cut anywhere. Then look at events() and data_to_send()."""
        ...

    def data_to_send(self, now: float) -> bytes:
        """What to write next, at most about two frames; call again after it was written until is_drained."""
        ...

    @property
    def is_drained(self) -> bool:
        """data_to_send has told everything: it has nothing more until something else is called."""
        ...

    def events(self) -> list[Event]:
        """What happened since the last call, in order; the caller handles each before it calls again."""
        ...

    def stored(self, checkpoint: Checkpoint, now: float) -> None:
        """Output up to checkpoint is durable: only this makes ACKs and credit."""
        ...

    def request(self, request: Request, now: float) -> RequestId:
        """Queue a request for after Listed. Raises LocalProtocolError when it cannot fit (both sizes); SessionLost without a session."""
        ...

    def next_deadline(self) -> float | None: ...

    def handle_deadline(self, now: float) -> None:
        """Call when next_deadline has passed; then look at events() and data_to_send()."""
        ...


@runtime_checkable
class PausingProtocol(Protocol):
    """A core that knows how long its device's output may gather unread without harm."""

    @property
    def read_pause_s(self) -> float:
        """For now; 0: not at all."""
        ...


@runtime_checkable
class WatchedProtocol(Protocol):
    """A core that keeps an unfinished line back unless somebody looks at it as it comes."""

    def watch(self, *, is_watched: bool) -> None: ...


@runtime_checkable
class CommandProtocol(Protocol):
    """A core whose device runs other commands beside its workloads, over a CommandLink."""

    def command_line(self, argv: Sequence[str], env: Sequence[str], working_dir: str) -> str:
        """What the link is told to run argv in the environment of a workload. Raises LocalProtocolError for what cannot be said."""
        ...

"""The messages of CTRL: frozen values with `to_map` and `from_map` (SPEC.md, messages).

Requests `[0, rid, method, {..}]`, answers `[1, rid, code, {..}]` and notifications `[2, method, {..}]` are the bytes of CTRL. Method
numbers and codes are in numbers.py, the messages of channel LINK in datagrams.py. Optional keys that are absent are None or their
default. from_map raises RemoteProtocolError.

Keys that are assigned here:

| message | keys |
|---|---|
| INVENTORY request | 2 from (opaque, from the last answer) |
| INVENTORY answer | 1 programs [[name, version] ..], 2 next (ask again), 3 slots, 4 board (text), 5 memory (bytes), 6 firmware (text) |
| STATS answer | 1 cpu (permille), 2 next, 3 heap used (bytes), 4 heap (bytes), 5 least free stack (bytes), |
| | 6 temperature (milli-degree Celsius), 7 counters [[name, value] ..] |
| CONDITION | 1 reason (CamelCase), 2 state (bool), 3 message |
| ERROR | 1 code, 2 text, 3 rid (absent when no request caused it) |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from transports.errors import RemoteProtocolError
from transports.protocol import DeviceStats, ExitReason, Inventory, ProgramInfo, WorkloadState, WorkloadStatus
from transports.wire.numbers import KEY_LIMIT, KEY_NEXT, KEY_TEXT, MAX_NAME_CHARS, MAX_TAG_BYTES, MAX_TEXT_CHARS, Body, put_optional
from transports.wire.offsets import MAX_OFFSET_BITS
from transports.wire.profile import MAX_ITEMS, Fields, pack, refuse_negative_keys, unpack

# -- CTRL: the three shapes


@dataclass(frozen=True, slots=True)
class Request:
    rid: int
    method: int
    body: Mapping[int, object]


@dataclass(frozen=True, slots=True)
class Answer:
    rid: int
    code: int
    body: Mapping[int, object]

    @property
    def text(self) -> str:
        """What the answerer says about a code other than OK."""
        text = self.body.get(KEY_TEXT, "")
        return text[:MAX_TEXT_CHARS] if isinstance(text, str) else ""


@dataclass(frozen=True, slots=True)
class Notification:
    method: int
    body: Mapping[int, object]


ControlMessage = Request | Answer | Notification


def refusal(text: str, have_limit: tuple[int, int] | None = None) -> Body:
    """The body of an answer with a code other than OK."""
    body: Body = {KEY_TEXT: text}
    put_optional(body, KEY_LIMIT, list(have_limit) if have_limit else None)
    return body


def encode_control(message: ControlMessage) -> bytes:
    """The bytes of one CTRL message; whether they fit the peer's max_msg is for the sender to check."""
    match message:
        case Request(rid, method, body):
            return pack([0, rid, method, body])
        case Answer(rid, code, body):
            return pack([1, rid, code, body])
        case Notification(method, body):
            return pack([2, method, body])


def decode_control(data: bytes, *, max_items: int = MAX_ITEMS) -> ControlMessage:
    """One CTRL message; its body is a map of the profile, not yet looked at. Raises RemoteProtocolError."""
    match unpack(data, max_items=max_items):
        case [0, int(rid), int(number), dict(body)] if _is_u32(rid) and _is_u32(number):
            return Request(rid, number, body)
        case [1, int(rid), int(number), dict(body)] if _is_u32(rid) and _is_u32(number):
            return Answer(rid, number, body)
        case [2, int(number), dict(body)] if _is_u32(number):
            return Notification(number, body)
        case _:
            raise RemoteProtocolError("a control message is [0, rid, method, {..}], [1, rid, code, {..}] or [2, method, {..}]")


def _is_u32(value: int) -> bool:
    return type(value) is int and 0 <= value < 1 << 32


# -- CTRL: bodies of requests


@dataclass(frozen=True, slots=True)
class Start:
    wid: int
    gen: int
    program: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    tag: bytes = b""
    cwd: str = ""
    flags: int = 0
    on_link_loss: tuple[int, int] | None = None
    """(0 keep, 1 stop, 2 safe; after so many ms)."""
    limits: Mapping[int, object] | None = None
    """1 memory bytes, 2 cpu permille, 3 longest run in ms, 4 log bytes per second."""

    def to_map(self) -> Body:
        body: Body = {1: self.wid, 2: self.gen, 3: self.program}
        put_optional(body, 4, list(self.args) or None)
        put_optional(body, 5, list(self.env) or None)
        put_optional(body, 6, self.tag or None)
        put_optional(body, 7, self.cwd or None)
        put_optional(body, 8, self.flags or None)
        put_optional(body, 9, list(self.on_link_loss) if self.on_link_loss else None)
        put_optional(body, 10, self.limits)
        return body

    @classmethod
    def from_map(cls, body: object) -> Start:
        f = Fields(body, "START")
        on_link_loss: tuple[int, int] | None = None
        match f.items(9):
            case []:
                pass
            case [int(action), int(after_ms)]:
                on_link_loss = (action, after_ms)
            case _:
                raise RemoteProtocolError("START: key 9 is not [action, after_ms]")
        limits = f.optional(10)
        if limits is not None and not isinstance(limits, dict):
            raise RemoteProtocolError("START: key 10 is not a map")
        refuse_negative_keys(limits or {}, "START limits")
        return cls(
            wid=f.uint(1),
            gen=f.uint(2),
            program=f.text(3, MAX_NAME_CHARS),
            args=f.texts(4),
            env=f.texts(5),
            tag=f.binary(6, 0, MAX_TAG_BYTES, b""),
            cwd=f.text(7, MAX_TEXT_CHARS, ""),
            flags=f.uint(8, 32, 0),
            on_link_loss=on_link_loss,
            limits=limits,
        )


@dataclass(frozen=True, slots=True)
class Stop:
    wid: int
    gen: int
    grace_ms: int
    signal: int = 15

    def to_map(self) -> Body:
        return {1: self.wid, 2: self.gen, 3: self.grace_ms, 4: self.signal}

    @classmethod
    def from_map(cls, body: object) -> Stop:
        f = Fields(body, "STOP")
        return cls(f.uint(1), f.uint(2), f.uint(3, 32, 0), f.uint(4, 8, 15))


@dataclass(frozen=True, slots=True)
class Remove:
    wid: int
    gen: int

    def to_map(self) -> Body:
        return {1: self.wid, 2: self.gen}

    @classmethod
    def from_map(cls, body: object) -> Remove:
        f = Fields(body, "REMOVE")
        return cls(f.uint(1), f.uint(2))


@dataclass(frozen=True, slots=True)
class ListRequest:
    wid: int | None = None
    from_: int | None = None

    def to_map(self) -> Body:
        body: Body = {}
        put_optional(body, 1, self.wid)
        put_optional(body, 2, self.from_)
        return body

    @classmethod
    def from_map(cls, body: object) -> ListRequest:
        f = Fields(body, "LIST")
        return cls(f.opt_uint(1), f.opt_uint(2))


@dataclass(frozen=True, slots=True)
class InventoryRequest:
    from_: int | None = None

    def to_map(self) -> Body:
        return {} if self.from_ is None else {2: self.from_}

    @classmethod
    def from_map(cls, body: object) -> InventoryRequest:
        return cls(Fields(body, "INVENTORY").opt_uint(2))


@dataclass(frozen=True, slots=True)
class RebootRequest:
    mode: int = 0
    """0 normal, 1 bootloader, 2 safe."""
    delay_ms: int = 0

    def to_map(self) -> Body:
        return {1: self.mode, 2: self.delay_ms}

    @classmethod
    def from_map(cls, body: object) -> RebootRequest:
        f = Fields(body, "REBOOT")
        return cls(f.uint(1, 8, 0), f.uint(2, 32, 0))


# -- CTRL: answers and notifications


@dataclass(frozen=True, slots=True)
class Away:
    reason: int
    duration_ms: int
    wake_zeros: int | None = None
    """The gateway may wake the device by so many zeros before a frame."""

    def to_map(self) -> Body:
        body: Body = {1: self.reason, 2: self.duration_ms}
        put_optional(body, 3, self.wake_zeros)
        return body

    @classmethod
    def from_map(cls, body: object) -> Away:
        f = Fields(body, "AWAY")
        return cls(f.uint(1, 8), f.uint(2), f.opt_uint(3, 8))


@dataclass(frozen=True, slots=True)
class Condition:
    reason: str
    state: bool
    message: str = ""

    def to_map(self) -> Body:
        return {1: self.reason, 2: self.state, 3: self.message}

    @classmethod
    def from_map(cls, body: object) -> Condition:
        f = Fields(body, "CONDITION")
        return cls(f.text(1, MAX_NAME_CHARS), f.flag(2), f.text(3, MAX_TEXT_CHARS, ""))


@dataclass(frozen=True, slots=True)
class ErrorNote:
    code: int
    text: str = ""
    rid: int | None = None

    def to_map(self) -> Body:
        body: Body = {1: self.code, 2: self.text}
        put_optional(body, 3, self.rid)
        return body

    @classmethod
    def from_map(cls, body: object) -> ErrorNote:
        f = Fields(body, "ERROR")
        return cls(f.uint(1, 16), f.text(2, MAX_TEXT_CHARS, ""), f.opt_uint(3))


def status_to_map(status: WorkloadStatus) -> Body:
    """The status record of START's answer, LIST, STARTED and EXITED."""
    body: Body = {1: status.wid, 2: status.gen, 3: status.slot, 4: int(status.state), 5: status.start_off}
    put_optional(body, 6, status.end_off)
    put_optional(body, 7, status.exit_code)
    put_optional(body, 8, status.signal)
    put_optional(body, 9, None if status.reason is None else int(status.reason))
    put_optional(body, 10, status.start_uptime_ms)
    put_optional(body, 11, status.end_uptime_ms)
    put_optional(body, 12, status.tag or None)
    put_optional(body, 13, status.ready)
    return body


def status_from_map(body: object) -> WorkloadStatus:
    """Raises RemoteProtocolError. A reason that a later version knows reads as ERROR."""
    f = Fields(body, "status")
    try:
        state = WorkloadState(f.uint(4, 8))
    except ValueError as exc:
        raise RemoteProtocolError(f"status: {exc}") from exc
    reason = f.opt_uint(9, 8)
    return WorkloadStatus(
        wid=f.uint(1),
        gen=f.uint(2),
        slot=f.uint(3, 5),
        state=state,
        start_off=f.uint(5, MAX_OFFSET_BITS, 0),
        end_off=f.opt_uint(6, MAX_OFFSET_BITS),
        exit_code=f.sint(7) if 7 in f else None,
        signal=f.opt_uint(8, 8),
        reason=None if reason is None else _exit_reason(reason),
        start_uptime_ms=f.opt_uint(10),
        end_uptime_ms=f.opt_uint(11),
        tag=f.binary(12, 0, MAX_TAG_BYTES, b""),
        ready=f.flag(13) if 13 in f else None,
    )


def _exit_reason(number: int) -> ExitReason:
    try:
        return ExitReason(number)
    except ValueError:
        return ExitReason.ERROR


@dataclass(frozen=True, slots=True)
class ListAnswer:
    workloads: tuple[WorkloadStatus, ...] = ()
    next: int | None = None

    def to_map(self) -> Body:
        body: Body = {1: [status_to_map(status) for status in self.workloads]}
        put_optional(body, KEY_NEXT, self.next)
        return body

    @classmethod
    def from_map(cls, body: object) -> ListAnswer:
        f = Fields(body, "LIST answer")
        return cls(tuple(status_from_map(status) for status in f.items(1)), f.opt_uint(KEY_NEXT))


@dataclass(frozen=True, slots=True)
class StatsAnswer:
    """One page; everything but readings stands in the first one."""

    stats: DeviceStats = field(default_factory=DeviceStats)
    next: int | None = None

    def to_map(self) -> Body:
        stats = self.stats
        body: Body = {}
        put_optional(body, 1, stats.cpu_permille)
        put_optional(body, KEY_NEXT, self.next)
        put_optional(body, 3, stats.heap_used_bytes)
        put_optional(body, 4, stats.heap_bytes)
        put_optional(body, 5, stats.least_stack_bytes)
        put_optional(body, 6, stats.temperature_mc)
        put_optional(body, 7, [[name, value] for name, value in stats.readings] or None)
        return body

    @classmethod
    def from_map(cls, body: object) -> StatsAnswer:
        f = Fields(body, "STATS answer")
        readings: list[tuple[str, int]] = []
        for item in f.items(7):
            match item:
                case [str(name), int(value)] if len(name) <= MAX_NAME_CHARS and type(value) is int:
                    readings.append((name, value))
                case _:
                    raise RemoteProtocolError("STATS answer: a counter is [name, value]")
        temperature_mc = f.sint(6) if 6 in f else None
        stats = DeviceStats(f.opt_uint(1), f.opt_uint(3), f.opt_uint(4), f.opt_uint(5), temperature_mc, tuple(readings))
        return cls(stats, f.opt_uint(KEY_NEXT))


@dataclass(frozen=True, slots=True)
class InventoryAnswer:
    """One page; slots, board, memory and firmware stand in the first one."""

    inventory: Inventory = field(default_factory=Inventory)
    next: int | None = None
    memory_bytes: int | None = None
    firmware: str = ""

    def to_map(self) -> Body:
        body: Body = {1: [[program.name, program.version] for program in self.inventory.programs]}
        put_optional(body, KEY_NEXT, self.next)
        body[3] = self.inventory.slots
        put_optional(body, 4, self.inventory.board or None)
        put_optional(body, 5, self.memory_bytes)
        put_optional(body, 6, self.firmware or None)
        return body

    @classmethod
    def from_map(cls, body: object) -> InventoryAnswer:
        f = Fields(body, "INVENTORY answer")
        programs: list[ProgramInfo] = []
        for item in f.items(1):
            match item:
                case [str(name), str(version)] if len(name) <= MAX_NAME_CHARS and len(version) <= MAX_NAME_CHARS:
                    programs.append(ProgramInfo(name, version))
                case _:
                    raise RemoteProtocolError("INVENTORY answer: a program is [name, version]")
        inventory = Inventory(tuple(programs), f.uint(3, 5, 1), f.text(4, MAX_NAME_CHARS, ""))
        return cls(inventory, f.opt_uint(KEY_NEXT), f.opt_uint(5, 64), f.text(6, MAX_NAME_CHARS, ""))

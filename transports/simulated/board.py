"""The simulated device: slots and programs behind the device's end of the wire protocol. Pure: bytes and `now` in, bytes out.

It lives from power-on to the end of the simulation and restarts as a board does: a reset loses RAM (slots, exit records, log ring, boot
id) and the next boot says why. Everything that a real board would draw by lot comes from its seed.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from transports.protocol import DeviceStats, Inventory, ProgramInfo, WorkloadStatus
from transports.simulated.inputs import RunInput
from transports.simulated.outcomes import ResetDevice
from transports.simulated.programs import PROGRAMS, Invocation, Program, accept
from transports.simulated.programs import start as start_program
from transports.simulated.slots import Run
from transports.simulated.talks import BoardTalks
from transports.wire.conversation_messages import Attach, Exec
from transports.wire.device_session import DeviceConfig, DeviceSession, Retained
from transports.wire.messages import (
    InventoryAnswer,
    InventoryRequest,
    ListAnswer,
    ListRequest,
    RebootRequest,
    Remove,
    Start,
    StatsAnswer,
    Stop,
    refusal,
    status_to_map,
)
from transports.wire.numbers import AwayReason, Body, Caps, Code, Method, ResetCause, StartFlag
from transports.wire.profile import pack
from transports.wire.records import encode_start_record

MAX_SLOTS: Final = 31
"""Slot 31 of the log is the device itself."""
MIN_RING_BYTES: Final = 1024
MAX_RING_BYTES: Final = 1 << 24
VERSION: Final = "1.0"
MTU_BYTES: Final = 243
"""A frame of 256 bytes on the wire: what a board with little RAM takes."""
MAX_MESSAGE_BYTES: Final = 4096
MAX_ANSWER_BYTES: Final = 1024
TALK_BYTES: Final = 2048
"""Of each buffer of a conversation."""
DEFAULT_CONVERSATIONS: Final = 4
MAX_CONVERSATIONS: Final = 100
ANSWER_SPARE_BYTES: Final = 64
"""Of an answer: what is not items of a page."""
START_RECORD_BYTES: Final = 24
"""A little more than the longest start record; so much of the ring is reserved for each slot."""
BOOT_S: Final = (0.02, 0.06)
"""From reset to the first byte on the wire."""
REBOOT_MS: Final = 1000
"""What AWAY announces; more than BOOT_S and the handshake."""

ANY_PROGRAM: Final = "*"
"""In an INVENTORY: every name is taken."""

OK: Final = int(Code.OK)
_METHOD_NAMES: Final = {int(method): method.name for method in Method}


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardConfig:
    """A board as it leaves the factory. id: any text, by default made from the seed."""

    id: str = ""
    seed: int = 0
    slots: int = 1
    ring_bytes: int = 16384
    accept_any: bool = False
    conversations: int = DEFAULT_CONVERSATIONS
    """Commands and typists at a time; 0: it can neither run the ones nor hear the others."""
    line_bytes_per_s: float | None = None

    @property
    def name(self) -> str:
        return self.id or f"sim-{self.seed}"

    @property
    def device_id(self) -> bytes:
        return hashlib.sha256(b"wirelet-sim\0" + self.name.encode()).digest()[:8]


class Board:
    """See the module. After receive_data and handle_deadline call data_to_send until it is empty; it is powered from the beginning."""

    def __init__(self, config: BoardConfig, now: float, trace: Callable[[str], None] = lambda line: None) -> None:
        """trace gets a line for every boot, session, request and end of a run."""
        if not 1 <= config.slots <= MAX_SLOTS:
            raise ValueError(f"slots must be 1 to {MAX_SLOTS}, not {config.slots}")
        if not MIN_RING_BYTES <= config.ring_bytes <= MAX_RING_BYTES:
            raise ValueError(f"ring must be {MIN_RING_BYTES} to {MAX_RING_BYTES} bytes, not {config.ring_bytes}")
        if not 0 <= config.conversations <= MAX_CONVERSATIONS:
            raise ValueError(f"conversations must be 0 to {MAX_CONVERSATIONS}, not {config.conversations}")
        self.config = config
        self.boots = 0
        self._trace = trace
        self._rng = random.Random(f"{config.seed}/{config.name}")
        self._session: DeviceSession | None = None
        self._retained: Retained | None = None
        self._talks: BoardTalks | None = None
        """Lives and dies with the session core of a boot."""
        self._runs: dict[int, Run] = {}
        self._boot_at = now
        self._cause = ResetCause.POWER
        self._reset_wanted: ResetCause | None = None
        self._reboot_at: float | None = None
        self._waits_for_send = False
        self._turn = 0
        self._power_up(ResetCause.POWER, now)

    @property
    def session(self) -> DeviceSession | None:
        """The running boot's end of the wire; None between a reset and the boot."""
        return self._session

    @property
    def workloads(self) -> tuple[WorkloadStatus, ...]:
        return tuple(run.status for _, run in sorted(self._runs.items()))

    # -- power

    def reset(self, now: float, cause: ResetCause = ResetCause.POWER, *, keeps_ring: bool = False) -> None:
        """At once, whatever it is doing. keeps_ring: the log is in RAM that this reset does not clear."""
        session = self._session
        self._retained = session.retained() if keeps_ring and session is not None else None
        self._power_up(cause, now)

    def _power_up(self, cause: ResetCause, now: float) -> None:
        self._session = self._talks = None
        self._runs.clear()
        self._reset_wanted = self._reboot_at = None
        self._cause = cause
        self._boot_at = now + self._rng.uniform(*BOOT_S)
        self._waits_for_send = False

    def _boot(self, now: float) -> None:
        config = self.config
        device = DeviceConfig(
            device_id=config.device_id,
            level=2,
            mtu=MTU_BYTES,
            max_msg=MAX_MESSAGE_BYTES,
            answer_bytes=4 * MAX_ANSWER_BYTES,
            max_answer_bytes=MAX_ANSWER_BYTES,
            ring_bytes=config.ring_bytes,
            reserve_bytes=START_RECORD_BYTES * config.slots,
            caps=int(Caps.RLOG | Caps.STATS | (Caps.EXEC | Caps.STDIN if config.conversations else 0)),
            talk_bytes=TALK_BYTES,
            line_bytes_per_s=config.line_bytes_per_s,
        )
        uptime_ms = round((now - self._boot_at) * 1000)
        self._session = DeviceSession(device, self, now, retained=self._retained, reset_cause=self._cause, uptime_ms=uptime_ms)
        self._talks = BoardTalks(self._session, config.conversations, config.name, self._load)
        self._retained = None
        self.boots += 1
        self._trace(f"boot {self.boots}, reset cause {self._cause.name.lower()}")
        self._session.write_text(f"wirelet-sim {VERSION} {config.name}: boot, reset cause {self._cause.name.lower()}\r\n".encode())

    # -- bytes and time

    def receive_data(self, data: bytes, now: float) -> None:
        """Bytes from the wire. The text among them would go to a shell that this board does not have."""
        if self._session is None:
            return
        self._session.receive_data(data, now)
        self._go_on(now)

    def data_to_send(self, now: float) -> bytes:
        if self._session is None:
            return b""
        self._waits_for_send = False
        data = self._session.data_to_send(now)
        self._go_on(now)
        return data

    def next_deadline(self) -> float | None:
        session = self._session
        if session is None:
            return self._boot_at
        deadlines = [run.next_deadline() for run in self._runs.values()]
        deadlines.append(self._reboot_at)
        deadlines.append(self._talks.next_deadline() if self._talks is not None else None)
        if not self._waits_for_send:
            deadlines.append(session.next_deadline())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def handle_deadline(self, now: float) -> None:
        if self._session is None:
            if now < self._boot_at:
                return
            self._boot(now)
        session = self._session
        assert session is not None
        session.handle_deadline(now)
        due = session.next_deadline()
        self._waits_for_send = due is not None and due <= now
        if self._reboot_at is not None and now >= self._reboot_at:
            self._reboot_at = None
            session.go_away(AwayReason.REBOOT, REBOOT_MS, now)
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        """Every program has its turn, another one first each time; then a reset that was asked for meanwhile."""
        runs = list(self._runs.values())
        self._turn = (self._turn + 1) % max(len(runs), 1)
        for run in (*runs[self._turn :], *runs[: self._turn]):
            was_over = run.is_over
            if run.poll(now) == ResetDevice():
                self._reset_wanted = ResetCause.SOFTWARE
            if run.is_over and not was_over:
                self._tell_exit(run)
        if self._talks is not None and self._talks.poll(self._is_alive, now) == ResetDevice():
            self._reset_wanted = ResetCause.SOFTWARE
        if self._reset_wanted is not None:
            self._power_up(self._reset_wanted, now)

    def _is_alive(self, key: tuple[int, int]) -> bool:
        run = self._find(key[0])
        return run is not None and run.status.gen == key[1] and not run.is_over

    def _tell_exit(self, run: Run) -> None:
        status = run.status
        self._trace(f"exit of {status.wid:08x}-{status.gen} in slot {status.slot}, code {status.exit_code}")
        if self._session is not None:
            self._session.notify(run.slot, Method.EXITED, status_to_map(run.status))

    # -- DeviceApplication

    def on_request(self, method: int, body: Mapping[int, object], now: float) -> tuple[int, Body]:
        code, answer = self._answer(method, body, now)
        self._trace(f"{_told(method, body)} -> {Code(code).name}")
        return code, answer

    def _answer(self, method: int, body: Mapping[int, object], now: float) -> tuple[int, Body]:
        match method:
            case Method.START:
                return self._start(Start.from_map(body), now)
            case Method.STOP:
                return self._stop(Stop.from_map(body), now)
            case Method.REMOVE:
                return self._remove(Remove.from_map(body))
            case Method.LIST:
                return self._list(ListRequest.from_map(body))
            case Method.INVENTORY:
                return self._inventory(InventoryRequest.from_map(body))
            case Method.STATS:
                return OK, self._stats().to_map()
            case Method.REBOOT:
                return self._reboot(RebootRequest.from_map(body), now)
            case Method.EXEC if self._talks is not None and self.config.conversations:
                execute = Exec.from_map(body)
                return self._talks.execute(execute, self._find(execute.wid), list(self._runs.values()), now)
            case Method.ATTACH if self._talks is not None and self.config.conversations:
                attach = Attach.from_map(body)
                return self._talks.attach(attach, self._find(attach.wid), list(self._runs.values()))
            case _:
                return Code.UNSUPPORTED, refusal(f"method {method:02x}")

    def on_joined(self, now: float) -> None:
        if self._session is not None:
            self._trace(f"session, boot id {self._session.boot_id:08x}")
        for run in self._runs.values():
            run.link_back()

    def on_link_loss(self, now: float) -> None:
        for run in self._runs.values():
            run.link_lost(now)

    def on_gone(self, now: float) -> None:
        self._reset_wanted = ResetCause.SOFTWARE

    def _start(self, start: Start, now: float) -> tuple[int, Body]:
        session = self._session
        assert session is not None
        run = self._find(start.wid)
        if run is not None:
            if run.status.gen == start.gen:
                return OK, status_to_map(run.status)
            return Code.BAD_STATE, refusal(f"gen {run.status.gen} of this workload is in slot {run.slot}")
        stdin = RunInput(is_tty=bool(start.flags & StartFlag.TTY)) if start.flags & StartFlag.STDIN else None
        program = self._load(Invocation(start.program, start.args, start.env, self.config.name, stdin))
        if program is None:
            return Code.NOT_FOUND, refusal(f"no program {start.program!r}; there are: {', '.join(PROGRAMS)}"[: MAX_ANSWER_BYTES // 2])
        slot = next((slot for slot in range(self.config.slots) if slot not in self._runs), None)
        if slot is None:
            return Code.BUSY, refusal(f"all {self.config.slots} slots are in use")
        start_off = session.log.next
        if not session.write_log(encode_start_record(session.uptime_ms(now), slot, start.wid, start.gen), is_start=True):
            return Code.BUSY, refusal("the log is full")
        run = Run(start, slot, program, _BoardLog(session), start_off, now, self.config.ring_bytes // 4, stdin)
        self._runs[slot] = run
        return OK, status_to_map(run.status)

    def _load(self, call: Invocation) -> Program | None:
        program = start_program(call)
        return accept(call) if program is None and self.config.accept_any else program

    def _stop(self, stop: Stop, now: float) -> tuple[int, Body]:
        run = self._find(stop.wid)
        if run is not None and run.status.gen == stop.gen:
            was_over = run.is_over
            run.stop(stop.grace_ms / 1000, now)
            if run.is_over and not was_over:
                self._tell_exit(run)
        return OK, {}

    def _remove(self, remove: Remove) -> tuple[int, Body]:
        run = self._find(remove.wid)
        if run is not None and run.status.gen == remove.gen:
            if not run.is_over:
                return Code.BAD_STATE, refusal("it has not exited")
            del self._runs[run.slot]
        return OK, {}

    def _list(self, request: ListRequest) -> tuple[int, Body]:
        begin = request.from_ or 0
        wanted = [
            (slot, run.status)
            for slot, run in sorted(self._runs.items())
            if slot >= begin and (request.wid is None or run.status.wid == request.wid)
        ]
        count = _fitting(len(pack(status_to_map(status))) for _, status in wanted)
        following = wanted[count][0] if count < len(wanted) else None
        return OK, ListAnswer(tuple(status for _, status in wanted[:count]), following).to_map()

    def _inventory(self, request: InventoryRequest) -> tuple[int, Body]:
        begin = request.from_ or 0
        names = [*PROGRAMS, ANY_PROGRAM] if self.config.accept_any else [*PROGRAMS]
        programs = [ProgramInfo(name, VERSION) for name in names][begin:]
        count = _fitting(len(pack([program.name, program.version])) for program in programs)
        following = begin + count if count < len(programs) else None
        inventory = Inventory(tuple(programs[:count]), self.config.slots, "wirelet-sim")
        return OK, InventoryAnswer(inventory, following, self.config.ring_bytes, VERSION).to_map()

    def _stats(self) -> StatsAnswer:
        """Its memory is its log. Processor and temperature it has none."""
        session = self._session
        assert session is not None
        log = session.log
        readings = (("boots", self.boots), ("log.unsent_bytes", log.next - log.una))
        return StatsAnswer(DeviceStats(heap_used_bytes=log.next - log.base, heap_bytes=self.config.ring_bytes, readings=readings))

    def _reboot(self, request: RebootRequest, now: float) -> tuple[int, Body]:
        if request.mode != 0:
            return Code.UNSUPPORTED, refusal(f"reboot mode {request.mode}")
        self._reboot_at = now + request.delay_ms / 1000
        return OK, {}

    def _find(self, wid: int) -> Run | None:
        return next((run for run in self._runs.values() if run.status.wid == wid), None)


@dataclass(frozen=True, slots=True)
class _BoardLog:
    """LOG of one boot, for its runs."""

    session: DeviceSession

    def write_log(self, record: bytes) -> bool:
        return self.session.write_log(record)

    def log_next(self) -> int:
        return self.session.log.next

    def uptime_ms(self, now: float) -> int:
        return self.session.uptime_ms(now)


def _told(method: int, body: Mapping[int, object]) -> str:
    """A request for a person: its name, whose it is, and for START the program."""
    name = _METHOD_NAMES.get(method, f"method {method:02x}")
    if method in (Method.EXEC, Method.ATTACH):
        return f"{name} {body.get(2)} on channel {body.get(4)}" if method == Method.EXEC else f"{name} on channel {body.get(4)}"
    if method not in (Method.START, Method.STOP, Method.REMOVE):
        return name
    wid, gen = body.get(1), body.get(2)
    run = f"{wid:08x}-{gen}" if isinstance(wid, int) else "?"
    return f"{name} {run} {body.get(3)}" if method == Method.START else f"{name} {run}"


def _fitting(sizes: Iterable[int]) -> int:
    """How many items of a page fit one answer, at least one."""
    room = MAX_ANSWER_BYTES - ANSWER_SPARE_BYTES
    count = 0
    for size in sizes:
        room -= size
        if room < 0 and count:
            break
        count += 1
    return count

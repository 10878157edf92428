"""A console as a supervisor sees it: a DeviceProtocol for a far end that knows nothing of it (docs/adr/0011). Pure.

An open link is a session. Every line is logged for the device, and for the run that has the console; patterns say what a line means. What
a device would remember stands in the checkpoint. It sends nothing of its own: only a profile does, and only for a run.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, assert_never

from transports.errors import SessionLost
from transports.protocol import (
    DEVICE_SLOT,
    MAX_INPUT_BYTES,
    Answered,
    Checkpoint,
    ClockSample,
    Counters,
    Event,
    ExitReason,
    Gap,
    GapReason,
    Inventoried,
    Inventory,
    Item,
    Joined,
    Left,
    Listed,
    Output,
    ProgramInfo,
    Record,
    RecordKind,
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
from transports.protocols.console.lines import Line, LineCutter
from transports.protocols.console.marks import Mark, Marks
from transports.protocols.console.memory import Memory, Verdict, short, unpack
from transports.protocols.console.profile import Act, Begin, End, Log, Profile, Refuse, Restarted, Send
from transports.wire.numbers import Code

SILENCE_S: Final = 0.1
"""After so long an unfinished line is taken for one that stays so: a prompt."""
DUMP_SILENCE_S: Final = 0.5
"""A panic's registers and backtrace are over when nothing came for so long."""
DUMP_S: Final = 5.0
"""The most that a dump may take: a board that panics in a loop never falls silent."""
MAX_INPUTS: Final = 16
"""Unsent at once; who types waits for each."""
ANY_PROGRAM: Final = Inventory((ProgramInfo("*"),), slots=1)
_MAX_ID: Final = (1 << 32) - 1


class ConsoleProtocol:
    """See transports.protocol.DeviceProtocol for the contract of each method."""

    def __init__(self, checkpoint: Checkpoint | None, *, profile: Profile, marks: Marks, rng: random.Random) -> None:
        """profile was made with the state in checkpoint, see profile_state."""
        self.counters = Counters()
        self._profile = profile
        self._marks = marks
        self._rng = rng
        known = unpack(checkpoint, profile.name)
        self._memory, half = known or (Memory(), b"")
        is_known = checkpoint is not None and known is not None
        self._boot_id = checkpoint.boot_id if checkpoint and is_known else self._new_id()
        self._epoch = checkpoint.epoch if checkpoint and is_known else self._new_id()
        self._offset = checkpoint.expected if checkpoint and is_known else 0
        self._is_new_boot = not is_known
        self._was_away = is_known
        """Nobody listened for a while."""
        self._cutter = LineCutter(half)
        self._kind = RecordKind.STDOUT
        self._line_begin = self._offset
        self._has_meaning = False
        """Of the unfinished line: it was found while the console was silent, and counts once."""
        self._starting: tuple[RequestId, StartWorkload] | None = None
        self._panic: tuple[str, float, float] | None = None
        """Why, when it is over if nothing more comes, and when at the latest."""
        self._silent_at: float | None = None
        self._is_up = False
        self._is_untold = False
        """What is remembered has changed."""
        self._told_half = half
        self._items: list[Item] = []
        self._events: list[Event] = []
        self._out: list[bytes] = []
        self._last_id = 0
        self._is_watched = False
        self._inputs: list[RequestId] = []
        """What was typed and not yet sent."""
        self._input_sent_at: float | None = None

    def watch(self, *, is_watched: bool) -> None:
        """See transports.protocol.WatchedProtocol."""
        self._is_watched = is_watched

    # -- the link

    def link_up(self, now: float) -> None:
        self._is_up = True
        self._join(now)
        if self._was_away:
            self._log_lines(self._cutter.end(), now)
            self._items.append(Gap(self._offset, None, None, GapReason.NOBODY_READING))
            self._line_begin = self._offset
            if self._memory.run is not None:
                self._act(self._profile.resume(now), now)
        self._was_away = True
        self._is_untold = True
        self._tell(now)

    def link_down(self, now: float) -> None:
        if not self._is_up:
            return
        self._is_up = False
        self._out.clear()
        self._silent_at = self._input_sent_at = None
        self._events += [RequestLost(request_id) for request_id in self._inputs]
        self._inputs.clear()
        if self._starting is not None:
            self._profile.forget()
            self._events.append(RequestLost(self._starting[0]))
            self._starting = None
        if self._panic is not None:
            self._end(End(137, ExitReason.PANIC, self._panic[0]), now)
        self._tell(now)
        self._events.append(Left("the link is lost"))

    def receive_data(self, data: bytes, now: float) -> None:
        self._act(self._profile.feed(data, now), now)
        self._silent_at = now + SILENCE_S if self._cutter.half else None
        if self._is_watched and self._cutter.half:
            self._log_lines(self._cutter.flush(), now)
        self._tell(now)

    @property
    def is_drained(self) -> bool:
        return not self._out

    def data_to_send(self, now: float) -> bytes:
        data = b"".join(self._out)
        self._out.clear()
        if self._inputs:
            for request_id in self._inputs:
                self._answer(request_id)
            self._inputs.clear()
            self._input_sent_at = now
        self.counters.tx_frames += bool(data)
        return data

    def events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def stored(self, checkpoint: Checkpoint, now: float) -> None:
        """Nobody is waiting for an acknowledgement."""

    # -- requests

    def request(self, request: Request, now: float) -> RequestId:
        if not self._is_up:
            raise SessionLost("the console's link is down")
        self._last_id += 1
        request_id = RequestId(self._last_id)
        match request:
            case StartWorkload():
                self._start(request_id, request, now)
            case StopWorkload():
                self._stop(request, now)
                self._answer(request_id)
            case RemoveWorkload():
                self._memory = self._memory.without_exit(request.wid)
                self._is_untold = True
                self._answer(request_id)
            case SendInput():
                self._input(request_id, request)
            case _:
                self._answer(request_id, Code.UNSUPPORTED, f"a console cannot do {type(request).__name__}")
        self._tell(now)
        return request_id

    def _start(self, request_id: RequestId, request: StartWorkload, now: float) -> None:
        run = self._memory.run
        if run is not None and (run.wid, run.gen) == (request.wid, request.gen):
            self._answer(request_id, status=run)
        elif request.working_dir:
            self._answer(request_id, Code.UNSUPPORTED, f"workingDir {request.working_dir}: a console has no directories")
        elif run is not None or self._starting is not None:
            self._answer(request_id, Code.BUSY, "another workload has the console")
        else:
            self._starting = request_id, request
            self._act(self._profile.start(request, now), now)

    def _stop(self, request: StopWorkload, now: float) -> None:
        run = self._memory.run
        if run is not None and (run.wid, run.gen) == (request.wid, request.gen):
            self._act(self._profile.stop(request.grace_ms / 1000, now), now)
        elif self._starting is not None and self._starting[1].wid == request.wid:
            self._refuse(Refuse(Code.BAD_STATE, "it was stopped before it began"))

    def _input(self, request_id: RequestId, request: SendInput) -> None:
        run = self._memory.run
        if run is None or (run.wid, run.gen) != (request.wid, request.gen):
            self._answer(request_id, Code.NOT_FOUND, "the run has ended")
        elif not self._profile.takes_input():
            self._answer(request_id, Code.BUSY, "the console is busy with the begin or the end of the run")
        elif len(request.data) > MAX_INPUT_BYTES or len(self._inputs) >= MAX_INPUTS:
            self._answer(request_id, Code.TOO_BIG, f"more than {MAX_INPUT_BYTES} bytes, or {MAX_INPUTS} times so much, at once")
        else:
            self._out.append(request.data + (self._profile.input_end() if request.is_end else b""))
            self._inputs.append(request_id)

    def _answer(self, request_id: RequestId, code: int = Code.OK, text: str = "", status: WorkloadStatus | None = None) -> None:
        self._events.append(Answered(request_id, code, status, text))

    # -- time

    def next_deadline(self) -> float | None:
        panic = None if self._panic is None else min(self._panic[1:])
        deadlines = (self._silent_at, self._input_sent_at, panic, self._profile.next_deadline())
        return min((at for at in deadlines if at is not None), default=None)

    def handle_deadline(self, now: float) -> None:
        self._input_sent_at = None  # its answer is among the events
        if self._silent_at is not None and self._silent_at <= now:
            self._silent_at = None
            pieces = self._cutter.flush()
            self._log_lines(pieces, now, is_silent=True)
            if not pieces:
                self._look_at_begun(now)
        if self._panic is not None and min(self._panic[1:]) <= now:
            self._end(End(137, ExitReason.PANIC, self._panic[0]), now)
        deadline = self._profile.next_deadline()
        if deadline is not None and deadline <= now:
            self._act(self._profile.handle_deadline(now), now)
        self._tell(now)

    # -- acts

    def _act(self, acts: Iterable[Act], now: float) -> None:
        for act in acts:
            match act:
                case Log():
                    self._log(act, now)
                case Send():
                    self._out.append(act.data)
                case Begin():
                    self._begin(act, now)
                case Refuse():
                    self._refuse(act)
                case End():
                    self._log_lines(self._cutter.end(), now)
                    self._end(act, now)
                case Restarted():
                    self._reboot(now)
                case _:
                    assert_never(act)

    def _begin(self, begin: Begin, now: float) -> None:
        if self._starting is None:
            return
        (request_id, request), self._starting = self._starting, None
        if begin.is_new_line:
            self._log_lines(self._cutter.end(), now)
        self._tell(now)
        memory = self._memory.without_exit(request.wid)
        run = WorkloadStatus(
            wid=request.wid,
            gen=request.gen,
            slot=0,
            state=WorkloadState.RUNNING,
            start_off=self._offset,
            tag=request.tag,
            ready=not self._marks.tells_ready or (request.from_boot and memory.verdict.is_ready),
        )
        self._memory = replace(memory, run=run)
        log_from = memory.boot_off if request.from_boot else None
        start = run.wid, run.gen
        self._items.append(Record(self._offset, self._offset, _uptime_ms(now), 0, RecordKind.SYSTEM, start=start, log_from=log_from))
        self._tell(now)
        self._answer(request_id, status=run)
        if request.from_boot and memory.verdict.exit_code is not None:
            self._judge(memory.verdict.exit_code, memory.verdict.message, now)

    def _refuse(self, refuse: Refuse) -> None:
        self._profile.forget()
        if self._starting is not None:
            (request_id, _), self._starting = self._starting, None
            self._answer(request_id, refuse.code, refuse.text)

    def _end(self, end: End, now: float) -> None:
        run, self._panic = self._memory.run, None
        self._profile.forget()
        if run is None:
            return
        ended = replace(
            run,
            state=WorkloadState.EXITED,
            end_off=self._offset,
            exit_code=end.exit_code,
            reason=end.reason,
            message=short(end.message),
        )
        self._memory = self._memory.with_exit(ended)
        self._is_untold = True
        self._tell(now)
        self._events.append(WorkloadChanged(ended))

    # -- lines

    def _log(self, log: Log, now: float) -> None:
        kind = RecordKind.STDERR if log.is_error else RecordKind.STDOUT
        if kind is not self._kind:
            self._log_lines(self._cutter.end(), now)
            self._kind = kind
        self._log_lines(self._cutter.feed(log.data), now)

    def _log_lines(self, lines: Iterable[Line], now: float, *, is_silent: bool = False) -> None:
        for line in lines:
            self.counters.rx_frames += 1
            is_judged = (line.is_whole or is_silent) and not self._has_meaning
            mark = self._marks.of(line.begun) if is_judged else None
            if mark is Mark.REBOOT:
                self._reboot(now)
            self._put(line, now)
            self._has_meaning = not line.is_whole and (self._has_meaning or mark is not None)
            if line.is_whole:
                self._line_begin = self._offset
            if mark is not None:
                self._understand(mark, short(line.begun), now)
            if self._panic is not None:
                self._panic = (self._panic[0], now + DUMP_SILENCE_S, self._panic[2])

    def _look_at_begun(self, now: float) -> None:
        """The console is silent in the midst of a line that a watcher has seen piece by piece."""
        mark = None if self._has_meaning else self._marks.of(self._cutter.begun)
        if mark is None:
            return
        self._has_meaning = True
        if mark is Mark.REBOOT:
            self._reboot(now)
        self._understand(mark, short(self._cutter.begun), now)

    def _put(self, line: Line, now: float) -> None:
        begin, self._offset = self._offset, self._offset + line.size_bytes
        kind = self._kind if line.is_whole else RecordKind(self._kind + 2)
        record = Record(begin, self._offset, _uptime_ms(now), DEVICE_SLOT, kind, line.text)
        self._items.append(record)
        if self._memory.run is not None:
            self._items.append(record._replace(slot=0))

    def _understand(self, mark: Mark, why: str, now: float) -> None:
        match mark:
            case Mark.REBOOT:
                pass
            case Mark.PANIC:
                if self._memory.run is not None and self._panic is None:
                    self._panic = (why, now + DUMP_SILENCE_S, now + DUMP_S)
            case Mark.OK | Mark.FAIL:
                exit_code = int(mark is Mark.FAIL)
                self._memory = replace(self._memory, verdict=replace(self._memory.verdict, exit_code=exit_code, message=why))
                self._judge(exit_code, why, now)
            case Mark.READY:
                self._is_ready(now)
            case _:
                assert_never(mark)

    def _is_ready(self, now: float) -> None:
        self._memory = replace(self._memory, verdict=replace(self._memory.verdict, is_ready=True))
        run = self._memory.run
        if run is not None and not run.ready:
            run = replace(run, ready=True)
            self._memory = replace(self._memory, run=run)
            self._tell(now)
            self._events.append(WorkloadChanged(run))

    def _judge(self, exit_code: int, why: str, now: float) -> None:
        if self._panic is None:
            self._end(End(exit_code, ExitReason.ERROR if exit_code else ExitReason.COMPLETED, why if exit_code else ""), now)

    def _reboot(self, now: float) -> None:
        """A boot begins with the unfinished line. What ran has ended with the boot before: by its panic, or as the gateway says."""
        if self._panic is not None:
            self._end(End(137, ExitReason.PANIC, self._panic[0]), now)
        self._tell(now)
        self._profile.forget()
        self._boot_id = self._new_id()
        self._is_new_boot = True
        self._memory = replace(self._memory, run=None, profile="", boot_off=self._line_begin, verdict=Verdict())
        if self._starting is not None:
            self._refuse(Refuse(Code.BUSY, "the device restarted"))
        self._join(now)
        self._is_untold = True

    # -- telling

    def _join(self, now: float) -> None:
        self.counters.sessions += 1
        memory = self._memory
        clock = ClockSample(_uptime_ms(now), now)
        self._events.append(Joined(b"", self._boot_id, self._epoch, self._is_new_boot, 0, 0, memory.boot_off, clock))
        self._events.append(Listed((*memory.exits, *(() if memory.run is None else (memory.run,)))))
        self._events.append(Inventoried(ANY_PROGRAM))
        self._is_new_boot = False

    def _tell(self, now: float) -> None:
        """What was logged, with all that must be remembered."""
        half = self._cutter.half
        if not self._items and not self._is_untold and half == self._told_half:
            return
        uptime_ms = _uptime_ms(now)
        if self._memory.run is not None:
            self._memory = replace(self._memory, profile=self._profile.state)
        checkpoint = Checkpoint(self._boot_id, self._epoch, self._offset, self._memory.pack(self._profile.name, half))
        self._events.append(Output(self._epoch, tuple(self._items), checkpoint, ClockSample(uptime_ms, now)))
        self._items, self._is_untold, self._told_half = [], False, half

    def _new_id(self) -> int:
        return self._rng.randint(1, _MAX_ID)


def profile_state(checkpoint: Checkpoint | None, name: str) -> str:
    """What the profile of that name left in checkpoint in an earlier process; empty without a run."""
    known = unpack(checkpoint, name)
    return known[0].profile if known is not None else ""


def _uptime_ms(now: float) -> int:
    """A console has no clock: the gateway's own stands for it."""
    return int(now * 1000) & 0xFFFFFFFF

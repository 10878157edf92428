"""One slot of a simulated device: a program's run from START to REMOVE, and the records it leaves in the log. Pure.

A run's records lie in [start_off, end_off) of LOG. Lines that a program would not wait with are counted and told in a gap record before the
next line; a run ends only when that record has room.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

from transports.protocol import ExitReason, GapReason, RecordKind, WorkloadState, WorkloadStatus
from transports.simulated.inputs import RunInput
from transports.simulated.outcomes import Blocked, Exited, Reading, ResetDevice, Wait
from transports.simulated.programs import Program, Stuck
from transports.wire.messages import Start
from transports.wire.records import MAX_RECORD_BYTES, RECORD_OVERHEAD_BYTES, encode_gap_record, encode_record

KILLED_CODE: Final = 137
KILL_SIGNAL: Final = 9


_KINDS: Final = {
    (False, True): RecordKind.STDOUT,
    (False, False): RecordKind.STDOUT_PARTIAL,
    (True, True): RecordKind.STDERR,
    (True, False): RecordKind.STDERR_PARTIAL,
}
"""By (to standard error, the line ends there)."""


class Log(Protocol):
    """The device's LOG, as a run needs it."""

    def write_log(self, record: bytes) -> bool: ...

    def log_next(self) -> int: ...

    def uptime_ms(self, now: float) -> int: ...


@dataclass(frozen=True, slots=True)
class LinkLossRule:
    """on_link_loss of START."""

    ends: bool = False
    after_s: float = 0.0


class Run:
    """A (wid, gen) in a slot. poll() moves it on; status() is its record."""

    def __init__(
        self,
        start: Start,
        slot: int,
        program: Program,
        log: Log,
        start_off: int,
        now: float,
        max_record_bytes: int,
        stdin: RunInput | None = None,
    ) -> None:
        self.slot = slot
        self.env = start.env
        self.stdin = stdin
        """None: its START did not ask for one."""
        self.wake_at: float | None = now
        self.is_blocked = False
        self.link_loss = LinkLossRule()
        if start.on_link_loss is not None:
            action, after_ms = start.on_link_loss
            self.link_loss = LinkLossRule(action != 0, after_ms / 1000)
        self._program = program
        self._log = log
        self._max_data_bytes = min(max_record_bytes, MAX_RECORD_BYTES) - RECORD_OVERHEAD_BYTES
        self._now = now
        self._refused_lines = 0
        self._refused_bytes = 0
        self._half: bytes | None = None
        self._end: Exited | None = None
        self._kill_at: float | None = None
        self._link_loss_at: float | None = None
        self.status = WorkloadStatus(
            wid=start.wid,
            gen=start.gen,
            slot=slot,
            state=WorkloadState.RUNNING,
            start_off=start_off,
            start_uptime_ms=log.uptime_ms(now),
            tag=start.tag,
        )

    @property
    def is_over(self) -> bool:
        return self.status.state is WorkloadState.EXITED

    # -- what the device tells the run

    def stop(self, grace_s: float, now: float) -> None:
        """Ask the program to end; a shorter grace than before counts."""
        if self.is_over or self._end is not None:
            return
        if self._program.stop(now):
            self._finish(Exited(0, ExitReason.STOPPED), now)
            return
        self.status = replace(self.status, state=WorkloadState.STOPPING)
        if not isinstance(self._program, Stuck):
            kill_at = now + grace_s
            self._kill_at = kill_at if self._kill_at is None else min(kill_at, self._kill_at)

    def link_lost(self, now: float) -> None:
        if self.link_loss.ends and not self.is_over:
            self._link_loss_at = now + self.link_loss.after_s

    def link_back(self) -> None:
        self._link_loss_at = None

    def next_deadline(self) -> float | None:
        if self.is_over or self._end is not None:
            return None
        return min((at for at in (self.wake_at, self._kill_at, self._link_loss_at) if at is not None), default=None)

    def poll(self, now: float) -> ResetDevice | None:
        """Let the program go on if its time has come or the log may have room again."""
        if self.is_over:
            return None
        self._now = now
        if self._end is None:
            if self._link_loss_at is not None and now >= self._link_loss_at:
                self._finish(Exited(KILLED_CODE, ExitReason.LINK_LOSS, KILL_SIGNAL), now)
            elif self._kill_at is not None and now >= self._kill_at:
                self._finish(Exited(KILLED_CODE, ExitReason.STOPPED, KILL_SIGNAL), now)
            elif self.is_blocked or (self.wake_at is not None and now >= self.wake_at):
                return self._poll_program(now)
        if self._end is not None:
            self._finish(self._end, now)
        return None

    def _poll_program(self, now: float) -> ResetDevice | None:
        self.is_blocked, self.wake_at = False, None
        outcome = self._program.poll(now, self._write)
        match outcome:
            case Wait(until):
                self.wake_at = until
            case Blocked() | Reading():
                self.is_blocked = True
            case Exited():
                self._finish(outcome, now)
            case ResetDevice():
                return outcome
        return None

    def _finish(self, end: Exited, now: float) -> None:
        """The run ends now, or as soon as the log has room for what it owes."""
        self._end = end
        if not self._tell_refused():
            self.is_blocked = True
            return
        self.is_blocked = False
        self.wake_at = self._kill_at = self._link_loss_at = None
        if self.stdin is not None:
            self.stdin.close()
        self.status = replace(
            self.status,
            state=WorkloadState.EXITED,
            end_off=self._log.log_next(),
            exit_code=end.code,
            signal=end.signal,
            reason=end.reason,
            end_uptime_ms=self._log.uptime_ms(now),
        )

    # -- the program's output

    def _write(self, line: bytes, *, stderr: bool = False, ends_line: bool = True) -> bool:
        kind = _KINDS[stderr, ends_line]
        if self._tell_refused() and self._write_pieces(line, kind):
            return True
        if self._program.drops:
            self._refused_lines += 1
            self._refused_bytes += len(line)
        return False

    def _write_pieces(self, line: bytes, kind: RecordKind) -> bool:
        """A long line goes in pieces, each when it has room; what is left of it waits for the next poll of the same line."""
        rest = line if self._half is None else self._half
        partial = _KINDS[kind in (RecordKind.STDERR, RecordKind.STDERR_PARTIAL), False]
        while len(rest) > self._max_data_bytes:
            if not self._append(partial, rest[: self._max_data_bytes]):
                self._half = rest if rest is not line else None
                return False
            rest = rest[self._max_data_bytes :]
        if not self._append(kind, rest):
            self._half = rest if rest is not line else None
            return False
        self._half = None
        return True

    def _append(self, kind: RecordKind, data: bytes) -> bool:
        return self._log.write_log(encode_record(self._log.uptime_ms(self._now), self.slot, kind, data))

    def _tell_refused(self) -> bool:
        """True if nothing is owed any more."""
        if not self._refused_lines:
            return True
        uptime_ms = self._log.uptime_ms(self._now)
        record = encode_gap_record(uptime_ms, self.slot, self._refused_lines, self._refused_bytes, GapReason.REFUSED)
        if not self._log.write_log(record):
            return False
        self._refused_lines = self._refused_bytes = 0
        return True

"""A command beside a run of a simulated device: a program whose output goes to a conversation instead of the log. Pure."""

from __future__ import annotations

from typing import Final

from transports.simulated.inputs import PipeInput, TerminalInput
from transports.simulated.outcomes import Blocked, Exited, Reading, ResetDevice, Wait
from transports.simulated.programs import Program
from transports.wire.device_talks import DeviceTalk

INTERRUPTED: Final = (130, 2)
KILLED: Final = (137, 9)
"""(exit code, signal)."""


class CommandRun:
    """program was made with stdin; run is the (wid, gen) that it runs beside."""

    def __init__(self, program: Program, talk: DeviceTalk, stdin: PipeInput | TerminalInput, run: tuple[int, int], now: float) -> None:
        self.run = run
        self._program = program
        self._talk = talk
        self._stdin = stdin
        self._half: bytes | None = None
        """Of a line that was written in part."""
        self._wake_at: float | None = now
        self._is_waiting = False
        """For room or for input: it has another look whenever something came."""

    @property
    def is_over(self) -> bool:
        """Its buffers are free."""
        return self._talk.is_over

    def next_deadline(self) -> float | None:
        return None if self._talk.is_closed or self._talk.is_over else self._wake_at

    def end(self) -> None:
        """With its run."""
        self._talk.end(*KILLED)

    def poll(self, now: float) -> ResetDevice | None:
        if self._talk.is_closed or self._talk.is_over:
            return None
        if isinstance(self._stdin, TerminalInput):
            self._stdin.look()
        if self._stdin.is_interrupted:
            self._talk.end(*INTERRUPTED)
            return None
        if not (self._is_waiting or (self._wake_at is not None and now >= self._wake_at)):
            return None
        self._is_waiting, self._wake_at = False, None
        match outcome := self._program.poll(now, self._write):
            case Wait(until):
                self._wake_at = until
            case Blocked() | Reading():
                self._is_waiting = True
            case Exited(code, _, signal):
                self._talk.end(code, signal)
            case ResetDevice():
                return outcome
        return None

    def _write(self, line: bytes, *, stderr: bool = False, ends_line: bool = True) -> bool:
        """What is longer than the buffer goes in pieces; the program says the same line again until all of it is written."""
        data = line + b"\n" if ends_line else line
        rest = data.replace(b"\n", b"\r\n") if self._talk.is_tty else data
        if self._program.drops and len(rest) > self._talk.room_bytes(is_error=stderr):
            return False
        if self._half is not None:
            rest = self._half
        rest = rest[self._talk.write(rest, is_error=stderr) :]
        self._half = rest or None
        return not rest

"""The conversations of one boot of a simulated device: commands beside its runs, and who types to these (SPEC.md, conversations). Pure."""

from __future__ import annotations

from collections.abc import Callable

from transports.simulated.commands import CommandRun
from transports.simulated.inputs import PipeInput, TerminalInput
from transports.simulated.outcomes import ResetDevice
from transports.simulated.programs import PROGRAMS, Invocation, Program
from transports.simulated.slots import Run
from transports.wire.conversation_messages import Attach, Exec
from transports.wire.device_session import DeviceSession
from transports.wire.messages import refusal
from transports.wire.numbers import Body, Code


class BoardTalks:
    """most: so many at a time, each with its buffers. load makes a program, or None."""

    def __init__(self, session: DeviceSession, most: int, board: str, load: Callable[[Invocation], Program | None]) -> None:
        self._session = session
        self._most = most
        self._board = board
        self._load = load
        self._commands: list[CommandRun] = []

    def execute(self, request: Exec, run: Run | None, runs: list[Run], now: float) -> tuple[int, Body]:
        if run is None or run.status.gen != request.gen:
            return Code.NOT_FOUND, refusal("the workload that it would run beside is not there")
        if run.is_over:
            return Code.BAD_STATE, refusal("the workload that it would run beside has ended")
        name, *args = request.argv
        if self._load(Invocation(name, tuple(args), run.env, self._board)) is None:
            return Code.NOT_FOUND, refusal(f"no command {name!r}; there are: {', '.join(PROGRAMS)}"[:400])
        if (full := self._refuse_if_full(runs)) is not None:
            return full
        talk = self._session.open_talk(request)
        stdin = TerminalInput(talk) if talk.is_tty else PipeInput(talk)
        program = self._load(Invocation(name, tuple(args), run.env, self._board, stdin, lambda: talk.size))
        assert program is not None
        self._commands.append(CommandRun(program, talk, stdin, (request.wid, request.gen), now))
        return Code.OK, talk.answer()

    def attach(self, request: Attach, run: Run | None, runs: list[Run]) -> tuple[int, Body]:
        if run is None or run.status.gen != request.gen:
            return Code.NOT_FOUND, refusal("the workload is not there")
        if run.is_over or run.stdin is None or run.stdin.has_ended:
            why = "the workload has ended" if run.is_over else "it was started without" if run.stdin is None else "its input has ended"
            return Code.BAD_STATE, refusal(why)
        if run.stdin.has_writer:
            return Code.BUSY, refusal("somebody else types to it")
        if (full := self._refuse_if_full(runs)) is not None:
            return full
        talk = self._session.open_talk(request)
        run.stdin.attach(talk)
        return Code.OK, talk.answer()

    def _refuse_if_full(self, runs: list[Run]) -> tuple[int, Body] | None:
        held = sum(not command.is_over for command in self._commands)
        held += sum(run.stdin.held_buffers() for run in runs if run.stdin is not None)
        if held < self._most:
            return None
        return Code.BUSY, refusal(f"it has room for {self._most} conversation{'s' if self._most > 1 else ''}, and {held} are open")

    def poll(self, is_alive: Callable[[tuple[int, int]], bool], now: float) -> ResetDevice | None:
        """Every command has its turn; those of runs that have ended end."""
        wish = None
        for command in self._commands:
            if not is_alive(command.run):
                command.end()
            wish = command.poll(now) or wish
        self._commands = [command for command in self._commands if not command.is_over]
        return wish

    def next_deadline(self) -> float | None:
        return min((at for command in self._commands if (at := command.next_deadline()) is not None), default=None)

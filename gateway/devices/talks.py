"""What a person says to a run: one at a time types, many look on, and other commands run beside it. Who types is shown."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Final, NamedTuple, Protocol

from gateway.devices.board import Board
from gateway.devices.care import MAX_BORROWER_CHARS
from gateway.devices.ledger import Entry
from gateway.devices.runs import Runs, is_live
from gateway.pods.seams import Program
from transports.errors import DeviceError, SessionLost, TransportError
from transports.link import Command, CommandEnd, TerminalSize
from transports.protocol import MAX_INPUT_BYTES, SendInput

_logger = logging.getLogger(__name__)

CONFLICT: Final = 409
UNPROCESSABLE: Final = 422
UNAVAILABLE: Final = 503
LOST_INPUT: Final = "device {}: {}; what was typed last may not have arrived"


class TalkRefused(Exception):
    """status as of HTTP; the text is for who asked."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Talker(Protocol):
    """The supervisor, as far as people need it."""

    def watched(self) -> AbstractContextManager[None]: ...

    def typing(self, wid: int, gen: int) -> AbstractContextManager[None]: ...

    async def run_command(
        self,
        beside: tuple[int, int],
        argv: Sequence[str],
        env: Sequence[str],
        working_dir: str,
        terminal: tuple[str, TerminalSize] | None,
    ) -> Command: ...


class Piece(NamedTuple):
    """Of a command's output."""

    data: bytes
    is_error: bool


class Ended(NamedTuple):
    exit_code: int
    signal: str


class Talks:
    """Over the boards; runs are what the ledger knows."""

    def __init__(self, boards: Mapping[str, Board], talkers: Mapping[str, Talker], runs: Runs) -> None:
        self._boards = boards
        self._talkers = talkers
        self._runs = runs

    @contextmanager
    def watching(self, uid: str, container: str) -> Iterator[None]:
        """The run's output comes without delay inside. Raises TalkRefused."""
        with self._talkers[self._run(uid, container).device].watched():
            yield

    @contextmanager
    def typing(self, uid: str, container: str, who: str) -> Iterator[Typist]:
        """Nobody else types to the run inside. Raises TalkRefused."""
        entry = self._run(uid, container)
        board = self._boards[entry.device]
        key = entry.wid, entry.gen
        if (typist := board.typists.get(key)) is not None:
            raise TalkRefused(
                CONFLICT, f"{typist} types to container {container} on {board.name}; look on without -i, or ask them to leave"
            )
        name = "".join(character if character.isprintable() else "?" for character in who)[:MAX_BORROWER_CHARS]
        board.typists[key] = name
        _logger.info("somebody types to a run", extra={"device": board.name, "pod": entry.pod, "container": container, "who": name})
        try:
            with self._talkers[entry.device].typing(*key):
                yield Typist(board, entry)
        finally:
            del board.typists[key]

    @asynccontextmanager
    async def command(
        self, uid: str, container: str, program: Program, argv: Sequence[str], terminal: tuple[str, int, int] | None
    ) -> AsyncIterator[BoardCommand]:
        """argv beside the run, in the environment of program. terminal: TERM, columns and rows. Raises TalkRefused."""
        entry = self._run(uid, container)
        env = [f"{name}={value}" for name, value in program.env]
        size = None if terminal is None else (terminal[0], TerminalSize(*terminal[1:]))
        try:
            started = await self._talkers[entry.device].run_command((entry.wid, entry.gen), argv, env, program.working_dir, size)
        except DeviceError as error:
            raise TalkRefused(UNPROCESSABLE, f"exec on device {entry.device}: {error.text}") from error
        except TransportError as error:
            raise TalkRefused(UNAVAILABLE, f"exec on device {entry.device}: {error}") from error
        try:
            yield BoardCommand(started, entry.device)
        finally:
            await started.aclose()

    def _run(self, uid: str, container: str) -> Entry:
        entry = self._runs.newest(uid, container)
        if entry is None or not is_live(entry) or entry.device not in self._boards:
            raise TalkRefused(CONFLICT, f"container {container} is not running")
        return entry


class Typist:
    """Who types to one run."""

    def __init__(self, board: Board, entry: Entry) -> None:
        self._board = board
        self._entry = entry

    async def send(self, data: bytes, *, is_end: bool = False) -> None:
        """Return when there is room for more. Raises TalkRefused."""
        pieces = [data[start : start + MAX_INPUT_BYTES] for start in range(0, len(data), MAX_INPUT_BYTES)] or [b""]
        for number, piece in enumerate(pieces):
            is_last = is_end and number == len(pieces) - 1
            try:
                await self._board.requester.request(SendInput(self._entry.wid, self._entry.gen, piece, is_last))
            except DeviceError as error:
                raise TalkRefused(CONFLICT, f"device {self._board.name} takes no input: {error.text}") from error
            except SessionLost as error:
                raise TalkRefused(UNAVAILABLE, LOST_INPUT.format(self._board.name, error)) from error
            except TransportError as error:
                raise TalkRefused(UNAVAILABLE, f"device {self._board.name}: {error}") from error


class BoardCommand:
    """A command that runs beside the workloads of a board."""

    def __init__(self, command: Command, device: str) -> None:
        self._command = command
        self._device = device

    async def receive(self) -> Piece | Ended:
        """The end comes once, after all output. Raises TalkRefused."""
        try:
            told = await self._command.receive()
        except DeviceError as error:
            raise TalkRefused(UNAVAILABLE, f"device {self._device} ended the command: {error.text}") from error
        except TransportError as error:
            raise TalkRefused(UNAVAILABLE, f"device {self._device}: {error}") from error
        return Ended(*told) if isinstance(told, CommandEnd) else Piece(*told)

    async def send(self, data: bytes, *, is_end: bool = False) -> None:
        await self._command.send(data)
        if is_end:
            self._command.end_input()

    def resize(self, columns: int, rows: int) -> None:
        self._command.resize(TerminalSize(columns, rows))

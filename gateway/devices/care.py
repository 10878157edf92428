"""What a person does to a board by hand: use its port for something else, reset it, cycle its power."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final, Protocol

from gateway.devices.board import Board
from gateway.devices.board_hooks import run_board_hook
from gateway.devices.hooks import HookFailed
from gateway.devices.ladder import Rung
from transports.errors import LinkError

MAX_BORROWER_CHARS: Final = 120
"""In a condition, a table and a log line."""
_MEANT: Final = {rung.value: rung for rung in (Rung.RESET, Rung.POWER_CYCLE)}
_HOW: Final = {Rung.RESET: "hooks.reset, or modem lines that reset it", Rung.POWER_CYCLE: "hooks.power.cycle"}


class CareRefused(Exception):
    """It cannot be done; one line says why."""


class NoSuchDevice(CareRefused):
    """No device of the configuration has that name."""


class Lender(Protocol):
    """The supervisor, as far as lending needs it."""

    def lent(self, borrower: str) -> AbstractAsyncContextManager[str]: ...


class Care:
    """fleet_changed is called when a device was lent or came back."""

    def __init__(self, boards: Mapping[str, Board], lenders: Mapping[str, Lender], fleet_changed: Callable[[], None]) -> None:
        self._boards = boards
        self._lenders = lenders
        self._fleet_changed = fleet_changed

    @asynccontextmanager
    async def lend(self, device: str, borrower: str) -> AsyncIterator[str]:
        """The address of the device's port, which is the borrower's until the end. What runs on the device is not stopped: its pods are
        not Ready, and when the device comes back it says what became of it. Raises CareRefused."""
        board = self._board(device)
        borrower = "".join(character if character.isprintable() else "?" for character in borrower)[:MAX_BORROWER_CHARS]
        if board.borrower:
            raise CareRefused(f"{device} is lent to {board.borrower}; wait until that ends, or end it")
        board.borrower = borrower  # before the port is closed: the pods are told why
        try:
            async with self._lenders[device].lent(borrower) as address:
                board.output.text(f"wirelet: lent to {borrower}\n".encode())
                self._told(board)
                try:
                    yield address
                finally:
                    board.output.text(b"wirelet: no longer lent\n")
        except LinkError as error:
            raise CareRefused(str(error)) from error
        finally:
            board.borrower = ""
            self._told(board)

    async def do(self, device: str, what: str) -> None:
        """`reset` or `power.cycle`, with the class's hook. Raises CareRefused."""
        board = self._board(device)
        rung = _MEANT.get(what)
        if rung is None:
            raise CareRefused(f"there is no {what}; there are: {', '.join(_MEANT)}")
        if rung not in board.hooks:
            raise CareRefused(f"{device} has nothing for it: class {board.class_name} needs {_HOW[rung]}, in the gateway's configuration")
        if board.borrower:
            raise CareRefused(f"{device} is lent to {board.borrower}; wait until that ends, or end it")
        try:
            await run_board_hook(board, rung)
        except HookFailed as error:
            raise CareRefused(f"{error}; try the command by hand, as the gateway's user") from error

    def _board(self, device: str) -> Board:
        if device not in self._boards:
            raise NoSuchDevice(f'there is no device "{device}"; there are: {", ".join(self._boards) or "none"}')
        return self._boards[device]

    def _told(self, board: Board) -> None:
        board.touch()
        self._fleet_changed()

"""What a person does to a board by hand: use its port for something else, reset it, switch its power.

Both outlive the gateway: the next one finds the lender's lock (gateway.devices.fences), and in the ledger what is switched off.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

import anyio
from anyio.abc import TaskStatus

from gateway.devices.board import Board, Hook, LineReset
from gateway.devices.board_hooks import run_board_hook
from gateway.devices.fences import Fence
from gateway.devices.hooks import HookFailed
from gateway.devices.side_links import SideLink
from gateway.devices.switched_off import SwitchedOff
from transports.errors import LinkError

MAX_BORROWER_CHARS: Final = 120
"""In a condition, a table and a log line."""
LOOK_S: Final = 1.0
"""Between two looks at a port that was lent before this gateway began. Of an unlock the kernel tells only a thread that waits."""
_OFF: Final = "power.off"
_ON: Final = ("power.on", "power.cycle")
"""The board has power afterwards, whatever it had before."""
_HOW: Final = {
    "reset": "hooks.reset, or modem lines that reset it",
    "power.on": "hooks.power.on",
    "power.off": "hooks.power.off",
    "power.cycle": "hooks.power.cycle",
}


class CareRefused(Exception):
    """It cannot be done; one line says why."""


class NoSuchDevice(CareRefused):
    """No device of the configuration has that name."""


class Lender(Protocol):
    """The supervisor, as far as lending needs it."""

    def lent(self, borrower: str) -> AbstractAsyncContextManager[str]: ...

    async def rest(self, why: str) -> None:
        """Raises LinkError."""
        ...

    def resume(self) -> None: ...


class Care:
    """fleet_changed is called when a device was lent or came back."""

    def __init__(
        self,
        boards: Mapping[str, Board],
        lenders: Mapping[str, Lender],
        fences: Mapping[str, Fence],
        side_links: Mapping[tuple[str, str], SideLink],
        switched_off: SwitchedOff,
        fleet_changed: Callable[[], None],
    ) -> None:
        self._switched_off = switched_off
        self._fences = fences
        self._side_links = side_links
        self._boards = boards
        self._lenders = lenders
        self._fleet_changed = fleet_changed
        self._switching: set[str] = set()
        """Devices at which a hook of ours runs."""

    async def respect(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Leave the ports alone that were lent before this gateway began, until they are free, and those of boards that were switched off.
        Started before any supervisor is."""
        async with anyio.create_task_group() as tasks:
            for name, fence in self._fences.items():
                board = self._boards[name]
                if borrower := fence.borrower():
                    board.borrower = _shown(borrower)
                    await self._lenders[name].rest(f"lent to {board.borrower}")
                    tasks.start_soon(self._await_end, board, fence)
                elif name in self._switched_off.before and _could_be_switched_on(board):
                    board.is_off = True
                    await self._lenders[name].rest("switched off")
                    self._told(board)
            task_status.started()

    async def _await_end(self, board: Board, fence: Fence) -> None:
        board.output.text(f"wirelet: still lent to {board.borrower}\n".encode())
        self._told(board)
        while fence.borrower():  # noqa: ASYNC110 - see LOOK_S
            await anyio.sleep(LOOK_S)
        board.output.text(b"wirelet: no longer lent\n")
        board.borrower = ""
        self._lenders[board.name].resume()
        self._told(board)

    def fence_of(self, device: str, role: str = "") -> Path:
        """The file that the lender of a device, or of a further link of it, locks."""
        return self._side_links[device, role].fence.path if role else self._fences[device].path

    @asynccontextmanager
    async def lend_side_link(self, device: str, role: str, borrower: str) -> AsyncIterator[str]:
        """The address of that link's port, which is the borrower's until the end; the device goes on. Raises CareRefused."""
        self._board(device)
        side = self._side_links.get((device, role))
        if side is None:
            roles = ", ".join(each for name, each in self._side_links if name == device) or "none"
            raise CareRefused(f"{device} has no link {role}; there are besides its own: {roles}")
        try:
            async with side.lent(_shown(borrower)) as address:
                yield address
        except LinkError as error:
            raise CareRefused(str(error)) from error

    @asynccontextmanager
    async def lend(self, device: str, borrower: str) -> AsyncIterator[str]:
        """The address of the device's port, which is the borrower's until the end. What runs on the device is not stopped: its pods are
        not Ready, and when the device comes back it says what became of it. Raises CareRefused."""
        board = self._board(device)
        borrower = _shown(borrower)
        self._refuse_given_up(board)
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
        """`reset` or `power.on`, `power.off`, `power.cycle`, with the class's hook. Raises CareRefused."""
        board = self._board(device)
        if what not in _HOW:
            raise CareRefused(f"there is no {what}; there are: {', '.join(_HOW)}")
        hook = _hook_of(board, what)
        if hook is None:
            raise CareRefused(f"{device} has nothing for it: class {board.class_name} needs {_HOW[what]}, in the gateway's configuration")
        if board.borrower or what == "reset":
            self._refuse_given_up(board)
        if device in self._switching:
            raise CareRefused(f"another hook of {device} runs; try again when that has ended")
        self._switching.add(device)
        try:
            with anyio.CancelScope(shield=True):  # as a hook is not cut off, what follows from it is not either
                await self._switch(board, what, hook)
        finally:
            self._switching.discard(device)

    async def _switch(self, board: Board, what: str, hook: Hook | LineReset) -> None:
        if what == _OFF:
            await self._switch_off(board, hook)
            return
        await self._run(board, what, hook)
        if what in _ON and board.is_off:
            await self._resume(board)

    async def _switch_off(self, board: Board, hook: Hook | LineReset) -> None:
        """The port is closed first: its lines would feed the board, and a device that dies under an open port is no news."""
        if board.is_off:
            await self._run(board, _OFF, hook)
            return
        board.is_off = True  # before the port is closed: the pods are told why
        is_done = False
        try:
            await self._lenders[board.name].rest("switched off")
            self._told(board)
            await self._switched_off.remember(board.name, is_off=True)  # before the hook: who is killed in it has a board that may be off
            await self._run(board, _OFF, hook)
            is_done = True
        except LinkError as error:
            board.is_off = False
            raise CareRefused(str(error)) from error
        finally:
            if board.is_off and not is_done:
                await self._resume(board)
            self._told(board)

    async def _resume(self, board: Board) -> None:
        await self._switched_off.remember(board.name, is_off=False)
        board.is_off = False
        self._lenders[board.name].resume()
        self._told(board)

    async def _run(self, board: Board, what: str, hook: Hook | LineReset) -> None:
        try:
            await run_board_hook(board, what, hook)
        except HookFailed as error:
            raise CareRefused(f"{error}; try the command by hand, as the gateway's user") from error

    def _refuse_given_up(self, board: Board) -> None:
        if board.borrower:
            raise CareRefused(f"{board.name} is lent to {board.borrower}; wait until that ends, or end it")
        if board.is_off:
            raise CareRefused(f"{board.name} is {board.problem}")

    def _board(self, device: str) -> Board:
        if device not in self._boards:
            raise NoSuchDevice(f'there is no device "{device}"; there are: {", ".join(self._boards) or "none"}')
        return self._boards[device]

    def _told(self, board: Board) -> None:
        board.touch()
        self._fleet_changed()


def _shown(borrower: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in borrower)[:MAX_BORROWER_CHARS]


def _could_be_switched_on(board: Board) -> bool:
    """The configuration may have lost the hook since; then nobody could ever say that it is on again."""
    return board.power_on_hook is not None or board.power_hook is not None


def _hook_of(board: Board, what: str) -> Hook | LineReset | None:
    hooks = {"reset": board.reset_hook, _OFF: board.power_off_hook, "power.on": board.power_on_hook, "power.cycle": board.power_hook}
    return hooks[what]

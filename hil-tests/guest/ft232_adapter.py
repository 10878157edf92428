"""An emulated FT232 in the guest, driven by the real ftdi_sio: what it was told is recorded, and it misbehaves as a test wants."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Final

from anyio.from_thread import BlockingPortal
from guest.auto_reset import Boot
from guest.emulated import Emulated
from guest.ft232 import Ft232, Happening, LineError, Lines, ModemInput, description
from guest.ft232_board import Ft232Board
from guest.ft232_terminal import Ft232Terminal
from guest.inside import await_no_path, await_path
from guest.machine import Guest

from transports.simulated.board import BoardConfig

WAIT_S: Final = 10.0
LOOK_S: Final = 0.01


class Ft232Adapter(Emulated):
    """Nothing is wired to its pins at first: choose loop_back() or a board(), or use put() and sent()."""

    def __init__(self, guest: Guest, portal: BlockingPortal, serial: str) -> None:
        described = description(serial)
        self._chip = Ft232(described)
        super().__init__(guest, portal, self._chip)
        name = "_".join(filter(None, ("FTDI", described.product.replace(" ", "_"), serial)))
        self.by_id = f"/dev/serial/by-id/usb-{name}-if00-port0"
        """Its stable path in the guest; adapters without a serial number have to share it."""
        self.by_path = f"/dev/serial/by-path/{self.path_id}-port0"
        """Its path as long as it stays in its USB port."""
        self._board: Ft232Board | None = None
        self._life: Future[None] | None = None

    def await_plugged(self) -> str:
        """The tty that it became."""
        return self._guest.call(await_path, self.by_path)

    def await_unplugged(self) -> None:
        self._guest.call(await_no_path, self.by_path)

    def remove(self) -> None:
        if self._life is not None:
            self._life.cancel()
        super().remove()

    # -- what the driver did

    def happened(self) -> list[Happening]:
        """Since the last call, in order."""
        return self._on_loop(self._take_happened)

    def _take_happened(self) -> list[Happening]:
        happened, self._chip.happened = self._chip.happened, []
        return happened

    def lines(self) -> Lines:
        return self._on_loop(lambda: self._chip.lines)

    def baud(self) -> float:
        return self._on_loop(lambda: self._chip.baud)

    # -- what it does

    def put(self, data: bytes, errors: LineError = LineError.NONE) -> None:
        """Bytes on its RXD pin, read with these errors."""
        self._on_loop(self._chip.put, data, errors)

    def set_modem(self, inputs: ModemInput) -> None:
        self._on_loop(self._chip.set_modem, inputs)

    def stick(self) -> None:
        """From now on it takes no output: NAK for ever."""
        self._on_loop(setattr, self._chip, "is_stuck", True)

    def unstick(self) -> None:
        self._on_loop(setattr, self._chip, "is_stuck", False)

    # -- what is wired to it

    def loop_back(self) -> None:
        """TXD to RXD."""
        self._on_loop(setattr, self._chip, "when_output", self._chip.put)

    def board(self, name: str, *, slots: int = 2, baud: float = 115200, has_auto_reset: bool = False) -> None:
        """A board with power of its own, from now until remove()."""
        config = BoardConfig(id=name, slots=slots)
        self._board = self._on_loop(lambda: Ft232Board(self._chip, config, baud, has_auto_reset=has_auto_reset))
        self._life = self._portal.start_task_soon(self._board.run)

    def terminal(self, *argv: str) -> None:
        """A program of the host on a terminal, from now until remove()."""
        terminal = self._on_loop(lambda: Ft232Terminal(self._chip, argv))
        self._life = self._portal.start_task_soon(terminal.run)

    def boots(self) -> list[Boot]:
        """What the auto-reset circuit did to the board so far."""
        board = self._board
        assert board is not None
        return self._on_loop(lambda: list(board.boots))

    def await_boots(self, boots: list[Boot]) -> None:
        """Until these have been, in this order, and no others."""
        deadline = time.monotonic() + WAIT_S
        while (found := self.boots()) != boots:
            assert time.monotonic() < deadline, f"{found} instead of {boots}"
            time.sleep(LOOK_S)

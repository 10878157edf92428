"""A simulated board wired to the pins of an FT232: its UART has a rate of its own, and its reset and boot pins hang on the modem lines.

Sending takes the time that it takes at that rate. At another one both sides read garbage. In reset the board does nothing, and its ROM
loader only says that it is one.
"""

from __future__ import annotations

from itertools import groupby
from typing import Final

import anyio
import anyio.lowlevel
from guest.auto_reset import AutoReset, Boot
from guest.ft232 import Ft232, LineError, Lines
from guest.uart import FRAME_BITS, is_understood, sample

from transports.bell import Bell
from transports.simulated.board import BoardConfig
from transports.simulated.runner import BoardRunner

LOADER_TEXT: Final = b"waiting for download\r\n"


class Ft232Board:
    """run() is the board's life. For one event loop, which is the chip's."""

    def __init__(self, chip: Ft232, config: BoardConfig, baud: float, *, has_auto_reset: bool) -> None:
        self.boots: list[Boot] = []
        """What the circuit made of the modem lines; the power-on is not among them."""
        self._chip = chip
        self._baud = baud
        self._runner = BoardRunner(config, self)
        self._circuit = AutoReset()
        self._is_in_loader = False
        self._received = bytearray()
        self._has_received = Bell()
        self._lines_changed = Bell()
        chip.when_output = self._read
        if has_auto_reset:
            chip.when_lines = self._set_lines

    async def run(self) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._runner.run)
            tasks.start_soon(self._obey_lines)

    # -- the UART, as the runner's port

    async def receive(self) -> bytes:
        while not self._received:
            await self._has_received.wait()
        data = bytes(self._received)
        self._received.clear()
        return data

    async def send(self, data: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        if not self._circuit.is_in_reset and not self._is_in_loader:
            self._say(data)
            await anyio.sleep(len(data) * FRAME_BITS / self._baud)

    def _say(self, data: bytes) -> None:
        if is_understood(self._baud, self._chip.baud):
            self._chip.put(data)
            return
        for is_misframed, group in groupby(sample(data, self._baud, self._chip.baud), lambda sampled: sampled.is_misframed):
            self._chip.put(bytes(sampled.value for sampled in group), LineError.FRAMING if is_misframed else LineError.NONE)

    def _read(self, data: bytes) -> None:
        if self._circuit.is_in_reset or self._is_in_loader:
            return
        understood = is_understood(self._chip.baud, self._baud)
        self._received += data if understood else bytes(sampled.value for sampled in sample(data, self._chip.baud, self._baud))
        self._has_received.ring()

    # -- reset and boot pin

    def _set_lines(self, lines: Lines) -> None:
        self._circuit.set_lines(lines, anyio.current_time())
        self._lines_changed.ring()

    async def _obey_lines(self) -> None:
        while True:
            deadline = self._circuit.next_deadline()
            with anyio.move_on_at(deadline) if deadline is not None else anyio.CancelScope():
                await self._lines_changed.wait()
            if (boot := self._circuit.poll(anyio.current_time())) is not None:
                self._start(boot)

    def _start(self, boot: Boot) -> None:
        self.boots.append(boot)
        self._is_in_loader = boot is Boot.LOADER
        if self._is_in_loader:
            self._say(LOADER_TEXT)
        else:
            self._runner.reset()

"""A simulated board behind the USB interface of its own chip. It runs on while it is unplugged; what it says then is lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
from guest.wirelet_usb import WireletUsb

from transports.bell import Bell
from transports.simulated.board import BoardConfig
from transports.simulated.runner import BoardRunner


class WireletUsbBoard:
    """run() is its life, in the loop of its USB part. on_restart is called at each boot but the first."""

    def __init__(self, usb: WireletUsb, config: BoardConfig, on_restart: Callable[[], Awaitable[None]]) -> None:
        self._usb = usb
        self._on_restart = on_restart
        self._runner = BoardRunner(config, self, self._trace)
        self._received = bytearray()
        self._has_received = Bell()
        self._has_room = Bell()
        self._restarted = Bell()
        self._boots = 0
        usb.when_output = self._read
        usb.when_room = self._has_room.ring

    async def run(self) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._runner.run)
            while True:
                await self._restarted.wait()
                await self._on_restart()

    def reset(self) -> None:
        """A power cycle."""
        self._runner.reset()

    def _trace(self, line: str) -> None:
        if line.startswith("boot "):
            self._boots += 1
            if self._boots > 1:
                self._restarted.ring()

    # -- the runner's port

    async def receive(self) -> bytes:
        while not self._received:
            await self._has_received.wait()
        data = bytes(self._received)
        self._received.clear()
        return data

    def _read(self, data: bytes) -> None:
        self._received += data
        self._has_received.ring()

    async def send(self, data: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        while not self._usb.has_room:
            await self._has_room.wait()
        self._usb.put(data)

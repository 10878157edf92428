"""The device's end of a pty, for tests: what a board's UART is to the port under test."""

from __future__ import annotations

import contextlib
import os
import tty

import anyio
import anyio.lowlevel


class PtyEnd:
    """A raw pty whose slave is the port. The slave is held open here too, so that the end survives the port's being closed."""

    def __init__(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)

    async def send(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._master, data) :]
            except BlockingIOError:
                await anyio.wait_writable(self._master)

    async def receive(self) -> bytes:
        while True:
            try:
                return os.read(self._master, 65536)
            except BlockingIOError:
                await anyio.wait_readable(self._master)

    async def hang_up(self) -> None:
        """What pulling a USB adapter does to its port."""
        self.close()
        await anyio.lowlevel.checkpoint()

    def close(self) -> None:
        for fd in (self._slave, self._master):
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.close(fd)
        self._master = self._slave = -1

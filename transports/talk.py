"""A command that a protocol core runs beside its device's workloads, as tasks use it: transports.link.Command over a CoreCommand."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from transports.conversing import CoreCommand
from transports.errors import SessionLost
from transports.link import CommandEnd, CommandOutput, TerminalSize


class TalkCommand:
    """See transports.link.Command. begin makes the core's half, touched tells that the core may have something to send."""

    def __init__(self, name: str, begin: Callable[[Callable[[], None]], CoreCommand], touched: Callable[[], None]) -> None:
        """Raises what begin does."""
        self._name = name
        self._touched = touched
        self._moved = anyio.Event()
        self._core = begin(self._ring)

    def _ring(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()

    async def begun(self, deadline_s: float) -> None:
        """Return when the device has agreed. Raises DeviceError when it does not, and SessionLost; then there is nothing to close."""
        try:
            with anyio.move_on_after(deadline_s):
                while not self._core.has_begun:
                    await self._moved.wait()
                return
            raise SessionLost(f"no answer within {deadline_s:g} s")
        except BaseException:
            self._leave()
            raise

    async def receive(self) -> CommandOutput | CommandEnd:
        """Raises DeviceError and SessionLost in place of LinkLost."""
        while (told := self._core.read()) is None:
            await self._moved.wait()
        self._touched()
        return told

    async def send(self, data: bytes) -> None:
        while data:
            written = self._core.write(data)
            self._touched()
            data = data[written:]
            if data and not written:
                await self._moved.wait()

    def end_input(self) -> None:
        self._core.end_input()
        self._touched()

    def resize(self, size: TerminalSize) -> None:
        self._core.resize(size)
        self._touched()

    async def aclose(self) -> None:
        self._leave()

    def _leave(self) -> None:
        self._core.leave()
        self._touched()

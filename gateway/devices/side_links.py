"""The further links of a board, each with a role: a `console`, which is recorded from the gateway's start, and a `debug` port, which only
lent programs use. What runs on the board knows nothing of them, and goes on whatever happens to them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from gateway.devices.fences import Fence
from gateway.devices.output import DeviceOutput
from transports.device import Device
from transports.errors import LinkBusy, LinkError
from transports.link import LendableOpener, LinkOpener
from transports.protocol import Event, Joined, Output

LOOK_S: Final = 1.0
"""Between two looks at a port that was lent before this gateway began, as for a board's own."""


class Recorder:
    """A DeviceSink: what a console says goes into a log of its own, `device/NAME/console`."""

    def __init__(self, output: DeviceOutput) -> None:
        self._output = output
        self.trouble = "not opened yet"
        """Why nothing is recorded now; empty while it is."""

    def store(self, device: str, output: Output) -> bool:
        self._output.store(output)
        return False

    async def settle(self, device: str) -> None:
        """Nothing follows from what a console says."""

    async def happened(self, device: str, event: Event) -> None:
        if isinstance(event, Joined):
            self._output.begin_epoch(event.epoch)

    async def link_changed(self, device: str, error: Exception | None) -> None:
        self.trouble = "" if error is None else str(error)


class SideLink:
    """console is the supervisor and the recorder of a console; a debug port has none."""

    def __init__(self, board: str, role: str, opener: LinkOpener, fence: Fence, console: tuple[Device, Recorder] | None) -> None:
        self.role = role
        self.opener = opener
        self.fence = fence
        self.borrower = ""
        self._name = f"{board}/{role}"
        self._supervisor = None if console is None else console[0]
        self._recorder = None if console is None else console[1]

    @property
    def message(self) -> str:
        """What is to be said of it now, for people."""
        if self.borrower:
            return f"lent to {self.borrower}"
        return self._recorder.trouble if self._recorder is not None else ""

    async def run(self) -> None:
        """Until cancelled. A port that was lent before this gateway began is left alone until it is free."""
        while borrower := self.fence.borrower():
            self.borrower = borrower
            await anyio.sleep(LOOK_S)
        self.borrower = ""
        if self._supervisor is not None:
            await self._supervisor.run()

    @asynccontextmanager
    async def lent(self, borrower: str) -> AsyncIterator[str]:
        """The port's address, which is the borrower's inside. Raises LinkError."""
        if self.borrower:
            raise LinkBusy(f"{self._name}: lent to {self.borrower}; wait until that ends, or end it")
        self.borrower = borrower
        try:
            if self._supervisor is not None:
                async with self._supervisor.lent(borrower) as address:
                    yield address
            elif isinstance(self.opener, LendableOpener):
                yield await self.opener.address()
            else:
                raise LinkError(f"{self._name}: this kind of link has no port that another program could use")
        finally:
            self.borrower = ""

"""A Link of the gateway's own in the guest, for tests that ask it step by step: `process.keep(HeldLink, ...)`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import anyio
import anyio._backends._asyncio
from anyio.from_thread import start_blocking_portal

from transports import interruption
from transports.errors import LinkLost, LinkNotFound
from transports.link import CountingLink, LineErrors, Link, LinkOpener, ResettableLink
from transports.rfc2217 import Rfc2217LinkOpener
from transports.serial import SerialLinkOpener
from transports.serial_options import PortSettings

READ_TIMEOUT_S = 10.0
OPEN_TIMEOUT_S = 20.0


def serial(path: str, settings: PortSettings) -> LinkOpener:
    return SerialLinkOpener(path, settings)


def rfc2217(port: int, settings: PortSettings) -> LinkOpener:
    return Rfc2217LinkOpener("127.0.0.1", port, settings)


class HeldLink:
    """Not open at first. Its loop runs in a thread of this process."""

    def __init__(self, make: Callable[..., LinkOpener], *args: object) -> None:
        assert interruption.prepare()  # the loop is not in the main thread, where the gateway has it
        self._running = start_blocking_portal()
        self._portal = self._running.__enter__()
        self._opener: LinkOpener = self._portal.call(lambda: make(*args))
        self._link: Link

    def open(self) -> None:
        self._link = self._portal.call(self._opener.open)

    def open_when_there(self) -> None:
        """As a supervisor does it, with a short back-off."""

        async def keep_trying() -> Link:
            with anyio.fail_after(OPEN_TIMEOUT_S):
                while True:
                    with suppress(LinkNotFound):
                        return await self._opener.open()
                    await anyio.sleep(0.1)

        self._link = self._portal.call(keep_trying)

    def send(self, data: bytes) -> None:
        self._portal.call(self._link.send, data)

    def send_for(self, data: bytes, patience_s: float) -> bool:
        """Whether all of it was taken in this time."""

        async def send() -> bool:
            with anyio.move_on_after(patience_s):
                await self._link.send(data)
                return True
            return False

        return self._portal.call(send)

    def receive(self, count: int) -> bytes:
        """So many bytes, or what came in time."""

        async def receive() -> bytes:
            data = b""
            with anyio.move_on_after(READ_TIMEOUT_S):
                while len(data) < count:
                    data += await self._link.receive()
            return data

        return self._portal.call(receive)

    def receive_until_lost(self) -> str:
        """Why it ended."""

        async def receive() -> str:
            try:
                while True:
                    await self._link.receive()
            except LinkLost as loss:
                return str(loss)

        return self._portal.call(receive)

    def line_errors(self) -> LineErrors | None:
        assert isinstance(self._link, CountingLink)
        return self._portal.call(self._link.line_errors)

    def reset(self) -> None:
        assert isinstance(self._link, ResettableLink)
        self._portal.call(self._link.reset)

    def close(self) -> None:
        self._portal.call(self._link.aclose)

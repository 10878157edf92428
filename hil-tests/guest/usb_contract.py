"""The Link contract on a real USB stack: pytest runs it in the guest for test_usb_link.py. Its far end is usb_far_end.py, by TCP."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, suppress
from typing import ClassVar, Final

import anyio
import anyio.to_thread
import pytest

from transports.discovery.monitor import PortMonitor
from transports.discovery.places import MatchedPlace
from transports.link import LinkOpener
from transports.testing.link_contract import FarEnd, LinkContract
from transports.usb_backend import open_pipe
from transports.usb_link import UsbLinkOpener
from transports.usb_options import UsbMatchOptions

FAR_ENDS: Final = "WIRELET_FAR_ENDS"
"""Environment: `serial@host:port` of each, with a comma between them."""
SOCKET_BYTES: Final = 16384
OPEN_DEADLINE_S: Final = 30.0
"""An emulated machine on a busy one may stand still for seconds."""


class FarSocket:
    """The firmware's side; the device is plugged in while it is connected. What is not received stays in the device.

    Not a SocketStream of anyio: one made of a socket reads all there is before its first receive.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> bytes:
        if data := await self._reader.read(SOCKET_BYTES):
            return data
        raise EOFError("the device hung up")

    async def hang_up(self) -> None:
        """Idempotent."""
        self._writer.transport.abort()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


class GuestStand:
    """The first device is plugged in from the beginning, others when a case asks for more."""

    def __init__(self, monitor: PortMonitor, clearing: AsyncExitStack) -> None:
        self._monitor = monitor
        self._clearing = clearing
        self._far_ends = [tuple(each.split("@")) for each in os.environ[FAR_ENDS].split(",")]
        self.opener = self._opener(self._far_ends[0][0])
        self.far: FarEnd

    async def set_up(self) -> None:
        self.far = await self._plug(*self._far_ends[0])

    def missing(self) -> LinkOpener:
        return self._opener("nobody")

    def forbidden(self) -> LinkOpener:
        raise NotImplementedError

    async def many(self, count: int) -> list[tuple[LinkOpener, FarEnd]]:
        others = self._far_ends[1:]
        assert count <= len(others)
        return [(self._opener(serial), await self._plug(serial, address)) for serial, address in others[:count]]

    def _opener(self, serial: str) -> LinkOpener:
        place = MatchedPlace(UsbMatchOptions(usb_serial=serial).rule(), self._monitor)
        return UsbLinkOpener(place, open_pipe, open_deadline_s=OPEN_DEADLINE_S)

    async def _plug(self, serial: str, address: str) -> FarSocket:
        """Connect its far end; when that is cleared away it is unplugged."""
        await self._until(serial, is_there=False)
        self._clearing.push_async_callback(self._until, serial, is_there=False)
        far = await connected(address)
        self._clearing.push_async_callback(far.hang_up)
        await self._until(serial, is_there=True)
        return far

    async def _until(self, serial: str, *, is_there: bool) -> None:
        while True:
            there = await self._monitor.ports()
            if is_there == any(port.serial == serial for port in there.ports):
                return
            await self._monitor.changed(there.version)


async def connected(address: str) -> FarSocket:
    host, _, port = address.rpartition(":")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)  # before the connection, or it has no effect
    await anyio.to_thread.run_sync(made.connect, (host, int(port)))
    return FarSocket(*await asyncio.open_connection(sock=made, limit=SOCKET_BYTES))


class TestUsbInGuest(LinkContract):
    driver, over = "usb", "guest"
    not_applicable: ClassVar[Mapping[str, str]] = {
        "test_a_forbidden_port_is_named": "root may open every device; hil-tests/guest/test_usb_link.py asks as another user",
        "test_64_links_at_once": "the guest's bus has six ports",
    }

    @pytest.fixture
    async def stand(self) -> AsyncIterator[GuestStand]:
        monitor = PortMonitor()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(monitor.run)
            async with AsyncExitStack() as clearing:
                stand = GuestStand(monitor, clearing)
                await stand.set_up()
                yield stand
            tasks.cancel_scope.cancel()

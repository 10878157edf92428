"""The Link contract on a real USB stack: pytest runs it in the guest for test_usb_link.py. Its far end is usb_far_end.py, by TCP."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Mapping
from typing import ClassVar, Final

import anyio
import anyio.abc
import pytest

from transports.discovery.monitor import PortMonitor
from transports.driver import DeviceFacts
from transports.link import LinkOpener
from transports.testing.link_contract import FarEnd, LinkContract
from transports.usb_driver import UsbDriver
from transports.usb_options import UsbMatchOptions, UsbOptions

FAR_END: Final = "WIRELET_FAR_END"
"""host:port."""
USB_SERIAL: Final = "WIRELET_USB_SERIAL"
SOCKET_BYTES: Final = 16384


class FarSocket:
    """The firmware's side; the device is plugged in while it is connected."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self._stream = stream

    async def send(self, data: bytes) -> None:
        await self._stream.send(data)

    async def receive(self) -> bytes:
        return await self._stream.receive()

    async def hang_up(self) -> None:
        await self._stream.aclose()


class GuestStand:
    def __init__(self, monitor: PortMonitor, far: FarEnd) -> None:
        self._monitor = monitor
        self.far = far
        self.opener = self._opener(os.environ[USB_SERIAL])

    def missing(self) -> LinkOpener:
        return self._opener("nobody")

    def forbidden(self) -> LinkOpener:
        raise NotImplementedError

    async def many(self, count: int) -> list[tuple[LinkOpener, FarEnd]]:
        raise NotImplementedError

    def _opener(self, serial: str) -> LinkOpener:
        facts = DeviceFacts(name="board", class_name="bulk", slots=1, ports=self._monitor)
        return UsbDriver().opener(UsbOptions(match=UsbMatchOptions(usb_serial=serial)), facts)


async def connected() -> anyio.abc.SocketStream:
    host, _, port = os.environ[FAR_END].rpartition(":")
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)  # before the connection, or it has no effect
    await anyio.to_thread.run_sync(made.connect, (host, int(port)))
    return await anyio.abc.SocketStream.from_socket(made)


async def until(monitor: PortMonitor, *, is_there: bool) -> None:
    """The device has come, or has gone."""
    while True:
        there = await monitor.ports()
        if is_there == any(port.serial == os.environ[USB_SERIAL] for port in there.ports):
            return
        await monitor.changed(there.version)


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
            await until(monitor, is_there=False)
            async with await connected() as stream:
                await until(monitor, is_there=True)
                yield GuestStand(monitor, FarSocket(stream))
            await until(monitor, is_there=False)
            tasks.cancel_scope.cancel()

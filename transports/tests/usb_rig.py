"""A USB link on a libusb without a bus: its place, its device, and the firmware's side."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import anyio.to_thread

from transports.discovery.facts import PortFacts
from transports.errors import LinkNotFound
from transports.tests.fake_libusb import FakeDevice, FakeLibusb
from transports.usb import BulkPipe, open_error, pipe_of


class FixedPlace:
    """Where a device is that is never plugged in elsewhere."""

    port: PortFacts | None = None
    names_a_board = False

    def __init__(self, name: str, *, is_there: bool = True) -> None:
        self.name = name
        self._is_there = is_there

    def means(self, port: PortFacts, ports: Sequence[PortFacts]) -> bool:
        return False

    async def node(self) -> str:
        if not self._is_there:
            raise LinkNotFound(f"no port with {self.name}")
        return "/dev/bus/usb/001/002"

    async def appeared(self) -> None:
        await anyio.sleep_forever()

    async def vanished(self) -> str:
        await anyio.sleep_forever()
        raise AssertionError("it sleeps for ever")


class FakeFarEnd:
    """The firmware."""

    def __init__(self) -> None:
        self.device = FakeDevice()

    async def send(self, data: bytes) -> None:
        self.device.say(data)

    async def receive(self) -> bytes:
        return await anyio.to_thread.run_sync(self.device.hear)

    async def hang_up(self) -> None:
        self.device.unplug()

    def open_pipe(self, node: str, name: str) -> BulkPipe:
        try:
            return pipe_of(FakeLibusb(self.device), name)
        except OSError as error:
            raise open_error(node, name, error) from error

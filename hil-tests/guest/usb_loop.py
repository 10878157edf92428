"""Bytes through Wirelet's USB link, in the guest: for `process.call(...)`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
from guest.bare_laps import WARM_UP_BYTES, Lap

from transports.discovery.monitor import PortMonitor
from transports.driver import DeviceFacts
from transports.usb_driver import UsbDriver
from transports.usb_link import UsbLink
from transports.usb_options import UsbMatchOptions, UsbOptions

BURST: Final = bytes(250_000)
"""Some transfers, and no multiple of a packet: the empty one after it would be another's time."""


def hub_port(serial: str) -> str:
    """Where the USB device with this serial number is plugged in, as the kernel says it: 1-1.3."""
    return next(found.parent.name for found in Path("/sys/bus/usb/devices").glob("*/serial") if found.read_text().strip() == serial)


def driver_of(serial: str) -> str:
    """What holds its first interface."""
    port = hub_port(serial)
    return os.path.basename(os.path.realpath(f"/sys/bus/usb/devices/{port}:1.0/driver"))


@asynccontextmanager
async def opened(serial: str) -> AsyncIterator[UsbLink]:
    """As a configuration would have it."""
    monitor = PortMonitor()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(monitor.run)
        facts = DeviceFacts(name="board", class_name="bulk", slots=1, ports=monitor)
        link = await UsbDriver().opener(UsbOptions(match=UsbMatchOptions(usb_serial=serial)), facts).open()
        assert isinstance(link, UsbLink)
        try:
            yield link
        finally:
            await link.aclose()
            tasks.cancel_scope.cancel()


def loop_through_link(serial: str, sizes: Sequence[int]) -> None:
    """Bursts of these sizes to a device that returns every byte. Raises ValueError when others come back."""

    async def loop() -> None:
        async with opened(serial) as link:
            for size in sizes:
                sent, received = os.urandom(size), b""
                await link.send(sent)
                while len(received) < size:
                    received += await link.receive()
                if received != sent:
                    raise ValueError(f"{size} bytes came back as {len(received)} others")

    anyio.run(loop)


def link_lap(serial: str, total_bytes: int, is_in: bool) -> Lap:
    """So many bytes from or to a device that never waits."""

    async def move(link: UsbLink, wanted_bytes: int) -> None:
        moved_bytes = 0

        def received(data: bytes) -> float | None:
            nonlocal moved_bytes
            moved_bytes += len(data)
            return 0.0 if moved_bytes < wanted_bytes else None

        if is_in:
            await link.deliver(received)
        while moved_bytes < wanted_bytes:
            await link.send(BURST)
            moved_bytes += len(BURST)

    async def run() -> Lap:
        async with opened(serial) as link:
            await move(link, WARM_UP_BYTES)
            begin = Lap.now()
            await move(link, total_bytes)
            return begin.to_now()

    return anyio.run(run)

"""Bytes through Wirelet's USB link and through pyusb alone, in the guest: for `process.call(...)`."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import anyio
import usb.backend.libusb1
import usb.core
import usb.util

from transports.discovery.monitor import PortMonitor
from transports.driver import DeviceFacts
from transports.link import Link
from transports.usb_driver import UsbDriver
from transports.usb_options import UsbMatchOptions, UsbOptions

PIECE_BYTES: Final = 16384
"""Of one transfer of the bare loop: what the link takes, too."""
SEND_BYTES: Final = 65536
FIRST_IN: Final = 0x80
TIMEOUT_MS: Final = 20_000


async def open_link(serial: str, monitor: PortMonitor) -> Link:
    """As a configuration would have it."""
    facts = DeviceFacts(name="board", class_name="bulk", slots=1, ports=monitor)
    return await UsbDriver().opener(UsbOptions(match=UsbMatchOptions(usb_serial=serial)), facts).open()


def loop_through_link(serial: str, sizes: Sequence[int]) -> None:
    """Bursts of these sizes to a device that returns every byte. Raises ValueError when others come back."""

    async def loop() -> None:
        monitor = PortMonitor()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(monitor.run)
            link = await open_link(serial, monitor)
            for size in sizes:
                sent, received = os.urandom(size), b""
                await link.send(sent)
                while len(received) < size:
                    received += await link.receive()
                if received != sent:
                    raise ValueError(f"{size} bytes came back as {len(received)} others")
            await link.aclose()
            tasks.cancel_scope.cancel()

    anyio.run(loop)


# -- how fast


@dataclass(frozen=True, slots=True)
class Lap:
    """Seconds of the clock and of the processor."""

    took_s: float
    cpu_s: float


def race(source: str, sink: str, total_bytes: int, rounds: int) -> list[dict[str, Lap]]:
    """So many bytes from one device and to another, which never wait: in turns by pyusb alone and by the link."""
    return [
        {
            "bare in": _bare(source, total_bytes, is_in=True),
            "link in": anyio.run(_link, source, total_bytes, _receive),
            "bare out": _bare(sink, total_bytes, is_in=False),
            "link out": anyio.run(_link, sink, total_bytes, _send),
        }
        for _ in range(rounds)
    ]


def _bare(serial: str, total_bytes: int, *, is_in: bool) -> Lap:
    backend = usb.backend.libusb1.get_backend(find_library=lambda _: "libusb-1.0.so.0")
    device = usb.core.find(backend=backend, custom_match=lambda found: found.serial_number == serial)
    interface = device.get_active_configuration()[(0, 0)]
    endpoint = next(end for end in interface if (end.bEndpointAddress >= FIRST_IN) == is_in)
    piece = bytes(PIECE_BYTES)
    usb.util.claim_interface(device, 0)
    begin = _now()
    moved_bytes = 0
    while moved_bytes < total_bytes:
        moved_bytes += len(endpoint.read(PIECE_BYTES, TIMEOUT_MS)) if is_in else endpoint.write(piece, TIMEOUT_MS)
    lap = _since(begin)
    usb.util.dispose_resources(device)
    return lap


async def _link(serial: str, total_bytes: int, move: Callable[[Link, int], Awaitable[None]]) -> Lap:
    monitor = PortMonitor()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(monitor.run)
        link = await open_link(serial, monitor)
        begin = _now()
        await move(link, total_bytes)
        lap = _since(begin)
        await link.aclose()
        tasks.cancel_scope.cancel()
    return lap


async def _receive(link: Link, total_bytes: int) -> None:
    received_bytes = 0
    while received_bytes < total_bytes:
        received_bytes += len(await link.receive())


async def _send(link: Link, total_bytes: int) -> None:
    piece = bytes(SEND_BYTES)
    for _ in range(total_bytes // SEND_BYTES):
        await link.send(piece)


def _now() -> Lap:
    return Lap(time.monotonic(), time.process_time())


def _since(begin: Lap) -> Lap:
    end = _now()
    return Lap(end.took_s - begin.took_s, end.cpu_s - begin.cpu_s)

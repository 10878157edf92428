"""A bare USB device whose firmware is in the guest itself: who connects to its TCP port is the far end, and plugs it in for that long.

For the link contract, whose cases hold both ends of a link and run in the guest. What the far end does not read is not taken from the bus.
"""

from __future__ import annotations

import socket
from concurrent.futures import Future
from contextlib import suppress
from typing import Final

import anyio
import anyio.abc
from anyio.from_thread import BlockingPortal
from guest.emulated import Emulated
from guest.machine import Guest
from guest.wirelet_usb import WireletUsb

from transports.bell import Bell

SOCKET_BYTES: Final = 16384
"""Of the kernel's buffers on each side: what they hold is no part of a USB device."""
MAX_UNREAD_BYTES: Final = 16384
PIECE_BYTES: Final = 16384


class UsbFarEnd(Emulated):
    """Serves from when it is made; `port` is on the machine's loopback."""

    def __init__(self, guest: Guest, portal: BlockingPortal, serial: str) -> None:
        self._usb = WireletUsb(serial)
        super().__init__(guest, portal, self._usb)
        self._unread = bytearray()
        self._said = bytearray()
        """By the far end; as much as a test makes it say at once."""
        self._has_input = Bell()
        self._has_output = Bell()
        self._has_room = Bell()
        self._usb.when_output = self._take
        self._usb.when_room = self._has_room.ring
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        self.port: int = listener.getsockname()[1]
        self._life: Future[None] = portal.start_task_soon(self._run, listener)

    def remove(self) -> None:
        self._life.cancel()
        super().remove()

    async def _run(self, listener: socket.socket) -> None:
        async with await anyio.abc.SocketListener.from_socket(listener) as serving:
            while True:
                async with await serving.accept() as far:
                    await self._serve(far)

    async def _serve(self, far: anyio.abc.SocketStream) -> None:
        """Until the far end hangs up."""
        self._unread.clear()
        self._said.clear()
        self._usb.is_stuck = False
        await self._plug.plug()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._send_output, far)
                tasks.start_soon(self._feed)
                with suppress(anyio.BrokenResourceError):  # it hung up with something unread
                    async for data in far:  # whether the device has room or not: or a hang-up would not be seen
                        self._said += data
                        self._has_input.ring()
                tasks.cancel_scope.cancel()
        finally:
            await self._plug.unplug()

    async def _feed(self) -> None:
        while True:
            while not self._said:
                await self._has_input.wait()
            while not self._usb.has_room:
                await self._has_room.wait()
            data = bytes(self._said[:PIECE_BYTES])
            del self._said[:PIECE_BYTES]
            self._usb.put(data)

    def _take(self, data: bytes) -> None:
        self._unread += data
        self._usb.is_stuck = len(self._unread) >= MAX_UNREAD_BYTES
        self._has_output.ring()

    async def _send_output(self, far: anyio.abc.SocketStream) -> None:
        while True:
            while self._unread:
                data = bytes(self._unread)
                self._unread.clear()
                self._usb.is_stuck = False
                self._usb.changed()
                try:
                    await far.send(data)
                except anyio.BrokenResourceError:
                    return  # it has hung up; reading tells
            await self._has_output.wait()

"""A USB device in the socket of QEMU's usb-redir: plugged in while it is connected. Moves packets between transfers and the device.

All of it runs in one event loop, on which the device is touched too; tests go through a portal.
"""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path

from guest import usbredir
from guest.usb_description import CONFIGURATION
from guest.usb_device import UsbDevice
from guest.usbredir import (
    IN,
    Bulk,
    Cancel,
    Control,
    GetAlternate,
    GetConfiguration,
    Hello,
    Request,
    Requests,
    Reset,
    SetAlternate,
    SetConfiguration,
    Status,
)


class UsbPlug:
    """One device and its socket. Every method is for the loop."""

    def __init__(self, device: UsbDevice, path: Path) -> None:
        self._device = device
        self._path = path
        self._connection: _Connection | None = None

    @property
    def is_plugged(self) -> bool:
        return self._connection is not None and not self._connection.is_cut

    async def plug(self) -> None:
        """Idempotent. The guest sees it a little later."""
        if not self.is_plugged:
            loop = asyncio.get_running_loop()
            _, self._connection = await loop.create_unix_connection(lambda: _Connection(self._device), str(self._path))

    async def unplug(self) -> None:
        """Idempotent."""
        if self._connection is not None:
            self._connection.cut()
            self._connection = None


class _Transfer:
    """A bulk transfer that waits or is under way, at the head of its endpoint's queue."""

    def __init__(self, bulk: Bulk, packet_bytes: int) -> None:
        self.id = bulk.id
        self._room = bulk.room
        self._packet_bytes = packet_bytes
        self._moved = bytearray()
        self._rest: list[bytes] = [bulk.data[start : start + packet_bytes] for start in range(0, len(bulk.data), packet_bytes)]
        self._endpoint = bulk.endpoint
        if not bulk.endpoint & IN and not self._rest:
            self._rest = [b""]  # a zero-length packet

    def move(self, device: UsbDevice, now: float) -> bool:
        """As far as the device goes; True at its end."""
        if self._endpoint & IN:
            return self._fill(device, now)
        while self._rest and device.packet_out(self._endpoint, self._rest[0], now):
            self._moved += self._rest.pop(0)
        return not self._rest

    def _fill(self, device: UsbDevice, now: float) -> bool:
        while len(self._moved) < self._room:
            packet = device.packet_in(self._endpoint, now)
            if packet is None:
                return False
            self._moved += packet
            if len(packet) < self._packet_bytes:
                break
        return True

    def answer(self, status: Status) -> bytes:
        """What was moved counts whatever became of the rest."""
        if self._endpoint & IN and len(self._moved) > self._room:
            # The host's buffer was no multiple of the packet size: the controller stops, and the packet is lost.
            return usbredir.answer_bulk(self.id, self._endpoint, Status.BABBLE, 0)
        data = bytes(self._moved) if self._endpoint & IN else b""
        return usbredir.answer_bulk(self.id, self._endpoint, status, len(self._moved), data)


class _Connection(asyncio.Protocol):
    def __init__(self, device: UsbDevice) -> None:
        self._device = device
        self._loop = asyncio.get_running_loop()
        self._requests = Requests()
        self._waiting: dict[int, deque[_Transfer]] = {}
        self._transport: asyncio.Transport | None = None
        self._next: asyncio.TimerHandle | asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._device.changed = self._move_soon
        self._device.is_plugged = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.cut()

    @property
    def is_cut(self) -> bool:
        return self._transport is None

    def cut(self) -> None:
        if self._transport is None:
            return
        self._transport.abort()
        self._transport = None
        self._waiting.clear()
        self._device.changed = lambda: None
        self._device.is_plugged = False
        self._device.unplugged()
        if self._next is not None:
            self._next.cancel()

    def data_received(self, data: bytes) -> None:
        for request in self._requests.receive_data(data):
            self._serve(request)
        self._move_soon()

    def _say(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _serve(self, request: Request) -> None:
        device = self._device
        match request:
            case Hello():
                self._waiting.clear()
                device.choose(0)
                self._say(usbredir.hello() + usbredir.interface(device.setting) + usbredir.connect(device.description))
            case Reset():
                device.choose(0)
            case Control():
                self._say(usbredir.answer_control(request, device.control(request.setup, request.data)))
            case Bulk(ident, endpoint) if packet_bytes := device.packet_bytes(endpoint):
                self._waiting.setdefault(endpoint, deque()).append(_Transfer(request, packet_bytes))
            case Bulk(ident, endpoint):
                self._say(usbredir.answer_bulk(ident, endpoint, Status.STALL, 0))
            case Cancel(ident):
                self._cancel(ident)
            case SetConfiguration(ident, number):
                self._say(usbredir.answer_configuration(ident, number))
            case GetConfiguration(ident):
                self._say(usbredir.answer_configuration(ident, CONFIGURATION))
            case SetAlternate(ident, interface, number) if number < len(device.description.alternates):
                device.choose(number)
                self._say(usbredir.interface(device.setting) + usbredir.answer_alternate(ident, interface, number))
            case SetAlternate(ident, interface, number):
                self._say(usbredir.answer_alternate(ident, interface, device.alternate, Status.STALL))
            case GetAlternate(ident, interface):
                self._say(usbredir.answer_alternate(ident, interface, device.alternate))

    def _cancel(self, ident: int) -> None:
        for queue in self._waiting.values():
            for transfer in queue:
                if transfer.id == ident:
                    queue.remove(transfer)
                    self._say(transfer.answer(Status.CANCELLED))
                    return

    def _move_soon(self) -> None:
        """Not at once: the device may be in the middle of something."""
        if self._next is not None:
            self._next.cancel()
        self._next = self._loop.call_soon(self._move)

    def _move(self) -> None:
        self._next = None
        now = self._loop.time()
        for endpoint, queue in self._waiting.items():
            while queue and self._is_over(endpoint, queue[0], now):
                queue.popleft()
        has_reader = any(queue for endpoint, queue in self._waiting.items() if endpoint & IN)
        if has_reader and self._next is None and (deadline := self._device.next_deadline()) is not None:
            self._next = self._loop.call_at(deadline, self._move)

    def _is_over(self, endpoint: int, transfer: _Transfer, now: float) -> bool:
        if endpoint in self._device.stalled:
            self._say(transfer.answer(Status.STALL))
        elif transfer.move(self._device, now):
            self._say(transfer.answer(Status.OK))
        else:
            return False
        return True

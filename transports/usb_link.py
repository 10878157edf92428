"""A bulk interface of a USB device as a Link: a thread that reads, a thread that writes, and bounded buffers between them and the loop.

libusb can only block, so nothing of it is called on the event loop, and no call is waited for without a deadline. It knows no messages, no
pyusb, and reopens nothing.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import queue
import threading
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

import anyio
import anyio.lowlevel

from transports.blocking import BlockingCalls
from transports.discovery.facts import PortFacts
from transports.discovery.places import Place
from transports.errors import LinkLost, LinkTimeout
from transports.link import MAX_READ_BYTES
from transports.usb_bursts import transfers
from transports.usb_delivery import Delivery
from transports.usb_inbox import MAX_BUFFERS, Inbox

_logger = logging.getLogger(__name__)

OPEN_DEADLINE_S: Final = 5.0
"""Some requests of a second at most each; an earlier close that hangs is waited for, too."""
CLOSE_DEADLINE_S: Final = 2.0
"""The kernel ends transfers at once, and they end by themselves soon; what hangs longer ends alone."""


class Pipe(Protocol):
    """What transports.usb makes of a device. All of it blocks, and fails with LinkLost only."""

    @property
    def out_packet_bytes(self) -> int: ...

    def read(self, buffer: array[int]) -> int:
        """How much came into the buffer; 0 after a while without any."""
        ...

    def write(self, data: memoryview) -> int | None:
        """How much of data the device took; None for nothing at all."""
        ...

    def interrupt(self) -> None:
        """End the read and the write that are under way in other threads."""
        ...

    def release(self) -> None:
        """Give the device back; nobody reads or writes any more."""
        ...


class UsbLinkOpener:
    """Opens one interface of one device, again and again, wherever that is plugged in then."""

    def __init__(
        self,
        place: Place,
        open_pipe: Callable[[str, str], Pipe],
        *,
        interface: int | None = None,
        open_deadline_s: float = OPEN_DEADLINE_S,
        max_buffers: int = MAX_BUFFERS,
    ) -> None:
        """open_pipe is called in a thread with the device's node and the link's name. interface is only told in that name."""
        self._place = place
        self._open_pipe = open_pipe
        self._name = place.name if interface is None else f"{place.name}, interface {interface}"
        self._open_deadline_s = open_deadline_s
        self._max_buffers = max_buffers
        self._calls = BlockingCalls(self._name)
        self._port: PortFacts | None = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def port(self) -> PortFacts | None:
        """See transports.discovery.places.PortOpener."""
        return self._port

    @property
    def names_a_board(self) -> bool:
        """See transports.discovery.places.PortOpener."""
        return self._place.names_a_board

    def means(self, port: PortFacts, ports: Sequence[PortFacts]) -> bool:
        """See transports.discovery.places.PortOpener."""
        return self._place.means(port, ports)

    async def open(self) -> UsbLink:
        """The claimed interface; the caller closes it. Raises LinkNotFound, LinkBusy, LinkPermissionDenied, LinkTimeout or LinkError."""
        node = await self._place.node()
        port = self._place.port
        pipe = await self._calls.run(
            "open", lambda: self._open_pipe(node, self._name), deadline_s=self._open_deadline_s, undo=lambda opened: opened.release()
        )
        self._port = port
        return UsbLink(self._name, pipe, self._calls, self._max_buffers)

    async def address(self) -> str:
        """See transports.link.LendableOpener."""
        return await self._place.node()

    async def appeared(self) -> None:
        """See transports.link.HotplugOpener."""
        await self._place.appeared()

    async def vanished(self) -> str:
        """See transports.link.HotplugOpener."""
        return await self._place.vanished()


class UsbLink:
    """One claimed interface: a Link, and a DirectLink. Made on the event loop that uses it."""

    def __init__(self, name: str, pipe: Pipe, calls: BlockingCalls, max_buffers: int) -> None:
        self._name = name
        self._pipe = pipe
        self._calls = calls
        self._loop = asyncio.get_running_loop()
        self._inbox = Inbox(self._loop, max_buffers=max_buffers)
        self._bursts: queue.SimpleQueue[_Burst | None] = queue.SimpleQueue()
        self._burst: _Burst | None = None
        self._delivery: Delivery | None = None
        self._lost: Exception | None = None
        self._is_ending = False
        """Read by the threads."""
        self._is_closing = False
        self._closed = anyio.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(work,), name=f"{what} {name}", daemon=True)
            for what, work in (("read", self._read), ("write", self._write))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def name(self) -> str:
        return self._name

    async def receive(self, max_bytes: int = MAX_READ_BYTES) -> bytes:
        while True:
            news = self._loop.create_future()
            self._inbox.when_news(functools.partial(_settle, news))  # in a later turn: a device that floods must leave others theirs
            await news
            if data := self._inbox.take(max_bytes):
                return data
            self._raise_if_lost()

    async def deliver(self, received: Callable[[bytes], float | None]) -> None:
        """See transports.link.DirectLink."""
        self._delivery = Delivery(self._inbox, received)
        try:
            has_enough = await self._delivery.over
        finally:
            self._delivery.stop()
            self._delivery = None
        if not has_enough:
            self._raise_if_lost()

    def end_rest(self) -> None:
        """See transports.link.DirectLink."""
        if self._delivery is not None:
            self._delivery.end_rest()

    def send_now(self, data: bytes) -> int:
        """See transports.link.DirectLink. Nothing of libusb takes bytes without blocking."""
        return 0

    async def send(self, data: bytes) -> None:
        await anyio.lowlevel.checkpoint_if_cancelled()
        self._raise_if_lost()
        burst = self._burst = _Burst(data, self._loop.create_future())
        self._bursts.put(burst)
        try:
            await burst.over
        finally:
            burst.is_given_up = True
        self._raise_if_lost()

    async def aclose(self) -> None:
        if self._is_closing:
            await self._closed.wait()
            return
        self._is_closing = True
        self._lose(LinkLost(f"{self._name}: closed"))
        with anyio.CancelScope(shield=True):  # bounded by the deadline
            try:
                await self._calls.run("close", self._release, deadline_s=CLOSE_DEADLINE_S)
            except LinkTimeout:
                _logger.warning("USB device hangs in close; left to the operating system", extra={"link": self._name})
            finally:
                self._closed.set()

    def _lose(self, why: Exception) -> None:
        """The first reason counts."""
        if self._lost is not None:
            return
        self._lost = why
        self._is_ending = True
        self._bursts.put(None)
        self._inbox.end()
        if self._burst is not None:
            self._burst.end()

    def _raise_if_lost(self) -> None:
        if isinstance(self._lost, LinkLost):
            raise LinkLost(str(self._lost)) from self._lost.__cause__
        if self._lost is not None:
            raise self._lost

    # -- in threads

    def _work(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # not handled here: carried over to the task that receives or sends
            self._on_loop(self._lose, error)

    def _read(self) -> None:
        while not self._is_ending:
            if (buffer := self._inbox.room()) is not None:
                self._inbox.put(buffer, self._pipe.read(buffer))

    def _write(self) -> None:
        while (burst := self._bursts.get()) is not None:
            for transfer in transfers(burst.data, self._pipe.out_packet_bytes):
                self._write_transfer(burst, transfer)
            self._on_loop(burst.end)

    def _write_transfer(self, burst: _Burst, data: memoryview) -> None:
        written: int | None = None
        while not (self._is_ending or burst.is_given_up) and (data or written is None):
            written = self._pipe.write(data)
            data = data[written or 0 :]

    def _release(self) -> None:
        self._pipe.interrupt()
        for thread in self._threads:
            thread.join()
        self._pipe.release()

    def _on_loop(self, call: Callable[..., object], *args: object) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody listens any more
            self._loop.call_soon_threadsafe(call, *args)


class _Burst:
    """What one send sends."""

    def __init__(self, data: bytes, over: asyncio.Future[None]) -> None:
        self.data = data
        self.over = over
        """Done when the device has it all, or the link is lost."""
        self.is_given_up = False
        """Nobody waits any more: what has not gone out must not, in front of the next."""

    def end(self) -> None:
        _settle(self.over)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

"""A bulk interface of a USB device as a Link: a thread that moves bytes both ways, and bounded buffers between it and the loop.

libusb can only block, so nothing of it is called on the event loop, and no call is waited for without a deadline. It knows no messages, no
pyusb, and reopens nothing.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
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
    """What transports.usb makes of a device, for one thread. What begins a transfer, waits or looks at ended ones raises LinkLost."""

    @property
    def out_packet_bytes(self) -> int: ...

    @property
    def can_read(self) -> bool: ...

    @property
    def can_write(self) -> bool: ...

    def begin_read(self, buffer: array[int]) -> None: ...

    def begin_write(self, data: memoryview) -> None: ...

    def wait(self) -> None:
        """Until a transfer has ended, or wake was called."""
        ...

    def received(self) -> Iterator[tuple[array[int], int]]:
        """The buffers that are read, and how much is in them."""
        ...

    def look_at_written(self) -> None: ...

    def last(self) -> Iterator[tuple[array[int], int]]:
        """As received, after a loss; nothing may begin any more."""
        ...

    def wake(self) -> None:
        """From another thread, not while release runs."""
        ...

    def release(self) -> None:
        """Give the device back; no thread is in wait any more."""
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
        try:
            return UsbLink(self._name, pipe, self._calls, self._max_buffers)
        except RuntimeError as error:  # Python's word for the limit of tasks, or no memory for a stack
            await self._calls.run("close", pipe.release, deadline_s=CLOSE_DEADLINE_S)
            raise LinkTimeout(f"{self._name}: no thread to move bytes: {error}") from error

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
        self._inbox = Inbox(self._loop, self._wake, max_buffers=max_buffers)
        self._bursts: deque[_Burst] = deque()
        self._transfers: Iterator[memoryview] | None = None
        """What is left of the first burst; the thread's."""
        self._burst: _Burst | None = None
        self._delivery: Delivery | None = None
        self._lost: Exception | None = None
        self._is_ending = False
        """Read by the thread."""
        self._is_closing = False
        self._closed = anyio.Event()
        self._thread = threading.Thread(target=self._work, name=f"move {name}", daemon=True)
        self._thread.start()

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
        self._bursts.append(burst)
        self._wake()
        try:
            await burst.over
        finally:
            burst.is_given_up = True
        self._raise_if_lost()

    async def aclose(self) -> None:
        if self._is_closing:
            await self._closed.wait()
            return
        self._lose(LinkLost(f"{self._name}: closed"))
        self._is_closing = True
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
        self._wake()
        self._inbox.end()
        if self._burst is not None:
            self._burst.end()

    def _wake(self) -> None:
        if not self._is_closing:  # then the pipe may be gone
            self._pipe.wake()

    def _raise_if_lost(self) -> None:
        if isinstance(self._lost, LinkLost):
            raise LinkLost(str(self._lost)) from self._lost.__cause__
        if self._lost is not None:
            raise self._lost

    # -- in the thread

    def _work(self) -> None:
        try:
            while not self._is_ending:
                self._begin_read()
                self._begin_writes()
                self._pipe.wait()
                for buffer, count in self._pipe.received():
                    try:
                        self._begin_read()  # first: the device goes on while these bytes find their way
                    finally:
                        self._inbox.put(buffer, count)
                self._pipe.look_at_written()
        except Exception as error:  # not handled here: carried over to the task that receives or sends
            with suppress(OSError):  # the loss is told already
                for buffer, count in self._pipe.last():
                    self._inbox.put(buffer, count)
            self._on_loop(self._lose, error)

    def _begin_read(self) -> None:
        while self._pipe.can_read and (buffer := self._inbox.room()) is not None:
            self._pipe.begin_read(buffer)

    def _begin_writes(self) -> None:
        while self._pipe.can_write and (data := self._next_transfer()) is not None:
            self._pipe.begin_write(data)

    def _next_transfer(self) -> memoryview | None:
        """Of the first burst that has one. A burst is over when the system has all of it, which may be before the device has."""
        while self._bursts:
            burst = self._bursts[0]
            if self._transfers is None:
                self._transfers = transfers(burst.data, self._pipe.out_packet_bytes)
            if not burst.is_given_up and (data := next(self._transfers, None)) is not None:
                return data
            self._bursts.popleft()
            self._transfers = None
            self._on_loop(burst.end)
        return None

    def _release(self) -> None:
        self._thread.join()
        self._pipe.release()

    def _on_loop(self, call: Callable[..., object], *args: object) -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody listens any more
            self._loop.call_soon_threadsafe(call, *args)


class _Burst:
    """What one send sends."""

    def __init__(self, data: bytes, over: asyncio.Future[None]) -> None:
        self.data = data
        self.over = over
        """Done when the system has it all, or the link is lost."""
        self.is_given_up = False
        """Nobody waits any more: what has not gone out must not, in front of the next."""

    def end(self) -> None:
        _settle(self.over)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

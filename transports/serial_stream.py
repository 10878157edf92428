"""Between the engine, which calls when bytes have come or gone, and a Link, which is asked for them: bounded, and lost only once.

Received bytes wait in a bounded buffer; when it is full, reading pauses, and the kernel's flow control or the protocol's credit holds the
device back. It knows no port and no library; what drives it is an asyncio transport.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import anyio
import anyio.lowlevel

from transports.errors import LinkLost
from transports.link import MAX_READ_BYTES
from transports.rests import rests_of_this_loop

SEND_PIECE_BYTES: Final = 65536
"""The engine copies what it holds at every partial write, so it is never given much at once."""


class SerialStream(asyncio.Protocol):
    """What the engine calls: received bytes are delivered or kept in a bounded buffer, every kind of end becomes one LinkLost."""

    def __init__(self, name: str, write_some: Callable[[bytes], int], read_gathered: Callable[[], bytes], max_buffered_bytes: int) -> None:
        """write_some writes what the port takes at once and returns how much, 0 when it is full; read_gathered reads what there is."""
        self._name = name
        self._max_buffered_bytes = max_buffered_bytes
        self._rests = rests_of_this_loop()
        self._transport: Any = None
        self._received = bytearray()
        self._received_by: Callable[[bytes], float | None] | None = None
        """Gets what comes; else it is kept for who receives."""
        self._is_enough: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """The end of a delivery."""
        self._rests_until: float | None = None
        """Bytes gather in the kernel."""
        self._has_news = anyio.Event()
        self._is_drained = anyio.Event()
        self._is_over = anyio.Event()
        self._lost: tuple[str, BaseException | None] | None = None
        self._is_paused = False
        self._write_some = write_some
        self._read_gathered = read_gathered

    def attach(self, transport: Any) -> None:
        # Nothing is buffered beyond the piece under way, so that send returns when the kernel has taken it.
        transport.set_write_buffer_limits(high=0)
        self._transport = transport

    # -- for the link

    async def receive(self, max_bytes: int) -> bytes:
        await anyio.lowlevel.checkpoint_if_cancelled()
        while not self._received:
            self._raise_if_lost()
            self._has_news = anyio.Event()
            await self._has_news.wait()
        return self._taken(max_bytes)

    def _taken(self, max_bytes: int) -> bytes:
        data = bytes(self._received[:max_bytes])
        del self._received[:max_bytes]
        if self._is_paused and len(self._received) <= self._max_buffered_bytes // 2:
            self._is_paused = False
            self._read_on()
        return data

    async def deliver(self, received: Callable[[bytes], float | None]) -> None:
        await anyio.lowlevel.checkpoint_if_cancelled()
        while self._received:
            if received(self._taken(MAX_READ_BYTES)) is None:
                return
        self._raise_if_lost()
        self._received_by, self._is_enough = received, asyncio.get_running_loop().create_future()
        try:
            await self._is_enough
        finally:
            self._received_by = None
        self._raise_if_lost()

    def end_rest(self) -> None:
        if self._rests_until is not None:
            self._end_rest(self._rests_until)

    def send_now(self, data: bytes) -> int:
        return 0 if self._lost is not None else self._write_some(data[:SEND_PIECE_BYTES])

    async def send(self, data: bytes) -> None:
        await anyio.lowlevel.checkpoint_if_cancelled()
        self._raise_if_lost()
        # A port mostly takes a frame at once: then the engine need not watch it.
        written = self._write_some(data[:SEND_PIECE_BYTES])
        for start in range(written, len(data), SEND_PIECE_BYTES):
            self._raise_if_lost()
            self._is_drained = anyio.Event()
            self._transport.write(data[start : start + SEND_PIECE_BYTES])
            try:
                await self._is_drained.wait()
            finally:
                if self._lost is None:  # after a cancellation the rest must not go out in front of the next send
                    self._transport.flush()
            self._raise_if_lost()

    async def end(self) -> None:
        """Return when the engine has let go of the port; unsent bytes are dropped."""
        self.lose("closed")
        await self._is_over.wait()

    # -- for the engine

    def data_received(self, data: bytes) -> None:
        if self._received_by is None:
            self._keep(data)
        elif pause_s := self._deliver(self._received_by, data):
            self._transport.pause_reading()
            self._rests_until = self._rests.begin(pause_s, self._end_rest)

    def _keep(self, data: bytes) -> None:
        self._received += data
        self._has_news.set()
        if not self._is_paused and len(self._received) >= self._max_buffered_bytes:
            # Nobody receives, so nobody misses the news of a hang-up: it is seen by the next send, or by receive when it resumes.
            self._is_paused = True
            self._transport.pause_reading()

    def _deliver(self, received_by: Callable[[bytes], float | None], data: bytes) -> float:
        """How long to rest now."""
        try:
            pause_s = received_by(data)
        except Exception as error:  # whatever it is, it belongs to who called deliver and not to the engine
            self._end_delivery(error)
            return 0.0
        if pause_s is None:
            self._end_delivery()
        return pause_s or 0.0 if self._lost is None else 0.0

    def _end_delivery(self, error: Exception | None = None) -> None:
        self._received_by = None
        if self._is_enough.done():
            return
        if error is None:
            self._is_enough.set_result(None)
        else:
            self._is_enough.set_exception(error)

    def _end_rest(self, at: float) -> None:
        """Read what has gathered. A line that is still busy goes on resting, without the engine."""
        if at != self._rests_until:
            return  # it was ended before
        self._rests_until = None
        if self._lost is not None:
            return
        data = self._read_gathered()
        if self._received_by is None:
            self._keep(data)
        elif pause_s := self._deliver(self._received_by, data):
            self._rests_until = self._rests.begin(pause_s, self._end_rest)
            return
        self._read_on()

    def _read_on(self) -> None:
        if self._lost is None and not self._is_paused and self._rests_until is None:
            self._transport.resume_reading()

    def resume_writing(self) -> None:
        self._is_drained.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over.set()

    def lose(self, why: str, cause: BaseException | None = None) -> None:
        """The port is gone, or is let go. The first reason counts."""
        if self._lost is not None:
            return
        self._lost = (why, cause)
        self._has_news.set()
        self._end_delivery()
        self._is_drained.set()
        self._transport.abort()  # once: a second one would fail in the engine; its close() would wait for unsent bytes

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            why, cause = self._lost
            raise LinkLost(f"{self._name}: {why}") from cause

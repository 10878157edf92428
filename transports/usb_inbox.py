"""Received bytes on their way from a thread that reads to a task that receives: in buffers that go round, without a lock on the event loop.

One thread fills buffers, one task empties them. There are so many and no more: when all are full the device waits.
A new buffer for each transfer would cost more than the transfer: memory that one thread takes and another gives back goes to the system and
comes back as page faults.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from transports.usb_bursts import TRANSFER_BYTES

MAX_BUFFERS: Final = 4
"""1 MiB, if the task is so late; most devices never see the third."""


class Inbox:
    """Made on the loop of the task."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        when_room: Callable[[], None],
        *,
        buffer_bytes: int = TRANSFER_BYTES,
        max_buffers: int = MAX_BUFFERS,
    ) -> None:
        """when_room is called on the loop when a buffer is empty again after room() had none."""
        self._loop = loop
        self._when_room = when_room
        self._buffer_bytes = buffer_bytes
        self._unmade = max_buffers
        self._empty: deque[array[int]] = deque()
        self._filled: deque[tuple[array[int], int]] = deque()
        self._offset = 0
        """What the task has taken of the first filled one."""
        self._is_wanted = False
        """Somebody waits, and must be told: once, for a wake-up costs as much as a transfer."""
        self._when_news: Callable[[], None] | None = None
        self.is_over = False
        """Nothing more comes. What is there can still be taken."""
        self._is_room_wanted = False

    # -- in the thread

    def room(self) -> array[int] | None:
        """A buffer to fill and put; None when there is none, and when_room tells of the next."""
        if not self._empty and not self._unmade:
            self._is_room_wanted = True  # before the second look: what is emptied after that tells
        if self._empty:
            return self._empty.pop()  # the last one used: it is in the processor's cache
        if not self._unmade:
            return None
        self._unmade -= 1
        return array("B", bytes(self._buffer_bytes))

    def put(self, buffer: array[int], count: int) -> None:
        """The first count bytes of the buffer are received; it is nobody's until it comes as room again."""
        if not count:
            self._empty.append(buffer)
            return
        self._filled.append((buffer, count))
        if self._is_wanted:
            self._is_wanted = False
            with suppress(RuntimeError):  # the loop was closed: nobody takes any more
                self._loop.call_soon_threadsafe(self._tell)

    # -- on the loop

    def take(self, max_bytes: int) -> bytes:
        """What is left of the oldest transfer, if anything is there."""
        if not self._filled:
            return b""
        buffer, count = self._filled[0]
        end = min(count, self._offset + max_bytes)
        data = bytes(memoryview(buffer)[self._offset : end])
        self._offset = end
        if end == count:
            self._offset = 0
            self._filled.popleft()
            self._empty.append(buffer)
            if self._is_room_wanted:
                self._is_room_wanted = False
                self._when_room()
        return data

    def when_news(self, call: Callable[[], None] | None) -> None:
        """Call it once, in a later turn of the loop, when there is something to take or it is over. It replaces an earlier one."""
        self._when_news = call
        self._is_wanted = call is not None
        if self._is_wanted and (self._filled or self.is_over):  # put before it was wanted, it is seen here
            self._is_wanted = False
            self._loop.call_soon(self._tell)

    def end(self) -> None:
        self.is_over = True
        self._tell()

    def _tell(self) -> None:
        call, self._when_news = self._when_news, None
        if call is not None:
            call()

"""Received bytes on their way from a thread that reads to a task that receives: bounded, and without a lock on the event loop.

One thread puts, one task takes. A full inbox holds the thread up, and so the device.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from typing import Final

ROOM_LOOK_S: Final = 0.25
"""How soon a thread that waits for room sees that nobody will make any."""


class Inbox:
    """Made on the loop of the task."""

    def __init__(self, loop: asyncio.AbstractEventLoop, max_bytes: int) -> None:
        """max_bytes may be exceeded by one piece."""
        self._loop = loop
        self._max_bytes = max_bytes
        self._pieces: deque[bytes] = deque()
        self._put_bytes = 0
        """Written by the thread only, as _taken_bytes by the task only."""
        self._taken_bytes = 0
        self._is_wanted = False
        """The task waits, and must be woken: once, for a wake-up costs more than a piece."""
        self._is_over = False
        self._news: asyncio.Future[None] | None = None
        self._has_room = threading.Event()

    # -- in the thread

    def wait_for_room(self) -> bool:
        """False when there is none for a while."""
        if self._is_full:
            self._has_room.clear()
            if self._is_full:  # still: what was taken before the clear is seen here
                self._has_room.wait(ROOM_LOOK_S)
        return not self._is_full

    @property
    def _is_full(self) -> bool:
        return self._put_bytes - self._taken_bytes >= self._max_bytes

    def put(self, data: bytes) -> None:
        if not data:
            return
        self._put_bytes += len(data)
        self._pieces.append(data)
        if self._is_wanted:
            self._is_wanted = False
            with suppress(RuntimeError):  # the loop was closed: nobody takes any more
                self._loop.call_soon_threadsafe(self._tell)

    # -- on the loop

    def take(self, max_bytes: int) -> bytes:
        """What is there now; nothing when there is nothing."""
        taken: list[bytes] = []
        wanted_bytes = max_bytes
        while wanted_bytes and self._pieces:
            piece = self._pieces.popleft()
            if len(piece) > wanted_bytes:
                self._pieces.appendleft(piece[wanted_bytes:])
                piece = piece[:wanted_bytes]
            taken.append(piece)
            wanted_bytes -= len(piece)
        self._taken_bytes += max_bytes - wanted_bytes
        if taken and self._put_bytes - self._taken_bytes <= self._max_bytes // 2:
            self._has_room.set()
        return b"".join(taken)

    async def wait(self) -> None:
        """Until something was put since the last take found nothing, or end was called."""
        self._is_wanted = True
        try:
            if not self._pieces and not self._is_over:  # put before it was wanted, it is seen here
                self._news = self._loop.create_future()
                await self._news
        finally:
            self._is_wanted = False

    def end(self) -> None:
        """Nothing more will be waited for."""
        self._is_over = True
        self._tell()
        self._has_room.set()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

"""Received bytes on their way from a thread that reads to a task that receives: bounded, and without a lock on the event loop.

One thread puts, one task takes. A full inbox holds the thread up, and so the device.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from contextlib import suppress
from typing import Final

import anyio

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
        self._is_told = False
        self._has_news = anyio.Event()
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
        if not self._is_told:
            self._is_told = True
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
        self._has_news = anyio.Event()
        if self._pieces:
            return
        await self._has_news.wait()

    def end(self) -> None:
        """Nothing more will be waited for."""
        self._has_news.set()
        self._has_room.set()

    def _tell(self) -> None:
        self._is_told = False
        self._has_news.set()

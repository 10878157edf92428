"""A wake-up call between tasks that says only that something changed."""

from __future__ import annotations

import asyncio


class Bell:
    """Wakes the one task that waits for it, now or at its next wait; several rings are one.

    A wait that has been rung for returns without a turn of the loop.
    """

    def __init__(self) -> None:
        self._event = asyncio.Event()  # anyio's cannot be cleared, and a new one looks for its loop each time

    def ring(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()
        self._event.clear()

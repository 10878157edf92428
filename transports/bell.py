"""A wake-up call between tasks that says only that something changed."""

from __future__ import annotations

import anyio


class Bell:
    """Wakes the one task that waits for it, now or at its next wait; several rings are one."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def ring(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await self._event.wait()
        self._event = anyio.Event()

"""Who a link delivers to by a call, for tests of links that can do that."""

from __future__ import annotations

import anyio


class Taker:
    """Remembers what it was given; pause_s is what it answers."""

    def __init__(self, pause_s: float | None = 0.0) -> None:
        self.pause_s = pause_s
        self.taken: list[bytes] = []
        self._news = anyio.Event()

    def __call__(self, data: bytes) -> float | None:
        self.taken.append(data)
        self._news.set()
        return self.pause_s

    async def until(self, count: int) -> None:
        while len(self.taken) < count:
            self._news = anyio.Event()
            await self._news.wait()

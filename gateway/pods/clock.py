"""The two clocks of the pod controller, as something a test can turn by hand."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

import anyio


class Clock(Protocol):
    def now(self) -> float:
        """Seconds on the loop's clock: what every timer counts in."""
        ...

    def wall(self) -> float:
        """Unix seconds: only for what people read."""
        ...

    async def sleep_until(self, deadline: float) -> None:
        """Return when now() has reached deadline."""
        ...


class SystemClock:
    """The real ones. Use it inside a running event loop."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()  # anyio's own clock, without its search for the library that runs

    def wall(self) -> float:
        return time.time()

    async def sleep_until(self, deadline: float) -> None:
        await anyio.sleep_until(deadline)

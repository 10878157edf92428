"""An event loop whose clock jumps over what nobody does anything in: deadlines of minutes pass in milliseconds, in their order.

Threads and processes still need real time, so the clock jumps only after nothing happened for a moment.
"""

from __future__ import annotations

import asyncio
import os
import selectors
from typing import Any, ClassVar


class WarpedLoop(asyncio.SelectorEventLoop):
    """Use it by `anyio_backend`: ("asyncio", {"loop_factory": WarpedLoop})."""

    idle_s: ClassVar[float] = 0.03 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    """Longer than a commit of the ledger on a slow machine usually takes, and on a busy one."""

    def __init__(self) -> None:
        self.skipped_s = 0.0
        super().__init__(_Skipping(self))

    def time(self) -> float:
        return super().time() + self.skipped_s


class _Skipping(selectors.DefaultSelector):
    def __init__(self, loop: WarpedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, Any]]:
        if timeout is None or timeout <= self._loop.idle_s:
            return super().select(timeout)
        found: list[tuple[selectors.SelectorKey, Any]] = super().select(self._loop.idle_s)
        if not found:
            self._loop.skipped_s += timeout - self._loop.idle_s
        return found


class HastyLoop(WarpedLoop):
    """For what does not care how long a commit takes."""

    idle_s: ClassVar[float] = 0.003

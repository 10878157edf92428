"""An event loop whose clock jumps over what nobody does anything in: deadlines of minutes pass in milliseconds, in their order.

Threads still need real time, so the clock jumps only after nothing happened for IDLE_S.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any, Final

IDLE_S: Final = 0.01
"""Longer than a commit of the ledger on a slow machine usually takes."""


class WarpedLoop(asyncio.SelectorEventLoop):
    """Use it by `anyio_backend`: ("asyncio", {"loop_factory": WarpedLoop})."""

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
        if timeout is None or timeout <= IDLE_S:
            return super().select(timeout)
        found: list[tuple[selectors.SelectorKey, Any]] = super().select(IDLE_S)
        if not found:
            self._loop.skipped_s += timeout - IDLE_S
        return found

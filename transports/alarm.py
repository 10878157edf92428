"""A call at a time. Moving the time later, which is the rule, costs nothing: the timer finds it when it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """Calls back at the time that was set last. Use it on the event loop whose clock the times are of."""

    def __init__(self, came: Callable[[], None]) -> None:
        self._came = came
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def set(self, at: float | None) -> None:
        """None: not at all."""
        self._at = at
        if at is None or (self._timer is not None and self._timer.when() <= at):
            return
        self.cancel()
        self._at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._come)

    def cancel(self) -> None:
        self._at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _come(self) -> None:
        assert self._timer is not None
        came_at, self._timer = self._timer.when(), None
        if self._at is None:
            return
        if self._at > came_at:
            self.set(self._at)
        else:
            self._at = None
            self._came()

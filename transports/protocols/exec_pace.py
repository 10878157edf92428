"""How often a target is asked for more of its log: at once while it comes, seldom else, hardly ever while nothing runs. Pure."""

from __future__ import annotations

from typing import Final

QUICK_S: Final = 0.05
"""After something came: a line waits no longer than this for its way to a person."""
SLOW_S: Final = 0.4
"""While jobs run and say nothing: two small processes on the target each time."""
IDLE_S: Final = 5.0
"""While nothing runs."""
GROWTH: Final = 1.5
FULL_BYTES: Final = 65536
"""So much at a time means that there is more."""
CHECK_S: Final = 10.0
"""How often it is looked at whether what watches a job there is still alive."""


class Pace:
    """at: when to ask next; None before the list."""

    def __init__(self) -> None:
        self.at: float | None = None
        self._delay_s = QUICK_S
        self._check_at = 0.0

    def begin(self, now: float) -> None:
        self._delay_s = QUICK_S
        self.at = now
        self._check_at = now + CHECK_S

    def hurry(self, now: float) -> None:
        """A run was started or stopped: something will come soon."""
        self._delay_s = QUICK_S
        self.at = now if self.at is None else min(self.at, now + QUICK_S)

    def heard(self, size_bytes: int, has_live: bool, now: float) -> None:
        if size_bytes >= FULL_BYTES:
            self._delay_s = 0.0
        elif size_bytes:
            self._delay_s = QUICK_S
        else:
            self._delay_s = min(max(self._delay_s, QUICK_S) * GROWTH, SLOW_S if has_live else IDLE_S)
        self.at = now + self._delay_s

    def is_check_due(self, now: float) -> bool:
        return now >= self._check_at

    def checked(self, now: float) -> None:
        self._check_at = now + CHECK_S

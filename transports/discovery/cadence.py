"""How often to look for ports that no event told of. Pure.

As long as events come, a look every half minute is a second pair of eyes. In a container without the host's network, or without udevd,
there are none: that shows when a look finds what nobody told, and then looking is all there is.
"""

from __future__ import annotations

from typing import Final

RECONCILE_S: Final = 30.0
"""Between two looks while events come: what was lost in spite of all is found within it."""
POLL_S: Final = 2.0
"""Between two looks without events: 1 ms of work each."""


class Cadence:
    """Of one monitor."""

    def __init__(self, *, has_events: bool, reconcile_s: float = RECONCILE_S) -> None:
        """has_events: somebody is there who could send them."""
        self._reconcile_s = reconcile_s
        self.is_deaf = not has_events
        self._has_suspicion = False

    @property
    def interval_s(self) -> float:
        """Until the next look, if no event comes before."""
        return POLL_S if self.is_deaf or self._has_suspicion else self._reconcile_s

    def told(self) -> None:
        """An event came."""
        self.is_deaf = self._has_suspicion = False

    def looked(self, *, found_news: bool) -> bool:
        """A look is over; found_news: ports that came or went untold. True when it is clear now that events do not come.

        The event of what was just found may be on its way: only when the next look comes before it, there is none.
        """
        if self.is_deaf:
            return False
        if self._has_suspicion:
            self._has_suspicion, self.is_deaf = False, True
            return True
        self._has_suspicion = found_news
        return False

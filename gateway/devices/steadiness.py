"""Whether a device restarts, or loses its session, again and again. Pure: `now` is passed in.

Five times a second is what a broken power supply or a crashing firmware makes. Each restart by itself is told as it happens; a loop is told
once when it begins and once when it has ended, so that it fills neither the gateway's log nor the cluster's database.
"""

from __future__ import annotations

from collections import deque
from typing import Final

LOOP: Final = 5
"""So many sessions that begin anew within WINDOW_S are a loop. A person with a reset button or a loose plug makes fewer."""
WINDOW_S: Final = 10.0
QUIET_S: Final = 20.0
"""A loop has ended when no session began anew for so long: longer than the slowest one that counts as a loop, so that it ends once."""


class Steadiness:
    """Of one device."""

    def __init__(self) -> None:
        self._newest: deque[float] = deque(maxlen=LOOP)
        self.restarts = 0
        """Since the loop began; 0 when there is none."""

    @property
    def is_looping(self) -> bool:
        return self.restarts > 0

    @property
    def quiet_at(self) -> float:
        """When the loop will have ended if nothing happens before."""
        return self._newest[-1] + QUIET_S if self._newest else 0.0

    def restarted(self, now: float) -> bool:
        """A session began that was not the first. True when a loop begins with it."""
        self._newest.append(now)
        if self.restarts:
            self.restarts += 1
            return False
        if len(self._newest) == LOOP and now - self._newest[0] <= WINDOW_S:
            self.restarts = LOOP
            return True
        return False

    def settle(self, now: float) -> int:
        """The restarts of a loop that has ended now, which is forgotten; 0 if there is none or it goes on."""
        if not self.restarts or now < self.quiet_at:
            return 0
        ended, self.restarts = self.restarts, 0
        self._newest.clear()
        return ended

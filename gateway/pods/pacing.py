"""How fast pods may become Failed: a rejected pod of a ReplicaSet is replaced at once, and the replacement is rejected too.

One replica made 201 pod objects in 20 s. So a rejection is published after a delay that grows with every rejection for one owner. Pure.
"""

from __future__ import annotations

from typing import Final

FIRST_DELAY_S: Final = 1.0
DELAY_FACTOR: Final = 10.0
"""1 s, 10 s, 60 s: an owner has at most three pods here after half a minute."""
MAX_DELAY_S: Final = 60.0
FORGET_AFTER_S: Final = 10 * 60.0
"""An owner without a rejection for so long starts anew."""
MAX_OWNERS: Final = 1024
"""The oldest are forgotten; a cluster with more rejected owners on one node has other worries."""


class RejectionPacer:
    """Owner uid -> delay before its next rejected pod becomes Failed. A pod without an owner is not replaced: no delay."""

    def __init__(self) -> None:
        self._owners: dict[str, tuple[float, float]] = {}

    def delay_s(self, owner: str | None, now: float) -> float:
        """The delay for one more rejection, which is counted."""
        if owner is None:
            return 0.0
        last_at, delay_s = self._owners.pop(owner, (now, 0.0))
        if now - last_at > FORGET_AFTER_S:
            delay_s = 0.0
        delay_s = min(MAX_DELAY_S, delay_s * DELAY_FACTOR) or FIRST_DELAY_S
        self._owners[owner] = (now, delay_s)
        if len(self._owners) > MAX_OWNERS:
            del self._owners[next(iter(self._owners))]
        return delay_s

"""Exponential back-off with jitter: how long to wait before the next attempt. Pure; the random numbers come from the caller."""

from __future__ import annotations

import random
from typing import Final

FIRST_DELAY_S: Final = 0.1
"""A replug is noticed within this time when no event tells of it."""
MAX_DELAY_S: Final = 5.0
"""A port that stays broken costs one attempt in this time."""
GROWTH: Final = 2.0


class Backoff:
    """Delays that double from first_s to max_s, each drawn from the upper half of its step so that many devices do not march in time."""

    def __init__(self, rng: random.Random, *, first_s: float = FIRST_DELAY_S, max_s: float = MAX_DELAY_S) -> None:
        if not 0 < first_s <= max_s:
            raise ValueError(f"first_s {first_s:g} must be above 0 and at most max_s {max_s:g}")
        self._rng = rng
        self._first_s = first_s
        self._max_s = max_s
        self._step_s = first_s

    def next_delay_s(self) -> float:
        """The delay before the next attempt; the one after it will be longer."""
        step_s = self._step_s
        self._step_s = min(step_s * GROWTH, self._max_s)
        return step_s * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """The attempt worked, or the reason for the delays is gone."""
        self._step_s = self._first_s

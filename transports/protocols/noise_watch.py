"""When line noise is worth telling a person: many broken segments in a short time, said once in a while."""

from __future__ import annotations

from typing import Final

WINDOW_S: Final = 10.0
MIN_BAD: Final = 16
"""Fewer broken segments in a window are the price of a cable."""
MIN_SHARE: Final = 0.05
"""And so are fewer than this part of all frames."""
REPEAT_S: Final = 60.0


class NoiseWatch:
    """look() after every read; it returns the sentence to tell, or None."""

    def __init__(self) -> None:
        self._since = float("-inf")
        self._bad = self._good = 0
        self._told_at = float("-inf")

    def look(self, rx_bad: int, rx_frames: int, now: float) -> str | None:
        if now - self._since > WINDOW_S:
            self._since, self._bad, self._good = now, rx_bad, rx_frames
            return None
        bad, good = rx_bad - self._bad, rx_frames - self._good
        if bad < MIN_BAD or bad < MIN_SHARE * (bad + good) or now - self._told_at < REPEAT_S:
            return None
        self._told_at = now
        return f"{bad} broken and {good} good frames within {WINDOW_S:g} s: wrong speed, a bad cable, or another protocol"

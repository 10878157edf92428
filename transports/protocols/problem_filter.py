"""Say a thing once: what a broken device repeats with every frame is told to people once a minute."""

from __future__ import annotations

from typing import Final

REPEAT_S: Final = 60.0
MAX_KEYS: Final = 64
"""Different problems remembered at a time; beyond that the oldest may be told again sooner."""


class ProblemFilter:
    """is_news() for each problem, under the key that makes two problems the same."""

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}

    def is_news(self, key: str, now: float) -> bool:
        told_at = self._told_at.get(key)
        if told_at is not None and now < told_at + REPEAT_S:
            return False
        self._told_at.pop(key, None)
        if len(self._told_at) >= MAX_KEYS:
            del self._told_at[next(iter(self._told_at))]
        self._told_at[key] = now
        return True

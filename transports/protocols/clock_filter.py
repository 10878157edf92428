"""Which of the last moments at which a device told its uptime says most about its clock: the one that was delayed least."""

from __future__ import annotations

from collections import deque
from typing import Final

from transports.protocol import ClockSample
from transports.wire.offsets import distance

SAMPLES: Final = 16
"""Crystals drift by 50 ppm: sixteen keepalives keep that below a millisecond."""


class ClockFilter:
    """add() for every uptime that was told; best() for translating LOG times."""

    def __init__(self) -> None:
        self._samples: deque[ClockSample] = deque(maxlen=SAMPLES)
        self._best: ClockSample | None = None

    def clear(self) -> None:
        """The clock began anew: another boot."""
        self._samples.clear()
        self._best = None

    def add(self, uptime_ms: int, now: float) -> None:
        """Delay only makes uptime look smaller than it is, so the largest uptime for its moment wins."""
        leaves = self._samples[0] if len(self._samples) == SAMPLES else None
        newest = ClockSample(uptime_ms, now)
        self._samples.append(newest)
        if self._best is None or _delay_s(newest, self._best) <= 0:
            self._best = newest
        elif self._best is leaves:
            self._best = min(self._samples, key=lambda sample: _delay_s(sample, newest))

    def best(self, now: float) -> ClockSample:
        return self._best or ClockSample(0, now)


def _delay_s(sample: ClockSample, other: ClockSample) -> float:
    """How much longer it was on its way than the other."""
    return sample.now - other.now - distance(sample.uptime_ms, other.uptime_ms) / 1000

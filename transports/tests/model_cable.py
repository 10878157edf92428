"""A cable with faults for the model: FIFO and paced, it may lose, double, flip, swallow and stall, and be cut anywhere.

Every fault is decided by one seeded generator, so a schedule is repeated exactly.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass

BYTES_PER_S = 92_160.0
LATENCY_S = 0.002


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities per chunk (about one frame)."""

    lose: float = 0.0
    double: float = 0.0
    flip: float = 0.0
    swallow: float = 0.0
    """A run of bytes within the chunk disappears."""


CLEAN = Faults()


class Direction:
    """One wire of the cable."""

    def __init__(self, rng: random.Random) -> None:
        self.faults = CLEAN
        self.free_at = 0.0
        """When the sender may write again."""
        self.stalled_until = 0.0
        self._rng = rng
        self._queue: deque[tuple[float, bytes]] = deque()
        self._last = b""

    def send(self, data: bytes, now: float) -> None:
        self.free_at = now + len(data) / BYTES_PER_S
        for chunk in self._damaged(data):
            self._queue.append((self.free_at + LATENCY_S, chunk))

    def _damaged(self, data: bytes) -> list[bytes]:
        rng, faults = self._rng, self.faults
        if faults is CLEAN:
            return [data]
        if rng.random() < faults.lose:
            return []
        if rng.random() < faults.flip:
            at = rng.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        if rng.random() < faults.swallow:
            at = rng.randrange(len(data))
            data = data[:at] + data[at + rng.randint(1, 40) :]
        chunks = [data]
        if rng.random() < faults.double:
            chunks.append(self._last if rng.random() < 0.3 else data)
        self._last = data
        if len(data) > 2 and rng.random() < 0.2:
            at = rng.randrange(1, len(data))
            chunks[0:1] = [data[:at], data[at:]]
        return chunks

    def next_arrival(self) -> float | None:
        return max(self._queue[0][0], self.stalled_until) if self._queue else None

    def receive(self, now: float) -> bytes:
        """Everything that has arrived, as one read."""
        out = b""
        if now < self.stalled_until:
            return out
        while self._queue and self._queue[0][0] <= now:
            out += self._queue.popleft()[1]
        return out

    def cut(self) -> None:
        self._queue.clear()

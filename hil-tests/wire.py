"""One direction of a bad serial cable, pure: bytes and `now` go in, the bytes that have arrived come out.

It paces as a UART does, keeps the order, and spoils bytes by rates drawn from a seed: the same seed and the same bytes give the same
damage however they were cut.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Final

SLICE_S: Final = 0.005
"""How far ahead of the line bytes are taken from the sender; the rest waits in the sender's buffer, as it would for a UART."""
UNPACED_SLICE_BYTES: Final = 65536
MAX_UNDER_WAY_BYTES: Final = 1 << 20
"""With a long latency and no pacing, this much is on the wire at most."""


@dataclass(frozen=True, slots=True)
class Line:
    """What the line does to bytes. Rates are per byte, from 0 to 1."""

    baud: int = 0
    """0 is as fast as it goes."""
    bits_per_byte: int = 10
    """8N1."""
    flip: float = 0.0
    """One bit of the byte is inverted."""
    lose: float = 0.0
    double: float = 0.0
    noise: float = 0.0
    """A random byte comes in front of it."""
    latency_s: float = 0.0
    """For example 0.016, an FTDI adapter's latency timer."""
    chunk_bytes: int = 0
    """At most so many arrive together; 0 is as they come."""
    overrun: bool = False
    """What the receiver does not take in time is lost, as in a UART; else the sender waits."""
    cut: bool = False
    """A broken conductor: everything is lost."""

    @property
    def spoils(self) -> bool:
        return bool(self.flip or self.lose or self.double or self.noise)


@dataclass(slots=True)
class Counts:
    """What happened to bytes; sent = delivered + lost + cut + overrun + unplugged - doubled - noise, once nothing is under way."""

    sent: int = 0
    delivered: int = 0
    flipped: int = 0
    lost: int = 0
    doubled: int = 0
    noise: int = 0
    cut: int = 0
    overrun: int = 0
    unplugged: int = 0
    """Arrived where nothing was plugged in."""


class Wire:
    """Bytes on their way in one direction. `line` may be replaced at any time; what is under way keeps its arrival."""

    def __init__(self, line: Line, rng: random.Random) -> None:
        self.line = line
        self.counts = Counts()
        self._rng = rng
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._under_way_bytes = 0
        self._free_at = 0.0

    def room_bytes(self, now: float) -> int:
        """How much may be sent now; 0 while the line is busy."""
        if self._under_way_bytes >= MAX_UNDER_WAY_BYTES:
            return 0
        if not self.line.baud:
            return UNPACED_SLICE_BYTES
        ahead_s = max(self._free_at - now, 0.0)
        return 0 if ahead_s >= SLICE_S else max(1, int((SLICE_S - ahead_s) / self._byte_s))

    def send(self, data: bytes, now: float, *, is_backlog: bool) -> None:
        """Put data on the line. is_backlog: it waited for the line, so that the line was never idle and a late call is made good."""
        self.counts.sent += len(data)
        free_at = self._free_at if is_backlog else max(self._free_at, now)
        self._free_at = free_at + len(data) * self._byte_s
        damaged = self._spoil(data)
        if damaged:
            self._under_way.append((self._free_at + self.line.latency_s, damaged))
            self._under_way_bytes += len(damaged)

    def arrived(self, now: float) -> bytes:
        """What has come out of the line by now, at most one chunk; call again until it is empty."""
        limit = self.line.chunk_bytes or UNPACED_SLICE_BYTES
        out = bytearray()
        while self._under_way and self._under_way[0][0] <= now and len(out) < limit:
            due, data = self._under_way.popleft()
            room = limit - len(out)
            if len(data) > room:
                self._under_way.appendleft((due, data[room:]))
            out += data[:room]
        self._under_way_bytes -= len(out)
        return bytes(out)

    def next_change(self, now: float) -> float | None:
        """When to look again: something arrives, or there is room again. None if only new bytes can change anything."""
        times = [self._under_way[0][0]] if self._under_way else []
        if self.line.baud and self._free_at - now >= SLICE_S:
            times.append(self._free_at - SLICE_S / 2)
        return min(times, default=None)

    @property
    def _byte_s(self) -> float:
        return self.line.bits_per_byte / self.line.baud if self.line.baud else 0.0

    def _spoil(self, data: bytes) -> bytes:
        line, counts, draw = self.line, self.counts, self._rng.random
        if line.cut:
            counts.cut += len(data)
            return b""
        if not line.spoils:
            return data
        out = bytearray()
        for byte in data:
            if draw() < line.noise:
                counts.noise += 1
                out.append(self._rng.randrange(256))
            if draw() < line.lose:
                counts.lost += 1
                continue
            flips = draw() < line.flip
            counts.flipped += flips
            out.append(byte ^ (1 << self._rng.randrange(8)) if flips else byte)
            if draw() < line.double:
                counts.doubled += 1
                out.append(out[-1])
        return bytes(out)

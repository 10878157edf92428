"""Reading a log as the kubelet does: the last lines first, then what is young enough, then at most so many bytes.

Any number of readers share a ring; each has its own place and waits for the ring's next change, never by polling. A reader that the
ring has overtaken is told by a gap line how much it missed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import anyio
import anyio.lowlevel

from gateway.logs.clock import Clock
from gateway.logs.render import Renderer
from gateway.logs.ring import Cursor, Ring
from gateway.logs.store import Log, LogKey, LogStore
from gateway.logs.tail import last_lines

PIECE_BYTES: Final = 64 * 1024
"""What one piece holds at most, about; small pieces cost the server more than they help."""

PARTIAL_FLUSH_S: Final = 0.2
"""How long a follower waits for the rest of a line before it sees the piece: a prompt must show, a slow line should stay whole."""

_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class LogOptions:
    """PodLogOptions, validated. previous is for whoever chooses the attempt; read() does not look at it."""

    follow: bool = False
    previous: bool = False
    tail_lines: int | None = None
    since_seconds: int | None = None
    since_time: datetime | None = None
    """With a time zone. If both are given the later one wins."""
    timestamps: bool = False
    limit_bytes: int | None = None


async def read(store: LogStore, key: LogKey, options: LogOptions, *, clock: Clock) -> AsyncIterator[bytes]:
    """The log in pieces of bytes, never empty ones. With follow it ends when the attempt is closed or released.

    A log that nobody wrote to is empty; a follower waits for it.
    """
    log = store.log(key) if options.follow else store.find(key)
    if log is None:
        return
    room = options.limit_bytes
    reading = _Reading(log, options, clock)
    while True:
        piece = reading.next_piece()
        if piece is None:
            if log.closed or not options.follow:
                if last := reading.end()[:room]:
                    yield last
                return
            piece = await reading.more()
        if room is not None:
            piece, room = piece[:room], room - len(piece)
        if piece:
            yield piece
        if room is not None and room <= 0:
            return
        # A consumer that never waits must not keep the loop.
        await anyio.lowlevel.checkpoint()


class _Reading:
    """One reader's place in one log. Synchronous but for more()."""

    def __init__(self, log: Log, options: LogOptions, clock: Clock) -> None:
        self._log = log
        self._options = options
        self._clock = clock
        self._cursor: Cursor | None = None
        self._stop_seq: int | None = None
        """Where a reader that does not follow ends, however fast the log grows."""
        self._renderer = Renderer(timestamps=options.timestamps, offset_ns=clock.offset_ns(), since_ns=_since_ns(options, clock))

    def next_piece(self) -> bytes | None:
        """What is there, perhaps nothing to show; None when all was read."""
        ring = self._log.ring
        if ring is None:
            return None
        if self._cursor is None:
            return self._begin(ring)
        if (gap := ring.overtaken(self._cursor)) is not None:
            return self._renderer.gap(gap)
        if self._cursor.seq >= (ring.next_seq if self._stop_seq is None else self._stop_seq):
            return None
        return self._renderer.render(ring.read(self._cursor, PIECE_BYTES))

    def _begin(self, ring: Ring) -> bytes:
        """Find the place; what the ring dropped before counts as one line at its begin."""
        lost = ring.lost_before_oldest()
        tail_lines = self._options.tail_lines
        if tail_lines is None:
            self._cursor = ring.oldest()
        else:
            tail = last_lines(ring, tail_lines)
            self._cursor = tail.cursor
            self._renderer.skipped.update(tail.unfinished)
            if tail.lines == tail_lines:
                lost = None
        if not self._options.follow:
            self._stop_seq = ring.next_seq
        return self._renderer.gap(lost) if lost is not None else b""

    async def more(self) -> bytes:
        """Wait for a change of the log. Return what was kept for the rest of a line, if that did not come in time, else nothing."""
        wait_s = PARTIAL_FLUSH_S if self._renderer.has_unfinished else None
        with anyio.move_on_after(wait_s) as scope:
            await self._log.changed()
        self._renderer.offset_ns = self._clock.offset_ns()
        return self._renderer.flush() if scope.cancelled_caught else b""

    def end(self) -> bytes:
        """The last words: the unfinished line, or what became of a log that was given up."""
        lost = self._log.lost
        if self._log.ring is not None or lost is None or self._options.tail_lines == 0:
            return self._renderer.flush()
        if self._cursor is None:
            return self._renderer.gap(lost)
        records = (lost.records or 0) - self._cursor.seq
        size = (lost.size_bytes or 0) - self._cursor.size_bytes
        if records <= 0:
            return self._renderer.flush()
        return self._renderer.gap(lost._replace(records=records, size_bytes=size, from_ns=self._cursor.stamp_ns))


def _since_ns(options: LogOptions, clock: Clock) -> int | None:
    """The bound on the boot clock."""
    bounds: list[int] = []
    if options.since_seconds is not None:
        bounds.append(clock.boot_ns() - options.since_seconds * _NS)
    if options.since_time is not None:
        whole = options.since_time.replace(microsecond=0)
        bounds.append(int(whole.timestamp()) * _NS + options.since_time.microsecond * 1000 - clock.offset_ns())
    return max(bounds, default=None)

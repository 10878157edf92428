"""What goes wrong on the line of one device, over all its links: the sums for a metric, and the conclusions that help a person.

The driver's counters are read while nothing was good yet, when a broken frame says that there is something to read, when somebody asks,
and when a link ends: what it counted between the last of these and an unplug is not known.
"""

from __future__ import annotations

from typing import Final

from transports.baud_watch import BaudWatch
from transports.link import CountingLink, LineErrors
from transports.protocol import BAUD_MISMATCH, GARBAGE, OUTPUT_HELD, Counters, Problem

HELD_S: Final = 5.0
"""The slowest line has long taken a frame."""


class LineWatch:
    """opened() and closed() for each link, sending() and sent() around each send, look() after each read."""

    def __init__(self) -> None:
        self._ended: LineErrors | None = None
        """Of the links before this one."""
        self._link: CountingLink | None = None
        """The open one, if it counts."""
        self._baud = BaudWatch(0.0, 0)
        self._good_frames = self._bad_frames = 0
        self._sending_since: float | None = None
        self._told_held = False

    @property
    def errors(self) -> LineErrors | None:
        """Of all links so far; None while none of them counted."""
        now = self._link.line_errors() if self._link is not None else None
        return now if self._ended is None else self._ended.plus(now or LineErrors())

    def knows_better(self, problem: Problem) -> bool:
        """It is the consequence of a wrong speed, which was told."""
        return problem.reason == GARBAGE and self._link is not None and self._baud.has_told

    def opened(self, link: object, counters: Counters, now: float) -> None:
        self._link = link if isinstance(link, CountingLink) and link.line_errors() is not None else None
        self._baud = BaudWatch(now, counters.rx_frames)
        self._good_frames, self._bad_frames = counters.rx_frames, counters.rx_bad
        self._sending_since, self._told_held = None, False

    def sending(self, now: float) -> None:
        self._sending_since = now

    def sent(self) -> None:
        self._sending_since, self._told_held = None, False

    @property
    def is_watching(self) -> bool:
        """There is something to look at: a link that counts, or a send that is not over."""
        return self._link is not None or self._sending_since is not None

    def look(self, read_bytes: int, counters: Counters, now: float) -> Problem | None:
        """What to tell; nothing twice for the same reason."""
        if self._sending_since is not None and now - self._sending_since >= HELD_S and not self._told_held:
            self._told_held = True
            why = "flow control (CTS) holds it back, or the port is stuck"
            return Problem(OUTPUT_HELD, f"nothing that was sent is taken for {HELD_S:g} s, and the device talks: {why}")
        return self._look_at_counters(read_bytes, counters, now) if self._link is not None else None

    def closed(self) -> None:
        """Before the link is closed."""
        self._ended, self._link = self.errors, None

    def _look_at_counters(self, read_bytes: int, counters: Counters, now: float) -> Problem | None:
        assert self._link is not None
        is_worth_reading = counters.rx_bad != self._bad_frames or counters.rx_frames == self._good_frames
        self._bad_frames = counters.rx_bad
        errors = self._link.line_errors() if is_worth_reading else None
        told = self._baud.look(read_bytes, counters.rx_frames, errors, now)
        return Problem(BAUD_MISMATCH, told) if told is not None else None

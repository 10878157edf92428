"""The two clocks of a log: entries are stamped by the boot clock and shown in wall time, translated when they are read.

A Raspberry Pi has no clock chip: wall time jumps by years when NTP answers. The boot clock never jumps and goes on in suspend.
"""

from __future__ import annotations

import time
from typing import Final, Protocol

STEADY_NS: Final = 100_000_000
"""So far wall time may drift before stamps are translated anew. Every look at the two clocks differs by microseconds, and a line must have
the same stamp whenever it is read: collectors resume at the last one they have seen."""


class Clock(Protocol):
    """Nanoseconds now; a test passes its own."""

    def boot_ns(self) -> int: ...

    def offset_ns(self) -> int:
        """Wall time, since the Unix epoch, minus boot clock."""
        ...


class SystemClock:
    """The clocks of this host. One object for all who show stamps, so that they agree."""

    def __init__(self) -> None:
        self._offset_ns = _offset_now_ns()

    def boot_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def offset_ns(self) -> int:
        now = _offset_now_ns()
        if abs(now - self._offset_ns) > STEADY_NS:
            self._offset_ns = now
        return self._offset_ns


def _offset_now_ns() -> int:
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

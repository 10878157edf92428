"""The two clocks of a log: entries are stamped by the boot clock and shown in wall time, translated when they are read.

A Raspberry Pi has no clock chip: wall time jumps by years when NTP answers. The boot clock never jumps and goes on in suspend.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Nanoseconds now; a test passes its own."""

    def boot_ns(self) -> int: ...

    def wall_ns(self) -> int:
        """Since the Unix epoch."""
        ...


class SystemClock:
    """The clocks of this host."""

    def boot_ns(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def wall_ns(self) -> int:
        return time.time_ns()

"""Whether the machine knows what time it is: a Raspberry Pi without a battery begins in the past. Certificates and logs go by the clock."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator
from typing import Final

from gateway.doctor.finding import Finding

MADE_AT: Final = 1767225600.0
"""2026-01-01: this version is younger."""
_NTP: Final = "as root: timedatectl set-ntp true"
_TIMEX_BYTES: Final = 512
"""More than struct timex of any machine."""
_TIME_ERROR: Final = 5
"""What adjtimex(2) answers while no NTP client has told the kernel that the clock is right."""


def of_clock(now: float, is_synchronised: bool | None) -> Iterator[Finding]:
    """now in Unix time; is_synchronised as by is_synchronised()."""
    if now < MADE_AT:
        shown = time.strftime("%Y-%m-%d %H:%M", time.gmtime(now))
        problem = f"it says {shown}, when this Wirelet was not made yet: no certificate is valid then"
        yield Finding("clock", problem, f"{_NTP}; or set it: date -s 'YYYY-MM-DD hh:mm'", reason="ClockNotSet")
    elif is_synchronised is False:
        yield Finding("clock", "no NTP client keeps it right, as the kernel knows", _NTP, is_note=True, reason="ClockNotSynchronised")


def is_synchronised() -> bool | None:
    """By the kernel, whichever client there is; None where it does not tell."""
    try:
        answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))  # all zero asks and changes nothing
    except (OSError, AttributeError):
        return None
    return None if answer < 0 else answer != _TIME_ERROR

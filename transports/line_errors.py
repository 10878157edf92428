"""What the UART saw go wrong, as the driver counts it (TIOCGICOUNT): the difference between a bad cable, a wrong baud rate and lost bytes.

The driver counts from the plug on and for everybody; a link tells what came while it was open.
"""

from __future__ import annotations

import fcntl
import struct
from typing import Final

from transports.link import LineErrors

_TIOCGICOUNT: Final = 0x545D
# Linux: struct serial_icounter_struct {int cts, dsr, rng, dcd, rx, tx, frame, overrun, parity, brk, buf_overrun, reserved[9]}
_COUNTERS: Final = struct.Struct("=16x8x5I36x")


def read_line_errors(fd: int) -> LineErrors | None:
    """Since the plug; None when the driver does not count, or the port is gone. Never blocks: the driver copies its counters."""
    try:
        return decode(fcntl.ioctl(fd, _TIOCGICOUNT, bytes(_COUNTERS.size)))
    except OSError:
        return None


def decode(counters: bytes) -> LineErrors:
    framing, overrun, parity, breaks, buffer_overrun = _COUNTERS.unpack(counters)
    return LineErrors(framing, parity, overrun, buffer_overrun, breaks)

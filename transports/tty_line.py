"""The parts of a tty that pyserial leaves alone: the rest of its line settings, and what the system's refusals mean.

Line settings go by termios2, which knows every baud rate; the older calls refuse a line that runs at a custom one.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import termios
from typing import Final

from transports.baud import check_achieved
from transports.errors import LinkBusy, LinkError, LinkNotFound, LinkPermissionDenied
from transports.modem_lines import with_lines
from transports.permission import who_may

# Linux: struct termios2 {u32 iflag, oflag, cflag, lflag; u8 line, cc[19]; u32 ispeed, ospeed}
_TCGETS2: Final = 0x802C542A
_TCSETS2: Final = 0x402C542B
_TERMIOS2: Final = struct.Struct("=4I20s2I")
_CC_OF_LINE: Final = 1
"""cc follows the line discipline's byte."""
_PTY_SLAVE_MAJORS: Final = range(136, 144)
_OFF_IN_IFLAG: Final = termios.BRKINT | termios.IGNBRK | termios.PARMRK | termios.INPCK | termios.ISTRIP
_XON, _XOFF = 0x11, 0x13

_MODEM_BITS: Final = struct.Struct("=i")
_HAS_NO_LINES: Final = frozenset({errno.ENOTTY, errno.EINVAL})
"""A pty, a driver without them."""

_BUSY: Final = frozenset({errno.EBUSY, errno.EAGAIN})
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM})
_NO_TTY: Final = frozenset({errno.ENOTTY, errno.EISDIR})
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO, errno.EIO})
_HUNG_UP: Final = frozenset({errno.EIO, errno.ENODEV, errno.ENXIO})


def settle_line(fd: int, path: str, baud: int, *, is_rtscts: bool = False) -> None:
    """Keep others out, leave the modem lines alone at close, pass every byte.

    Raises LinkError when the line runs at another rate, or without the flow control that was asked for.
    """
    if os.major(os.fstat(fd).st_rdev) not in _PTY_SLAVE_MAJORS:
        # On a pty the mark would outlive a killed gateway for as long as the other end keeps the slave open.
        fcntl.ioctl(fd, termios.TIOCEXCL)
    iflag, oflag, cflag, lflag, line_and_cc, ispeed, ospeed = _TERMIOS2.unpack(fcntl.ioctl(fd, _TCGETS2, bytes(_TERMIOS2.size)))
    iflag &= ~_OFF_IN_IFLAG
    cflag &= ~termios.HUPCL  # a restart of the gateway must not reset the boards
    settled = bytearray(line_and_cc)
    settled[_CC_OF_LINE + termios.VSTART] = _XON
    settled[_CC_OF_LINE + termios.VSTOP] = _XOFF
    fcntl.ioctl(fd, _TCSETS2, _TERMIOS2.pack(iflag, oflag, cflag, lflag, bytes(settled), ispeed, ospeed))
    _, _, cflag, *_, achieved = _TERMIOS2.unpack(fcntl.ioctl(fd, _TCGETS2, bytes(_TERMIOS2.size)))
    check_achieved(path, baud, achieved)
    if is_rtscts and not cflag & termios.CRTSCTS:
        raise LinkError(f"{path}: the port has no RTS/CTS; leave flowControl out")


def set_lines(fd: int, lines: int) -> bool:
    """DTR and RTS in one request, the driver's other bits as they are; False on a port that has no such lines. May block."""
    try:
        (now,) = _MODEM_BITS.unpack(fcntl.ioctl(fd, termios.TIOCMGET, bytes(_MODEM_BITS.size)))
        fcntl.ioctl(fd, termios.TIOCMSET, _MODEM_BITS.pack(with_lines(now, lines)))
    except OSError as error:
        if error.errno in _HAS_NO_LINES:
            return False
        raise
    return True


def open_error(path: str, error: OSError) -> LinkError:
    """Why a port could not be opened, with what would help. May ask the file system; not for the event loop."""
    number = _errno_of(error)
    if number in _BUSY:
        return LinkBusy(f"{path}: another process holds the port")
    if number in _FORBIDDEN:
        return LinkPermissionDenied(f"{path}: no permission to open the port{who_may(path)}")
    if number in _NO_TTY:
        return LinkNotFound(f"{path}: not a serial port")
    if number in _ABSENT:
        return LinkNotFound(f"{path}: no such port")
    return LinkError(f"{path}: {error}")


def reason_of_loss(error: OSError) -> str:
    """Why reading or writing an open port failed."""
    return "hung up" if error.errno in _HUNG_UP or error.errno is None else os.strerror(error.errno)


def _errno_of(error: OSError) -> int | None:
    # pyserial drops the number when tcgetattr fails
    if error.errno is None and isinstance(error.__context__, termios.error):
        return int(error.__context__.args[0])
    return error.errno

"""Whether an open port's driver keeps bytes for itself. Blocks; opens a port only where it is open already: that moves no modem line."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

OWN_FILES: Final = Path("/proc/self/fd")
OPENING_S: Final = 0.1
"""A tty that was never used has it on, until who opens it has set it up a moment later."""
_TERMIOS_BYTES: Final = 60
"""More than the kernel's struct termios; the input flags come first."""


def takes_xon_xoff(node: str, pid: int) -> bool:
    """XON/XOFF is on, in one direction or both, on what process pid has open. False when that is not known."""
    if not _is_on(node, pid):
        return False
    time.sleep(OPENING_S)
    return _is_on(node, pid)


def _is_on(node: str, pid: int) -> bool:
    try:
        number = os.stat(node).st_rdev
        flags = _own_flags(number) if pid == os.getpid() else _flags_of(node)
    except OSError:  # a gateway keeps others out of its ports, except root
        return False
    return bool(flags & (termios.IXON | termios.IXOFF))


def _flags_of(node: str) -> int:
    descriptor = os.open(node, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return _flags(descriptor)
    finally:
        os.close(descriptor)


def _own_flags(number: int) -> int:
    """By the descriptor that this process has of it, if any: opened again it would be busy, or closed by then."""
    for file in OWN_FILES.iterdir():
        descriptor = int(file.name)
        with suppress(OSError):
            if os.fstat(descriptor).st_rdev == number:
                flags = _flags(descriptor)
                if os.fstat(descriptor).st_rdev == number:  # another thread may have closed it, and opened something else
                    return flags
    return 0


def _flags(descriptor: int) -> int:
    """The kernel's own call, which knows every line; tcgetattr may refuse one with a rate of its own."""
    (flags,) = struct.unpack_from("=I", fcntl.ioctl(descriptor, termios.TCGETS, bytes(_TERMIOS_BYTES)))
    return int(flags)

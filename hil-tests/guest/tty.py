"""A port of the guest as a test holds it, with no library between: what is seen is the driver."""

from __future__ import annotations

import array
import fcntl
import os
import select
import struct
import termios
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

READ_BYTES: Final = 65536
READ_TIMEOUT_S: Final = 20.0
POLL_S: Final = 0.01
INPUTS: Final = termios.TIOCM_CTS | termios.TIOCM_DSR | termios.TIOCM_RI | termios.TIOCM_CD
TIOCGICOUNT: Final = 0x545D
TIOCSBRK: Final = 0x5427
TIOCCBRK: Final = 0x5428
_SERIAL_ICOUNTER: Final = 20
"""Integers in struct serial_icounter_struct: cts dsr rng dcd rx tx frame overrun parity brk buf_overrun, and reserve."""


@dataclass(frozen=True, slots=True)
class LineErrors:
    """What the driver has counted since the adapter came."""

    frame: int
    overrun: int
    parity: int
    brk: int


class Tty:
    """One open port, raw; opened as `open` does it, with the modem lines raised by the kernel."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._fd, termios.TCSANOW)

    def write(self, data: bytes) -> None:
        """Into the driver's buffer, which takes some KiB."""
        while data:
            select.select([], [self._fd], [], READ_TIMEOUT_S)
            data = data[os.write(self._fd, data) :]

    def read(self, count: int) -> bytes:
        """So many bytes, or what came within READ_TIMEOUT_S. A port that is gone ends it, too, or raises OSError."""
        return self._read(lambda received: len(received) >= count)

    def read_to(self, end: bytes) -> bytes:
        """All that comes until it ends so. Raises TimeoutError."""
        received = self._read(lambda received: received.endswith(end))
        if not received.endswith(end):
            raise TimeoutError(f"{end!r} did not come, but {received!r}")
        return received

    def _read(self, is_enough: Callable[[bytearray], bool]) -> bytes:
        received = bytearray()
        deadline = time.monotonic() + READ_TIMEOUT_S
        while not is_enough(received) and select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            data = os.read(self._fd, READ_BYTES)
            if not data:
                break
            received += data
        return bytes(received)

    def set_baud(self, speed: int) -> None:
        """One of the termios constants, B9600 for example."""
        attributes = termios.tcgetattr(self._fd)
        attributes[4] = attributes[5] = speed
        termios.tcsetattr(self._fd, termios.TCSANOW, attributes)

    def set_hupcl(self, is_on: bool) -> None:
        """Whether the last close lowers the modem lines."""
        attributes = termios.tcgetattr(self._fd)
        attributes[2] = attributes[2] | termios.HUPCL if is_on else attributes[2] & ~termios.HUPCL
        termios.tcsetattr(self._fd, termios.TCSANOW, attributes)

    def raise_lines(self, lines: int) -> None:
        """TIOCM_DTR, TIOCM_RTS or both, in one ioctl."""
        fcntl.ioctl(self._fd, termios.TIOCMBIS, struct.pack("I", lines))

    def lower_lines(self, lines: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCMBIC, struct.pack("I", lines))

    def set_lines(self, lines: int) -> None:
        """Exactly these up, in one ioctl."""
        fcntl.ioctl(self._fd, termios.TIOCMSET, struct.pack("I", lines))

    def lines(self) -> int:
        """TIOCM_ bits, the device's own among them."""
        return int(struct.unpack("I", fcntl.ioctl(self._fd, termios.TIOCMGET, bytes(4)))[0])

    def await_inputs(self, inputs: int) -> None:
        """Until exactly these TIOCM_ pins are up, of those that the device drives."""
        deadline = time.monotonic() + READ_TIMEOUT_S
        while (found := self.lines() & INPUTS) != inputs:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the modem's lines are {found:#x}, not {inputs:#x}")
            time.sleep(POLL_S)

    def set_break(self, is_on: bool) -> None:
        fcntl.ioctl(self._fd, TIOCSBRK if is_on else TIOCCBRK)

    def errors(self) -> LineErrors:
        counters = array.array("i", bytes(4 * _SERIAL_ICOUNTER))
        fcntl.ioctl(self._fd, TIOCGICOUNT, counters)
        return LineErrors(*counters[6:10])

    def close(self) -> None:
        """Waits for unsent bytes, as the kernel does: 30 s for a device that takes none."""
        os.close(self._fd)

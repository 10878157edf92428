"""A terminal that hands on every key as it is pressed, and is what it was afterwards."""

from __future__ import annotations

import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def raw_terminal(fd: int, *, is_wanted: bool) -> Iterator[None]:
    if not is_wanted:
        yield
        return
    before = termios.tcgetattr(fd)
    tty.setraw(fd, termios.TCSADRAIN)  # what was typed ahead counts
    try:
        print("Ctrl-] leaves.\r", file=sys.stderr)  # said when it is true; a raw terminal begins no line by itself
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)

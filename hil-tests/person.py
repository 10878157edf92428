"""A person at a terminal: a command of ours behind a real tty, what it shows, and keys."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Final

WAIT_S: Final = 20.0


class Person:
    """argv runs until its own end or close()."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], *, columns: int = 80, rows: int = 24) -> None:
        self._screen, terminal = os.openpty()
        self.shown = b""
        self._is_closed = False
        self.resize(columns, rows)
        self._popen = subprocess.Popen(
            argv,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={name: value for name, value in env.items() if name not in ("COLUMNS", "LINES")},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._screen, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def types(self, keys: bytes) -> None:
        os.write(self._screen, keys)

    def sees(self, text: bytes) -> None:
        """Wait until text is shown behind what was seen before, and look on from there."""
        deadline = time.monotonic() + WAIT_S
        while not self.looks_for(text, deadline - time.monotonic()):
            assert time.monotonic() < deadline, (text, self.shown)
        self.shown = self.shown.partition(text)[2]

    def looks_for(self, text: bytes, timeout_s: float = 0.0) -> bool:
        """Whether text is shown by now, or after something more within timeout_s."""
        if text not in self.shown and select.select([self._screen], [], [], max(0.0, timeout_s))[0]:
            try:
                self.shown += os.read(self._screen, 65536)
            except OSError as error:  # the other side is closed
                raise AssertionError((text, self.shown)) from error
        return text in self.shown

    def ends(self) -> int:
        """Its exit code."""
        with contextlib.suppress(OSError):
            while select.select([self._screen], [], [], WAIT_S)[0]:
                self.shown += os.read(self._screen, 65536)
        return self._popen.wait(WAIT_S)

    def close(self) -> None:
        if self._popen.poll() is None:
            self._popen.kill()
        self._popen.wait()
        if not self._is_closed:
            self._is_closed = True
            os.close(self._screen)

"""A program on a terminal of its own, as a person has it: what it shows is read, keys are typed."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Final, Self

DEADLINE_S: Final = 20.0
ROWS_AND_COLUMNS: Final = (40, 200)


class OwnTerminal:
    """Use it in a with statement: the program is ended there."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self.shown = ""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", *ROWS_AND_COLUMNS, 0, 0))
        own = {**environment, "TERM": "xterm"}
        self.process = subprocess.Popen(argv, env=own, stdin=slave, stdout=slave, stderr=slave, preexec_fn=_take_terminal)
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_S)
        os.close(self._master)

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, text: str) -> str:
        """What is shown up to text and with it; the rest stays."""
        ends_at = time.monotonic() + DEADLINE_S
        while text not in self.shown:
            assert self._read(ends_at), f"no {text!r} in {self.shown!r}"
        before, _, self.shown = self.shown.partition(text)
        return before + text

    def read_to_end(self) -> str:
        """All that is left, when the program has ended."""
        ends_at = time.monotonic() + DEADLINE_S
        while self._read(ends_at):
            pass
        self.process.wait(DEADLINE_S)
        return self.shown.replace("\r\n", "\n")

    def _read(self, ends_at: float) -> bool:
        if not select.select([self._master], [], [], max(0.0, ends_at - time.monotonic()))[0]:
            raise TimeoutError(f"after {DEADLINE_S:g} s it shows {self.shown!r}")
        try:
            data = os.read(self._master, 65536)
        except OSError:  # nobody has the other end any more
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)


def _take_terminal() -> None:
    """In the child: its controlling terminal, so that job control and Ctrl-C are as in a login."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)

"""A program on a terminal of its own, behind a port whose cable can be pulled: what says a console and hears the keys."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import termios
import threading
import tty
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

PATIENCE_S: Final = 1.0
"""So long the program waits for whoever reads the port; then the line loses what it says."""


class TerminalPort:
    """argv runs until close(), or its own end; link is the port. What it says while the cable is out is lost, as on a real line."""

    def __init__(self, link: Path, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.link = link
        self._inner, terminal = os.openpty()
        self._popen = subprocess.Popen(
            argv,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**os.environ, **env},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)  # a test that dies hangs it up
        self._lock = threading.Lock()
        self._port: tuple[int, int] | None = None
        self._wake_read, self._wake_write = os.pipe()
        self._is_closing = False
        self.plug()
        self._pump = threading.Thread(target=self._carry)
        self._pump.start()

    def plug(self) -> None:
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        self._change((master, slave))
        self.link.symlink_to(os.ttyname(slave))

    def pull(self) -> None:
        self.link.unlink()
        self._change(None)

    def close(self) -> None:
        self._is_closing = True
        self._change(None)
        self._pump.join()
        if self._popen.poll() is None:
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        for fd in (self._inner, self._wake_read, self._wake_write):
            os.close(fd)
        self.link.unlink(missing_ok=True)

    def _change(self, port: tuple[int, int] | None) -> None:
        with self._lock:
            before, self._port = self._port, port
            for fd in before or ():
                os.close(fd)
        os.write(self._wake_write, b"x")

    def _carry(self) -> None:
        has_ended = False
        while not self._is_closing:
            with self._lock:
                port = self._port
            sources = [self._wake_read, *([] if has_ended else [self._inner]), *([port[0]] if port else [])]
            readable, _, _ = select.select(sources, [], [])
            if self._wake_read in readable:
                os.read(self._wake_read, 1)
                continue
            with self._lock:
                if port is not self._port:
                    continue
                if self._inner in readable:
                    has_ended = not self._move(self._inner, port[0] if port else None)
                if port and port[0] in readable:
                    self._move(port[0], None if has_ended else self._inner)

    @staticmethod
    def _move(source: int, target: int | None) -> bool:
        """False when the program has ended."""
        try:
            data = os.read(source, 4096)
        except BlockingIOError:
            return True
        except OSError:
            return False
        while data and target is not None:
            try:
                data = data[os.write(target, data) :]
            except BlockingIOError:
                if not select.select([], [target], [], PATIENCE_S)[1]:
                    return True
        return True

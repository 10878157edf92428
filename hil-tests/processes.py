"""Processes that a test starts: each in a group of its own, its output in a file, ended by its id.

A Reaper ends what is left when the test process itself is killed, so that no run leaves servers behind.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

STOP_GRACE_S: Final = 5.0
"""How long a process may take to end by itself before it is killed."""
PORTS: Final = range(20000, 32000)
"""Below Linux's ephemeral ports, so that no outgoing connection takes one between its choice and its use."""
LANES: Final = 4
"""Each of so many pytest processes that run beside one another (pytest-xdist) has ports of its own: seconds pass before some are used."""

START_TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.02

_REAP: Final = 'groups=; while read -r pid; do groups="$groups -$pid"; done; [ -z "$groups" ] || kill -s KILL -- $groups 2>/dev/null'


_given: Final[set[int]] = set()


class NotReady(Exception):
    """A process did not come up; the message ends with its last lines."""


def free_port() -> int:
    """A TCP port that nobody listens on at 127.0.0.1, and that this process has not given out before."""
    while True:
        port = random.choice(PORTS[_lane() :: LANES])
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port


def _lane() -> int:
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % LANES


class Reaper:
    """Kills the groups it was told of when this process ends without closing it, even by SIGKILL."""

    def __init__(self) -> None:
        # The pipe is closed by the kernel whatever ends this process; that is what the shell waits for.
        self._shell = subprocess.Popen(["sh", "-c", _REAP], stdin=subprocess.PIPE, start_new_session=True, text=True)

    def watch(self, pid: int) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{pid}\n")
        self._shell.stdin.flush()

    def close(self) -> None:
        """Everything was ended properly."""
        self._shell.kill()
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait()


class Process:
    """One program; may be started again after it ended, with the same arguments."""

    def __init__(
        self, name: str, argv: Sequence[str], log: Path, reaper: Reaper, *, env: Mapping[str, str] | None = None, has_stdin: bool = False
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log = log
        self._reaper = reaper
        self._stdin = subprocess.PIPE if has_stdin else subprocess.DEVNULL
        self._env = None if env is None else {**os.environ, **env}
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def has_ended(self) -> bool:
        """It was started, and is no more."""
        return self._popen is not None and self._popen.poll() is not None

    @property
    def pid(self) -> int:
        assert self._popen is not None, f"{self.name} was never started"
        return self._popen.pid

    def start(self) -> None:
        assert not self.is_running, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                self.argv, stdin=self._stdin, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=self._env
            )
        self._reaper.watch(self._popen.pid)

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> None:
        """Send sig to the group and wait for the end; SIGKILL after the grace. Idempotent."""
        if self._popen is None or self._popen.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, sig)
        try:
            self._popen.wait(STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._popen.pid, signal.SIGKILL)
            self._popen.wait()
        if self._popen.stdin:
            self._popen.stdin.close()

    def tell(self, line: str) -> None:
        """Write a line to the stdin of a process that was made with has_stdin."""
        assert self._popen is not None
        assert self._popen.stdin is not None
        self._popen.stdin.write(line.encode() + b"\n")
        self._popen.stdin.flush()

    def wait_for(self, is_done: Callable[[], bool], what: str, timeout_s: float = START_TIMEOUT_S) -> None:
        """Look again and again until it is done. Raises NotReady with the last lines when the process ends or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not is_done():
            if self.has_ended:
                raise NotReady(f"{self.name} ended before {what}\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise NotReady(f"{self.name}: {what} did not come within {timeout_s:.0f} s\n{self.log_tail()}")
            time.sleep(POLL_S)

    def log_tail(self, lines: int = 15) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

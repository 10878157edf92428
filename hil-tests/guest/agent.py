"""The one program that `boot` starts in the guest: runs what the machine asks for and sends back what it says, over a virtio port.

Starting Python takes seconds here, so Python modules and functions run in forks of this process: real processes, whose imports are done.
It has one thread and no state beside its children; it ends with the guest.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import selectors
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guest.child import become
from guest.messages import CHANNEL, Answer, Decoder, Ended, Input, Output, Ready, Signal, Start, encode

READ_BYTES: Final = 65536
PORTS: Final = Path("/sys/class/virtio-ports")
SETTLED: Final = Path("/run/is-settled")
"""Made by `boot` when everything else is ready."""
POLL_S: Final = 0.05


@dataclass(slots=True)
class Child:
    number: int
    pid: int
    stdin: int
    """-1 after its end."""
    output: int
    answers: int
    end: int
    """A pidfd: readable when the process has ended."""


class Agent:
    """Everything happens in run(), which does not return."""

    def __init__(self, channel: int) -> None:
        self._channel = channel
        self._decoder = Decoder()
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, Child] = {}

    def run(self) -> None:
        self._watch(self._channel, self._obey)
        self._say(Ready())
        while True:
            for key, _ in self._selector.select():
                if self._selector.get_map().get(key.fd) is key:  # what was done just now may have let it go, or given its number to another
                    key.data()

    def _watch(self, descriptor: int, act: Callable[[], object]) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, act)

    def _say(self, message: object) -> None:
        _write(self._channel, encode(message))

    def _obey(self) -> None:
        for message in self._decoder.receive_data(os.read(self._channel, READ_BYTES)):
            match message:
                case Ready():
                    self._say(Ready())
                case Start():
                    self._start(message)
                case Input(number, data) if number in self._children:
                    _feed(self._children[number], data)
                case Signal(number, which) if number in self._children:
                    os.killpg(self._children[number].pid, which)

    def _start(self, start: Start) -> None:
        child_stdin, stdin = os.pipe()
        output, child_output = os.pipe()
        answers, child_answers = os.pipe()
        pid = os.fork()
        if not pid:
            become(start, child_stdin, child_output, child_answers)
        with contextlib.suppress(PermissionError, ProcessLookupError):  # it was quicker, and is a program already or no more
            os.setpgid(pid, pid)
        for descriptor in (child_stdin, child_output, child_answers):
            os.close(descriptor)
        child = Child(start.process, pid, stdin, output, answers, os.pidfd_open(pid))
        self._children[child.number] = child
        self._watch(output, lambda: self._forward(child, output))
        self._watch(answers, lambda: self._forward(child, answers))
        self._watch(child.end, lambda: self._bury(child))

    def _forward(self, child: Child, descriptor: int) -> bool:
        """Send on what a pipe holds; False at its end."""
        data = os.read(descriptor, READ_BYTES)
        if not data:
            self._selector.unregister(descriptor)
            return False
        self._say(Output(child.number, data) if descriptor == child.output else Answer(child.number, data))
        return True

    def _bury(self, child: Child) -> None:
        exit_code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        for descriptor in (child.output, child.answers):
            # What it said at last; a child of its own may hold the pipe open, so its end is not waited for.
            os.set_blocking(descriptor, False)
            with contextlib.suppress(BlockingIOError):
                while descriptor in self._selector.get_map() and self._forward(child, descriptor):
                    pass
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
            os.close(descriptor)
        self._selector.unregister(child.end)
        os.close(child.end)
        _feed(child, b"")
        del self._children[child.number]
        self._say(Ended(child.number, exit_code))


def _feed(child: Child, data: bytes) -> None:
    """Write to its stdin, or end that when there are no data. A process that does not read may hold this up after 64 KiB."""
    if child.stdin < 0:
        return
    if data:
        with contextlib.suppress(BrokenPipeError):  # it does not listen: its own affair
            _write(child.stdin, data)
    else:
        os.close(child.stdin)
        child.stdin = -1


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _channel() -> str:
    """The device of our virtio port."""
    return next(f"/dev/{port.name}" for port in PORTS.iterdir() if (port / "name").read_text().strip() == CHANNEL)


def _let_everybody_reach(path: str) -> None:
    """A checkout or a Python in somebody's home is only for him; here other users run it, too. It changes nothing outside the guest."""
    for folder in (Path(path), *Path(path).parents):
        mode = folder.stat().st_mode
        if not mode & stat.S_IXOTH:
            folder.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


if __name__ == "__main__":
    for path in (sys.prefix, sys.base_prefix, os.environ["PYTHONPATH"]):
        _let_everybody_reach(path)
    for module in os.environ["PRELOAD"].split(","):
        importlib.import_module(module)
    while not SETTLED.exists():
        time.sleep(POLL_S)
    Agent(os.open(_channel(), os.O_RDWR)).run()

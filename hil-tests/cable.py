"""A serial cable with two pty ends behind stable links, for tests: paced, faulty on request, and unplugged at either end.

It pumps in a thread of its own, so that it serves synchronous and asynchronous tests and a process under test alike; `python
hil-tests/cable.py A B --baud 115200` gives one on the command line. What a pty cannot show it does not pretend: there are no modem
lines, no parity and no framing errors, and both ends agree on any baud rate.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import random
import selectors
import sys
import threading
import time
import tty
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

from wire import Line, Wire

EndName = Literal["a", "b"]
COMMAND_TIMEOUT_S: Final = 10.0


class Cable:
    """Use as a context manager; both ends are plugged in at its beginning. Everything may be called from any thread."""

    def __init__(self, a: Path, b: Path, *, a_to_b: Line | None = None, b_to_a: Line | None = None, seed: int = 0) -> None:
        self.wires: dict[EndName, Wire] = {
            "a": Wire(a_to_b or Line(), random.Random(f"{seed} a")),
            "b": Wire(b_to_a or Line(), random.Random(f"{seed} b")),
        }
        """By the end at which the bytes go in. Counts may be read at any time."""
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._ends: dict[EndName, _End] = {"a": _End(a, self._selector), "b": _End(b, self._selector)}
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="cable", daemon=True)

    def __enter__(self) -> Cable:
        self._thread.start()
        self.plug("a")
        self.plug("b")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._tell(self._stop)
        self._thread.join(COMMAND_TIMEOUT_S)
        self._selector.close()
        os.close(self._wake)

    def unplug(self, end: EndName) -> None:
        """The link vanishes and whoever has the port open sees a hang-up. Bytes under way to it are lost. Idempotent."""
        self._tell(lambda: self._pull(end))

    def plug(self, end: EndName) -> None:
        """A new pty behind the same link. Idempotent."""
        self._tell(self._ends[end].plug)

    def change(self, end: EndName, **settings: float | bool) -> None:
        """Give the direction that begins at end other settings: the fields of Line."""
        wire = self.wires[end]
        line = replace(wire.line, **settings)  # type: ignore[arg-type]  # replace checks names, and Line's fields are numbers and bools
        self._tell(lambda: setattr(wire, "line", line))

    # -- in the cable's thread

    def _run(self) -> None:
        while True:
            self._obey_commands()
            if self._is_stopping:
                return
            now = time.monotonic()
            moved = [self._carry("a", "b", now), self._carry("b", "a", now)]
            self._wait(0.0 if any(moved) else self._idle_s(now))

    def _obey_commands(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._commands.get_nowait()()

    def _carry(self, source: EndName, target: EndName, now: float) -> bool:
        """Move what can be moved in one direction; True if there may be more at once."""
        wire, sender, receiver = self.wires[source], self._ends[source], self._ends[target]
        arrived = b"" if receiver.is_full else wire.arrived(now)
        receiver.deliver(arrived, wire)
        if receiver.is_full:  # the sender waits, and the line with it
            sender.wants_read = sender.has_backlog = False
            return False
        room_bytes = wire.room_bytes(now)
        sender.wants_read = room_bytes > 0
        if not room_bytes:
            return bool(arrived)
        data = sender.read(room_bytes)
        if data:
            wire.send(data, now, is_backlog=sender.has_backlog)
        sender.has_backlog = len(data) == room_bytes
        return bool(data or arrived)

    def _idle_s(self, now: float) -> float | None:
        """How long nothing can happen by itself; a full receiver tells when it takes more."""
        running = [wire for source, wire in self.wires.items() if not self._ends[_other(source)].is_full]
        changes = [wire.next_change(now) for wire in running]
        return min((max(change - now, 0.0) for change in changes if change is not None), default=None)

    def _wait(self, timeout_s: float | None) -> None:
        for end in self._ends.values():
            end.watch()
        for key, _ in self._selector.select(timeout_s):
            if key.fileobj == self._wake:
                os.eventfd_read(self._wake)

    def _pull(self, end: EndName) -> None:
        self.wires[_other(end)].counts.unplugged += self._ends[end].unplug()

    def _stop(self) -> None:
        self._is_stopping = True
        self._pull("a")
        self._pull("b")

    def _tell(self, command: Callable[[], None]) -> None:
        """Have it done in the cable's thread, and return when it is done."""
        done = threading.Event()

        def obey() -> None:
            command()
            done.set()

        self._commands.put(obey)
        os.eventfd_write(self._wake, 1)
        if not done.wait(COMMAND_TIMEOUT_S):
            raise TimeoutError("the cable's thread does not answer")


def _other(end: EndName) -> EndName:
    return "b" if end == "a" else "a"


class _End:
    """One end: a pty whose slave lies behind the link. The slave is held open, or the master would fail while nobody has the port."""

    def __init__(self, link: Path, selector: selectors.BaseSelector) -> None:
        self._link = link
        self._selector = selector
        self._master = self._slave = -1
        self._watched_events = 0
        self._unsent = b""
        self.wants_read = False
        self.has_backlog = False
        """The last read took all there was room for: the sender had more than the line."""

    @property
    def is_full(self) -> bool:
        """The port's owner does not read."""
        return bool(self._unsent)

    def plug(self) -> None:
        if self._master >= 0:
            return
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        fresh = self._link.with_name(f".{self._link.name}.{os.getpid()}")
        fresh.symlink_to(os.ttyname(self._slave))
        fresh.replace(self._link)

    def unplug(self) -> int:
        """How many bytes had arrived and were not taken."""
        if self._master < 0:
            return 0
        self.wants_read = self.has_backlog = False
        unsent, self._unsent = self._unsent, b""
        self.watch()
        # First the link: the number of the pty may be another one's as soon as it is closed.
        self._link.unlink(missing_ok=True)
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1
        return len(unsent)

    def read(self, max_bytes: int) -> bytes:
        if self._master < 0:
            return b""
        try:
            return os.read(self._master, max_bytes)
        except BlockingIOError:
            return b""

    def deliver(self, arrived: bytes, wire: Wire) -> None:
        """Give the port what it did not take before, and what arrived."""
        data = self._unsent + arrived
        self._unsent = b""
        if self._master < 0:
            wire.counts.unplugged += len(data)
            return
        taken = self._write(data) if data else 0
        wire.counts.delivered += taken
        if wire.line.overrun:
            wire.counts.overrun += len(data) - taken
        else:
            self._unsent = data[taken:]

    def _write(self, data: bytes) -> int:
        try:
            return os.write(self._master, data)
        except BlockingIOError:
            return 0

    def watch(self) -> None:
        """Have the selector wake the thread for what this end waits for now."""
        if self._master < 0:
            return
        events = (selectors.EVENT_READ if self.wants_read else 0) | (selectors.EVENT_WRITE if self._unsent else 0)
        if events == self._watched_events:
            return
        if not events:
            self._selector.unregister(self._master)
        elif not self._watched_events:
            self._selector.register(self._master, events)
        else:
            self._selector.modify(self._master, events)
        self._watched_events = events


def main() -> None:
    """A cable until the end of stdin, whose lines are commands: `unplug a`, `plug a`, `set a flip 0.001`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("a", type=Path)
    parser.add_argument("b", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--baud", type=int, default=0, help="both ways; 0 is as fast as it goes")
    arguments = parser.parse_args()
    line = Line(baud=arguments.baud)
    with Cable(arguments.a, arguments.b, a_to_b=line, b_to_a=line, seed=arguments.seed) as cable:
        print("ready", flush=True)
        for command in sys.stdin:
            _obey(cable, command.split())


def _obey(cable: Cable, words: list[str]) -> None:
    match words:
        case ["unplug", ("a" | "b") as end]:
            cable.unplug(end)
        case ["plug", ("a" | "b") as end]:
            cable.plug(end)
        case ["set", ("a" | "b") as end, name, value] if hasattr(Line(), name):
            default = getattr(Line(), name)
            cable.change(end, **{name: type(default)(float(value))})
        case _:
            print("commands: unplug a|b, plug a|b, set a|b NAME VALUE", file=sys.stderr)


if __name__ == "__main__":
    main()

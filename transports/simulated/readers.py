"""Programs of a simulated device that read: copies of their input, and what tells the size of its terminal. See programs.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Final, Protocol

from transports.protocol import ExitReason
from transports.simulated.outcomes import Blocked, Exited, Outcome, Reading, Wait, Write

READ_BYTES: Final = 1024


class Input(Protocol):
    def take(self, most_bytes: int) -> bytes:
        """Nothing: there is none now."""
        ...

    @property
    def has_ended(self) -> bool:
        """And all of it was taken."""
        ...


class Copier:
    """What it reads it writes, byte for byte: cat, and on both outputs tee. Without an input it waits for ever."""

    drops: ClassVar[bool] = False

    def __init__(self, stdin: Input | None, *, both: bool = False) -> None:
        self._stdin = stdin
        self._outputs = (False, True) if both else (False,)
        self._owed: list[tuple[bytes, bool, bool]] = []
        """(bytes, to stderr, and their line ends there): read and not written yet."""

    def poll(self, now: float, write: Write) -> Outcome:
        if self._stdin is None:
            return Wait()
        while True:
            while self._owed:
                data, is_error, ends_line = self._owed[0]
                if not write(data, stderr=is_error, ends_line=ends_line):
                    return Blocked()
                del self._owed[0]
            data = self._stdin.take(READ_BYTES)
            if not data:
                return Exited(0, ExitReason.COMPLETED) if self._stdin.has_ended else Reading()
            *lines, rest = data.split(b"\n")
            pieces = [(line, True) for line in lines] + ([(rest, False)] if rest else [])
            self._owed = [(piece, is_error, ends) for piece, ends in pieces for is_error in self._outputs]

    def stop(self, now: float) -> bool:
        return True


class Ruler:
    """Says how large its terminal is, and again when that changes; it ends with its input."""

    drops: ClassVar[bool] = False

    def __init__(self, stdin: Input | None, size: Callable[[], tuple[int, int] | None]) -> None:
        self._stdin = stdin
        self._size = size
        self._told: tuple[int, int] | None = None

    def poll(self, now: float, write: Write) -> Outcome:
        size = self._size()
        if size is None:
            return Exited(1, ExitReason.ERROR) if write(b"size: there is no terminal", stderr=True) else Blocked()
        if size != self._told:
            if not write(b"%d columns, %d rows" % size):
                return Blocked()
            self._told = size
        if self._stdin is not None:
            self._stdin.take(READ_BYTES)
            if self._stdin.has_ended:
                return Exited(0, ExitReason.COMPLETED)
        return Reading()

    def stop(self, now: float) -> bool:
        return True

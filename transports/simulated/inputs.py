"""What programs of a simulated device read: a run's input, to which typists come and go, and a command's, from a pipe or a terminal."""

from __future__ import annotations

from typing import Final

from transports.wire.device_talks import DeviceTalk

MAX_LINE_BYTES: Final = 1024
"""Of a line at a terminal; what is typed beyond is not taken."""
INTERRUPT: Final = 0x03
END: Final = 0x04
ERASE: Final = (0x08, 0x7F)


class RunInput:
    """Standard input of a workload. It stays open while nobody types, and ends when somebody says so."""

    def __init__(self, *, is_tty: bool) -> None:
        self._is_tty = is_tty
        self._talks: list[DeviceTalk] = []
        """The last one may be open; those before are read to their end first."""
        self._has_ended = False

    @property
    def has_ended(self) -> bool:
        return self._has_ended

    @property
    def has_writer(self) -> bool:
        return any(not talk.is_over for talk in self._talks)

    def held_buffers(self) -> int:
        return sum(not talk.is_over or talk.unread_bytes() > 0 for talk in self._talks)

    def attach(self, talk: DeviceTalk) -> None:
        self._talks.append(talk)

    def take(self, most_bytes: int) -> bytes:
        for talk in self._talks:
            data = talk.read(most_bytes)
            if talk.has_input_ended:
                self._has_ended = True
                talk.give_up()
            if data:
                return data.replace(b"\r", b"\n") if self._is_tty else data
        self._talks = [talk for talk in self._talks if not talk.is_over]
        return b""

    def close(self) -> None:
        """The workload reads no more."""
        for talk in self._talks:
            talk.give_up()
        self._talks.clear()


class PipeInput:
    """A command's, as it comes."""

    is_interrupted = False

    def __init__(self, talk: DeviceTalk) -> None:
        self._talk = talk

    @property
    def has_ended(self) -> bool:
        return self._talk.has_input_ended

    def take(self, most_bytes: int) -> bytes:
        return self._talk.read(most_bytes)


class TerminalInput:
    """A command's at a terminal: line by line, echoed, with ^C, ^D and the erase key."""

    def __init__(self, talk: DeviceTalk) -> None:
        self._talk = talk
        self._line = bytearray()
        self._lines = bytearray()
        self._is_ended = False
        self.is_interrupted = False

    @property
    def has_ended(self) -> bool:
        return not self._lines and (self._is_ended or self._talk.has_input_ended)

    def take(self, most_bytes: int) -> bytes:
        data = bytes(self._lines[:most_bytes])
        del self._lines[: len(data)]
        return data

    def look(self) -> None:
        """Take in what was typed, as far as its echo has room."""
        while not self._is_ended and len(self._lines) < MAX_LINE_BYTES and self._talk.room_bytes() >= len(b"^C\r\n"):
            key = self._talk.read(1)
            if not key:
                return
            self._press(key[0])

    def _press(self, key: int) -> None:
        if key in b"\r\n":
            self._lines += self._line + b"\n"
            self._line.clear()
            self._talk.write(b"\r\n")
        elif key == INTERRUPT:
            self.is_interrupted = True
            self._talk.write(b"^C\r\n")
        elif key == END:
            self._lines += self._line
            self._is_ended = not self._line
            self._line.clear()
        elif key in ERASE:
            if self._line:
                self._line.pop()
                self._talk.write(b"\b \b")
        elif len(self._line) < MAX_LINE_BYTES:
            self._line.append(key)
            self._talk.write(bytes([key]))

"""Console bytes as lines, cut anywhere. Pure.

A line ends with LF or CR LF; both belong to it and are not in its text. A line that is too long comes in pieces. What is unfinished waits
here, and comes as a piece when the caller says that the console has been silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_LINE_BYTES: Final = 800
"""Longer lines are cut: what is unfinished must fit the checkpoint beside the run, and a line is compared with every pattern."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line or a piece of one."""

    text: bytes
    size_bytes: int
    """With its end."""
    is_whole: bool
    """Its end came."""
    begun: bytes
    """All of the line up to here that is not too long: what patterns are compared with."""


class LineCutter:
    """feed() and flush() give the lines in order; the sizes of all add up to what was fed, once `half` is empty."""

    def __init__(self, half: bytes = b"") -> None:
        self.half = half
        """Fed, and in no line yet. It never ends with LF."""
        self._begun = b""
        """Pieces of this line that came before."""

    @property
    def begun(self) -> bytes:
        """Of the unfinished line, what came as pieces."""
        return self._begun

    def feed(self, data: bytes) -> list[Line]:
        *whole, half = (self.half + data).split(b"\n")
        lines = [line for text in whole for line in self._whole(text, len(text) + 1)]
        pieces, self.half = self._pieces(half)
        return lines + pieces

    def flush(self) -> list[Line]:
        """What is unfinished, as a piece. A CR at its end waits on, because it may be half of a line end."""
        text = self.half.removesuffix(b"\r")
        if not text:
            return []
        self.half = self.half[len(text) :]
        return [self._piece(text)]

    def end(self) -> list[Line]:
        """What is unfinished, as a line that will not go on."""
        if not self.half and not self._begun:
            return []
        half, self.half = self.half, b""
        return self._whole(half, len(half))

    def _whole(self, text: bytes, size_bytes: int) -> list[Line]:
        pieces, rest = self._pieces(text)
        rest_bytes = size_bytes - sum(piece.size_bytes for piece in pieces)
        rest = rest.removesuffix(b"\r")
        begun, self._begun = (self._begun + rest)[:MAX_LINE_BYTES], b""
        return [*pieces, Line(rest, rest_bytes, True, begun)]

    def _pieces(self, text: bytes) -> tuple[list[Line], bytes]:
        """What is too long, and the rest. A CR at the end may be half of a line end, and then counts for nothing."""
        pieces = []
        while len(text) > MAX_LINE_BYTES + text.endswith(b"\r"):
            pieces.append(self._piece(text[:MAX_LINE_BYTES]))
            text = text[MAX_LINE_BYTES:]
        return pieces, text

    def _piece(self, text: bytes) -> Line:
        self._begun = (self._begun + text)[:MAX_LINE_BYTES]
        return Line(text, len(text), False, self._begun)

"""What a line is compared with: text, `*` for anything between, `^` and `$` for the ends of the line. Linear in the line's length.

No regular expressions: they may take minutes for one line, on the loop of all devices (docs/adr/0011).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

MAX_PATTERN_CHARACTERS: Final = 200
"""A line of a terminal and a half."""
MAX_PATTERNS: Final = 32
"""Of one kind: every line is compared with each of them."""

_COLOUR: Final = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")
"""A control sequence (ECMA-48, CSI). The three sets have no byte in common, so there is one way to match it."""


class Pattern:
    """Raises ValueError for what can match everything, or nothing."""

    __slots__ = ("_at_begin", "_at_end", "_pieces", "written")

    def __init__(self, written: str) -> None:
        self.written = written
        if len(written) > MAX_PATTERN_CHARACTERS:
            raise ValueError(f"must have at most {MAX_PATTERN_CHARACTERS} characters, not {len(written)}")
        self._at_begin, self._at_end = written.startswith("^"), written.endswith("$") and not written.endswith("\\$")
        text = written[self._at_begin : len(written) - self._at_end]
        self._pieces = tuple(piece.encode() for piece in _pieces(text))
        if not any(self._pieces):
            raise ValueError(f"{written!r} would match every line")

    def matches(self, line: bytes) -> bool:
        """line has no end and no colours. What is between two pieces may be nothing."""
        pieces, end = self._pieces, len(line)
        if self._at_begin and not line.startswith(pieces[0]):
            return False
        at = len(pieces[0]) if self._at_begin else 0
        rest = pieces[1:] if self._at_begin else pieces
        if self._at_end:
            if not rest:
                return at == end
            end -= len(rest[-1])
            if end < at or not line.endswith(rest[-1]):
                return False
            rest = rest[:-1]
        for piece in rest:
            found = line.find(piece, at, end)
            if found < 0:
                return False
            at = found + len(piece)
        return True


def first_match(patterns: Iterable[Pattern], line: bytes) -> Pattern | None:
    return next((pattern for pattern in patterns if pattern.matches(line)), None)


def without_colours(line: bytes) -> bytes:
    return _COLOUR.sub(b"", line) if b"\x1b" in line else line


def _pieces(text: str) -> list[str]:
    """Between the stars; a backslash takes its meaning from the character after it."""
    pieces, is_escaped = [""], False
    for character in text:
        if is_escaped or character not in "\\*":
            pieces[-1] += character
            is_escaped = False
        elif character == "\\":
            is_escaped = True
        else:
            pieces.append("")
    if is_escaped:
        raise ValueError(f"{text!r} ends in the middle of an escape")
    return pieces

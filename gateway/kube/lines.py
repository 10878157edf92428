"""Bytes of a watch to lines. Pure; a line that never ends is refused instead of filling the memory."""

from __future__ import annotations

from typing import Final

MAX_LINE_BYTES: Final = 8 * 1024 * 1024
"""An object is at most 1.5 MiB in etcd; JSON escapes and the event around it stay well below this."""


class LineTooLong(Exception):
    """More bytes without a line end than any object has."""


class LineSplitter:
    """Feed chunks in, take whole lines out; every byte is searched once."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._head: list[bytes] = []
        self._head_bytes = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that end in this chunk, without their line ends. Raises LineTooLong."""
        *ended, rest = chunk.split(b"\n")
        lines = []
        for part in ended:
            line = b"".join((*self._head, part)) if self._head else part
            self._head.clear()
            self._head_bytes = 0
            lines.append(line)
        if rest:
            self._head.append(rest)
            self._head_bytes += len(rest)
        if self._head_bytes > self._max_line_bytes:
            raise LineTooLong(f"a line of the watch exceeds {self._max_line_bytes} bytes")
        return [line for line in lines if line]

"""The log of a target: lines of the wrapper's spool, with the offsets of their bytes, as records of runs. Pure.

A line is `o3 1234.56 text`: kind, slot, seconds since the boot, and the rest. Kinds: o and e are lines of standard output and error,
O and E pieces of longer ones, s and x a run's start and end, g a line that was too long, m and nothing are the wrapper's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from transports.errors import RemoteProtocolError
from transports.protocol import Gap, GapReason, Item, Record, RecordKind
from transports.wire.offsets import MAX_OFFSET

MAX_LINE_BYTES: Final = 4096
"""What the wrapper writes at once: a pipe takes that whole. Whatever is longer is no line of it."""
MAX_U32: Final = (1 << 32) - 1
MAX_EXIT_CODE: Final = 255

_LINE: Final = re.compile(rb"([oOeEsxg])(\d{1,2}) (\d{1,12})\.(\d{2})(?: (.*))?", re.DOTALL)
_START: Final = re.compile(rb"(\d{1,10}) (\d{1,10})")
_END: Final = re.compile(rb"(\d{1,10}) (\d{1,10}) (\d{1,3})")
_KINDS: Final = {
    b"o": RecordKind.STDOUT,
    b"e": RecordKind.STDERR,
    b"O": RecordKind.STDOUT_PARTIAL,
    b"E": RecordKind.STDERR_PARTIAL,
}


@dataclass(frozen=True, slots=True)
class RunEnded:
    """An `x` line: the run said nothing after offset."""

    wid: int
    gen: int
    slot: int
    offset: int
    exit_code: int
    uptime_ms: int


class SpoolReader:
    """Position in one spool. expected is the end of the last whole line, or of a gap; the half line after it is kept here and read anew
    in another session."""

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self._half = b""
        self._is_cut = False
        """The next line may have lost its beginning."""

    @property
    def position(self) -> int:
        """The next byte to ask for."""
        return self.expected + len(self._half)

    def rewind(self) -> None:
        """Another session reads on from expected."""
        self._half = b""
        self._is_cut = False

    def skip(self, end: int) -> list[Item]:
        """The target has nothing before end any more. What follows may begin in the middle of a line."""
        gap = Gap(self.expected, end, None, GapReason.OVERWRITTEN)
        self.expected, self._half, self._is_cut = end, b"", True
        return [gap]

    def feed(self, data: bytes) -> tuple[list[Item], list[RunEnded], int]:
        """Bytes that follow position: records, ends of runs, and how many lines were none of the wrapper's."""
        items: list[Item] = []
        ends: list[RunEnded] = []
        bad = 0
        *lines, self._half = (self._half + data).split(b"\n")
        for line in lines:
            begin, self.expected = self.expected, self.expected + len(line) + 1
            if self._is_cut:
                self._is_cut = False
                items.append(Gap(begin, self.expected, None, GapReason.OVERWRITTEN))
                continue
            read = _read_line(line, begin, self.expected)
            if isinstance(read, RunEnded):
                ends.append(read)
            elif read is not None:
                items.append(read)
            elif line and not line.startswith(b"m"):
                bad += 1
                items.append(Gap(begin, self.expected, None, GapReason.UNKNOWN))
        if len(self._half) > MAX_LINE_BYTES:
            bad += 1
            begin, self.expected = self.expected, self.position
            self._half, self._is_cut = b"", True
            items.append(Gap(begin, self.expected, None, GapReason.UNKNOWN))
        return items, ends, bad


def read_offset(text: str) -> int:
    """A place in the log as the target tells it, 0 for what is none. Raises RemoteProtocolError beyond MAX_OFFSET."""
    if not text.isdecimal():
        return 0
    if len(text) > len(str(MAX_OFFSET)) or int(text) >= MAX_OFFSET:
        raise RemoteProtocolError(f"the target tells of a log of {text[:80]} bytes")
    return int(text)


def _read_line(line: bytes, begin: int, end: int) -> Record | RunEnded | None:
    """None for what is neither."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    kind, slot, uptime_ms, text = match[1], int(match[2]), (int(match[3]) * 1000 + int(match[4]) * 10) & MAX_U32, match[5] or b""
    if kind in _KINDS:
        return Record(begin, end, uptime_ms, slot, _KINDS[kind], text)
    if kind == b"g":
        return Record(begin, end, uptime_ms, slot, RecordKind.GAP, lost=(1, 0, GapReason.REFUSED))
    if kind == b"s" and (told := _START.fullmatch(text)):
        return Record(begin, end, uptime_ms, slot, RecordKind.SYSTEM, start=(int(told[1]) & MAX_U32, int(told[2]) & MAX_U32))
    if kind == b"x" and (told := _END.fullmatch(text)) and int(told[3]) <= MAX_EXIT_CODE and max(int(told[1]), int(told[2])) <= MAX_U32:
        return RunEnded(int(told[1]), int(told[2]), slot, begin, int(told[3]), uptime_ms)
    return None

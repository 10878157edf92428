"""What one log ring holds: entries, gaps, and their bytes. Pure.

An entry is a line or a piece of one, as a device sent it, with the stamp of its arrival on the boot clock and, where the source has
offsets, the end of its bytes in the device's stream. A gap is an entry too, kept as numbers: its text is made when somebody reads,
because only then the boot clock is translated to wall time.
"""

from __future__ import annotations

import enum
import struct
from typing import Final, NamedTuple

RECORD_HEADER: Final = struct.Struct("<HBBIqQ")
"""Data bytes, stream, flags, epoch, stamp_ns, offset_end. 24 bytes, so that records stay aligned to 8."""

FLAG_PARTIAL: Final = 1
FLAG_GAP: Final = 2
FLAG_LINES: Final = 4
"""The data is a block of lines (block.py); FLAG_PARTIAL then says that pieces of lines are among them."""

MAX_DATA_BYTES: Final = 16 * 1024
"""Longer data is cut into partial entries: a quarter of the smallest ring, far above a device's 1 KiB records."""

PADDING: Final = tuple(bytes(n) for n in range(8))

_GAP: Final = struct.Struct("<qqqqBQ")
_UNKNOWN: Final = -1


class Stream(enum.IntEnum):
    """Where an entry belongs. SYSTEM entries are for the gateway alone and never shown."""

    SYSTEM = 0
    STDOUT = 1
    STDERR = 2


class GapCause(enum.IntEnum):
    """Why output is missing. 1 to 4 are the numbers of the wire (SPEC.md), the others happen in the gateway."""

    OVERWRITTEN = 1
    LOSSY_SENDER = 2
    REFUSED = 3
    UNKNOWN = 4
    NOBODY_READING = 16
    READER_TOO_SLOW = 17
    LOG_FULL = 18
    NO_SPACE = 19
    DEVICE_RESTARTED = 20

    @property
    def words(self) -> str:
        """How the gap line says it (frozen in SPEC.md)."""
        return _CAUSE_WORDS[self]


_CAUSE_WORDS: Final = {
    GapCause.OVERWRITTEN: "ring overwritten",
    GapCause.LOSSY_SENDER: "lossy sender",
    GapCause.REFUSED: "refused by the device",
    GapCause.UNKNOWN: "unknown cause",
    GapCause.NOBODY_READING: "nobody was reading",
    GapCause.READER_TOO_SLOW: "reader too slow",
    GapCause.LOG_FULL: "log full",
    GapCause.NO_SPACE: "no space for the log",
    GapCause.DEVICE_RESTARTED: "device restarted",
}


class Entry(NamedTuple):
    """One record of a ring. A tuple, because thousands a second are made and unpacked.

    epoch and offset_end are 0 for a source without offsets; such entries are never taken for a resend.
    """

    stamp_ns: int
    stream: Stream
    data: bytes
    partial: bool = False
    epoch: int = 0
    offset_end: int = 0
    gap: bool = False

    @property
    def line_count(self) -> int:
        """Of lines, as a block has many."""
        return 1

    @property
    def size_bytes(self) -> int:
        return len(self.data)


RawRecord = tuple[int, int, int, bytes]
"""(stamp_ns, stream, flags, data): what readers get; a plain tuple because of their number."""


class Gap(NamedTuple):
    """A gap's numbers; None is "nobody can know". Times are boot clock nanoseconds."""

    records: int | None
    size_bytes: int | None
    cause: GapCause
    from_ns: int
    to_ns: int
    offset: int = 0
    """Where in the source's stream the missing bytes begin, if that is what size_bytes counts: they end at the entry's offset_end.
    0 for lines that never had an offset, and from the stream's begin, where nothing can be held twice."""


def gap_entry(gap: Gap, *, epoch: int = 0, offset_end: int = 0) -> Entry:
    """The entry that declares a loss, stamped with its end, on stderr."""
    return Entry(gap.to_ns, Stream.STDERR, pack_gap(gap), False, epoch, offset_end, True)


def pack_gap(gap: Gap) -> bytes:
    records = _UNKNOWN if gap.records is None else gap.records
    size = _UNKNOWN if gap.size_bytes is None else gap.size_bytes
    return _GAP.pack(records, size, gap.from_ns, gap.to_ns, gap.cause, gap.offset)


def unpack_gap(data: bytes) -> Gap:
    records, size, from_ns, to_ns, cause, offset = _GAP.unpack(data)
    return Gap(None if records < 0 else records, None if size < 0 else size, GapCause(cause), from_ns, to_ns, offset)


def text_entries(stamp_ns: int, text: bytes, stream: Stream = Stream.STDOUT) -> list[Entry]:
    """Console text, cut anywhere, as entries: a line each without its LF, the unfinished end as a partial one."""
    lines = text.split(b"\n")
    rest = lines.pop()
    entries = [Entry(stamp_ns, stream, line) for line in lines]
    if rest:
        entries.append(Entry(stamp_ns, stream, rest, True))
    return entries


def cut(entry: Entry, max_bytes: int = MAX_DATA_BYTES) -> list[Entry]:
    """An entry of any length as entries of at most max_bytes. Only the last has the offset: half an entry is not stored."""
    data = entry.data
    starts = range(0, len(data), max_bytes)
    pieces = [entry._replace(data=data[at : at + max_bytes], partial=True, epoch=0, offset_end=0) for at in starts]
    pieces[-1] = pieces[-1]._replace(partial=entry.partial, epoch=entry.epoch, offset_end=entry.offset_end)
    return pieces

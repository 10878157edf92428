"""Lines that a device sent one after another, as one entry of a ring: in the bytes of the wire, taken apart when somebody reads them.

This file is the only one of gateway/logs that knows how a device encodes its lines (SPEC.md, LOG). Pure.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from gateway.logs.record import FLAG_PARTIAL, Entry, RawRecord, Stream
from transports.protocol import Lines, RecordKind
from transports.wire.lines import scan_lines, split_lines
from transports.wire.offsets import distance
from transports.wire.records import unpack_lines

_HEAD: Final = struct.Struct("<IHH")
"""Uptime of the last line, lines, bytes of text; then the records."""
HEAD_BYTES: Final = _HEAD.size
_NS_PER_MS: Final = 1_000_000
_STREAM_AND_FLAGS: Final = {
    int(RecordKind.STDOUT): (Stream.STDOUT, 0),
    int(RecordKind.STDERR): (Stream.STDERR, 0),
    int(RecordKind.STDOUT_PARTIAL): (Stream.STDOUT, FLAG_PARTIAL),
    int(RecordKind.STDERR_PARTIAL): (Stream.STDERR, FLAG_PARTIAL),
}


class Block(NamedTuple):
    """stamp_ns is that of the last line; the others' follow from the device's own clock."""

    stamp_ns: int
    lines: Lines
    epoch: int

    @property
    def line_count(self) -> int:
        return self.lines.line_count

    @property
    def size_bytes(self) -> int:
        return self.lines.size_bytes

    def head(self) -> bytes:
        """What stands before the lines in a ring. Raises struct.error above 64 KiB."""
        lines = self.lines
        return _HEAD.pack(lines.uptime_ms, lines.line_count, lines.size_bytes)

    def after(self, offset: int) -> Block | None:
        """Without the lines that begin before offset."""
        if offset <= self.lines.offset:
            return self
        _, rest = split_lines(self.lines, offset)
        return None if rest is None else self._with(rest)

    def pieces(self, max_bytes: int) -> list[Block | Entry]:
        """The same lines in blocks that are at most so long with their head; a line that is longer alone is an entry, for others to cut."""
        lines = self.lines
        if HEAD_BYTES + len(lines.raw) <= max_bytes:
            return [self]
        if lines.line_count == 1:
            ((stamp_ns, stream, flags, text),) = unpack(self.head() + lines.raw, self.stamp_ns)
            return [Entry(stamp_ns, Stream(stream), text, bool(flags), self.epoch, lines.end)]
        first, rest = split_lines(lines, lines.offset + len(lines.raw) // 2)
        if rest is None:
            first, rest = split_lines(lines, lines.offset + 1)
        assert first is not None
        assert rest is not None
        return [*self._with(first).pieces(max_bytes), *self._with(rest).pieces(max_bytes)]

    def _with(self, lines: Lines) -> Block:
        earlier_ms = distance(lines.uptime_ms, self.lines.uptime_ms)
        return Block(self.stamp_ns + earlier_ms * _NS_PER_MS, lines, self.epoch)


def unpack(data: bytes, stamp_ns: int) -> list[RawRecord]:
    """The lines of head and records, with the stamp of the last line."""
    last_ms, _, _ = _HEAD.unpack_from(data)
    lines = unpack_lines(data[HEAD_BYTES:])
    return [(stamp_ns + distance(uptime_ms, last_ms) * _NS_PER_MS, *_STREAM_AND_FLAGS[src & 7], text) for uptime_ms, src, text in lines]


def read_head(memory: bytes | memoryview, at: int) -> tuple[int, int]:
    """(lines, bytes of text) of the block whose head is at `at`."""
    _, count, size_bytes = _HEAD.unpack_from(memory, at)
    return count, size_bytes


def reread(data: bytes, stamp_ns: int, epoch: int, offset_end: int) -> Block:
    """The block that head and records were made of."""
    lines, _ = scan_lines(data, HEAD_BYTES, offset_end - len(data))
    assert lines is not None
    return Block(stamp_ns, lines, epoch)

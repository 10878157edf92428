"""Lines as a device sends them, for tests of rings."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.logs.block import Block
from gateway.logs.record import Entry, Stream
from transports.protocol import Lines, RecordKind
from transports.wire.records import encode_record, parse_records

NS_PER_MS = 1_000_000
OUT, ERR = Stream.STDOUT, Stream.STDERR
OUTPUT_KINDS = {
    (OUT, False): RecordKind.STDOUT,
    (OUT, True): RecordKind.STDOUT_PARTIAL,
    (ERR, False): RecordKind.STDERR,
    (ERR, True): RecordKind.STDERR_PARTIAL,
}


def block(entries: Sequence[Entry], *, slot: int = 3) -> Block:
    """The same lines in the bytes of the wire: entries that follow each other, with stamps of whole milliseconds."""
    last = entries[-1]
    raw = b"".join(encode(entry, slot) for entry in entries)
    items, rest = parse_records(b"", raw, last.offset_end - len(raw))
    assert rest == b""
    (lines,) = items
    assert isinstance(lines, Lines)
    return Block(last.stamp_ns, lines, last.epoch)


def encode(entry: Entry, slot: int = 3) -> bytes:
    return encode_record(entry.stamp_ns // NS_PER_MS, slot, OUTPUT_KINDS[entry.stream, entry.partial], entry.data)


def numbered(first: int, last: int, *, size: int = 10, epoch: int = 1, partial: bool = False) -> list[Entry]:
    """Lines of so many bytes of text with their numbers; line n was said in millisecond n and ends where the stream of all of them is."""
    entries = []
    for number in range(first, last + 1):
        entry = Entry(number * NS_PER_MS, OUT, b"%0*d" % (size, number), partial, epoch)
        entries.append(entry._replace(offset_end=_end(number, size)))
    return entries


def _end(number: int, size: int) -> int:
    """Where line `number` ends in a stream that begins with line 0."""
    return sum(len(encode(Entry(n * NS_PER_MS, OUT, bytes(size)))) for n in range(number + 1))

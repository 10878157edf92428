"""A log's items with every line as a record of its own: what most tests want to see."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgpack

from transports.protocol import Gap, Item, Lines, Record, RecordKind


def taken_apart(items: Iterable[Item]) -> list[Record | Gap]:
    found: list[Record | Gap] = []
    for item in items:
        if isinstance(item, Lines):
            found += _records(item)
        else:
            found.append(item)
    return found


def records_in(items: Iterable[Item]) -> list[Record]:
    """Without the gaps."""
    return [item for item in taken_apart(items) if isinstance(item, Record)]


def _records(lines: Lines) -> Iterator[Record]:
    unpacker = msgpack.Unpacker(use_list=False)
    unpacker.feed(lines.raw)
    at = lines.offset
    for uptime_ms, src, text in unpacker:
        begin, at = at, lines.offset + unpacker.tell()
        assert src >> 3 == lines.slot
        yield Record(begin, at, uptime_ms, lines.slot, RecordKind(src & 7), text)
    assert at == lines.end

"""LOG records: msgpack arrays [t, src, data] back to back (SPEC.md, LOG).

Writing gives the bytes of one record; reading takes any cut of the stream and gives rows of lines and other records with their offsets, and
the half record that is left. Slots and attempts mean nothing here.
"""

from __future__ import annotations

from typing import Final, TypeGuard

import msgpack

from transports.errors import LocalProtocolError, RemoteProtocolError
from transports.protocol import Lines, Record, RecordKind
from transports.wire.lines import MAX_RECORD_BYTES as MAX_RECORD_BYTES
from transports.wire.lines import scan_lines
from transports.wire.numbers import gap_reason
from transports.wire.profile import MAX_MAP_ENTRIES, pack

RECORD_OVERHEAD_BYTES: Final = 11
"""The most that a record has besides its data: array 1, t 5, src 2, bin 3."""
MAX_DATA_BYTES: Final = MAX_RECORD_BYTES - RECORD_OVERHEAD_BYTES
START_MARK: Final = 1
"""data[0] of a start record; others are for later versions and are skipped."""

_MAX_ARRAY_ITEMS: Final = 16
_MAX_UPTIME_MS: Final = (1 << 32) - 1
_SYSTEM: Final = RecordKind.SYSTEM
_GAP: Final = RecordKind.GAP
_OUTPUT_KIND: Final = (
    None,
    RecordKind.STDOUT,
    RecordKind.STDERR,
    RecordKind.STDOUT_PARTIAL,
    RecordKind.STDERR_PARTIAL,
    None,
    None,
    None,
)


def encode_record(uptime_ms: int, slot: int, kind: RecordKind, data: bytes) -> bytes:
    """A line without its end, or a piece of one. Raises LocalProtocolError above MAX_RECORD_BYTES."""
    record = pack((uptime_ms & _MAX_UPTIME_MS, slot << 3 | kind, data))
    if len(record) > MAX_RECORD_BYTES:
        raise LocalProtocolError(f"a record of {len(record)} bytes exceeds {MAX_RECORD_BYTES}")
    return record


def encode_start_record(uptime_ms: int, slot: int, wid: int, gen: int) -> bytes:
    """The first record of a run in its slot: what follows belongs to (wid, gen)."""
    return pack((uptime_ms & _MAX_UPTIME_MS, slot << 3 | _SYSTEM, (START_MARK, wid, gen)))


def encode_gap_record(uptime_ms: int, slot: int, records: int, lost_bytes: int, reason: int) -> bytes:
    """The device refused this many lines before here; reason is a GapReason."""
    return pack((uptime_ms & _MAX_UPTIME_MS, slot << 3 | _GAP, (records, lost_bytes, reason)))


class NoRecord(RemoteProtocolError):
    """What stands at offset of the stream is no record; items are those before it."""

    def __init__(self, why: str, items: list[Lines | Record], offset: int) -> None:
        super().__init__(why)
        self.items = items
        self.offset = offset


def parse_records(tail: bytes, data: bytes, offset: int) -> tuple[list[Lines | Record], bytes]:
    """Whole records in tail + data, which begin at offset of the stream, and the bytes of the half record that is left.

    Records of unknown kinds and unknown system records are skipped. Raises NoRecord.
    """
    stream = tail + data if tail else data
    items: list[Lines | Record] = []
    at = 0
    while at < len(stream):
        lines, is_cut = scan_lines(stream, at, offset)
        if lines is not None:
            items.append(lines)
            at = lines.end - offset
        if is_cut:
            break
        if lines is None:
            try:
                size_bytes, record = _parse_one(stream[at : at + MAX_RECORD_BYTES + 1], offset + at)
            except RemoteProtocolError as exc:
                raise NoRecord(str(exc), items, offset + at) from exc
            if not size_bytes:
                break
            if record is not None:
                items.append(record)
            at += size_bytes
    return items, stream[at:]


def unpack_lines(raw: bytes) -> list[tuple[int, int, bytes]]:
    """(uptime_ms, src, text) of each record in Lines.raw."""
    unpacker = msgpack.Unpacker(max_buffer_size=len(raw), use_list=False)
    unpacker.feed(raw)
    return list(unpacker)


def _parse_one(data: bytes, offset: int) -> tuple[int, Record | None]:
    """The size of the record at the beginning of data, 0 if its end is missing, and the record if it means something to us."""
    unpacker = msgpack.Unpacker(
        max_buffer_size=len(data),
        max_array_len=_MAX_ARRAY_ITEMS,
        max_bin_len=MAX_RECORD_BYTES,
        max_str_len=MAX_RECORD_BYTES,
        max_map_len=MAX_MAP_ENTRIES,
        max_ext_len=0,
        use_list=False,
    )
    unpacker.feed(data)
    try:
        record = unpacker.unpack()
        if type(record) is not tuple:
            raise RemoteProtocolError(f"LOG at {offset}: no record")
        uptime_ms, src, content = record
    except msgpack.OutOfData:
        if len(data) >= MAX_RECORD_BYTES:
            raise RemoteProtocolError(f"LOG record at {offset} exceeds {MAX_RECORD_BYTES} bytes") from None
        return 0, None
    except (ValueError, TypeError) as exc:
        raise RemoteProtocolError(f"LOG at {offset}: no record: {exc}") from exc
    size_bytes = unpacker.tell()
    if type(src) is not int or not 0 <= src <= 255 or type(uptime_ms) is not int or not 0 <= uptime_ms <= _MAX_UPTIME_MS:
        raise RemoteProtocolError(f"LOG record at {offset} has no valid time and source")
    if size_bytes > MAX_RECORD_BYTES:
        raise RemoteProtocolError(f"LOG record at {offset} of {size_bytes} bytes exceeds {MAX_RECORD_BYTES}")
    kind = _OUTPUT_KIND[src & 7]
    if kind is not None and type(content) is bytes:
        return size_bytes, Record(offset, offset + size_bytes, uptime_ms, src >> 3, kind, content)
    return size_bytes, _special(offset, offset + size_bytes, uptime_ms, src, content)


def _special(begin: int, end: int, uptime_ms: int, src: int, content: object) -> Record | None:
    """A start or gap record, None for what a later version may mean."""
    match src & 7, content:
        case RecordKind.SYSTEM, (1, wid, gen) if _is_u32(wid) and _is_u32(gen):
            return Record(begin, end, uptime_ms, src >> 3, _SYSTEM, start=(wid, gen))
        case RecordKind.GAP, (records, lost_bytes, reason) if _is_u32(records) and _is_u32(reason) and _is_u32(lost_bytes):
            return Record(begin, end, uptime_ms, src >> 3, _GAP, lost=(records, lost_bytes, gap_reason(reason)))
        case ((RecordKind.SYSTEM | 5 | 6), _):
            return None
        case _:
            raise RemoteProtocolError(f"LOG record at {begin} of kind {src & 7} has the wrong content")


def _is_u32(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= _MAX_UPTIME_MS

"""LOG records: msgpack arrays [t, src, data] back to back (SPEC.md, LOG).

Writing gives the bytes of one record; reading takes any cut of the stream and gives whole records with their offsets and the half record
that is left. Lines, slots and attempts mean nothing here.
"""

from __future__ import annotations

from typing import Final, TypeGuard

import msgpack

from transports.errors import LocalProtocolError, RemoteProtocolError
from transports.protocol import Record, RecordKind
from transports.wire.profile import MAX_MAP_ENTRIES, pack

MAX_RECORD_BYTES: Final = 1024
"""A whole record; longer lines are cut into partial records."""
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


def parse_records(tail: bytes, data: bytes, offset: int) -> tuple[list[Record], bytes]:
    """Whole records in tail + data, which begin at offset of the stream, and the bytes of the half record that is left.

    Records of unknown kinds and unknown system records are skipped. Raises RemoteProtocolError for what is no record.
    """
    stream = tail + data if tail else data
    unpacker = msgpack.Unpacker(
        max_buffer_size=len(stream) + 1,
        max_array_len=_MAX_ARRAY_ITEMS,
        max_bin_len=MAX_RECORD_BYTES,
        max_str_len=MAX_RECORD_BYTES,
        max_map_len=MAX_MAP_ENTRIES,
        max_ext_len=0,
        use_list=False,
    )
    unpacker.feed(stream)
    tell = unpacker.tell
    items: list[Record] = []
    at = 0
    try:
        for uptime_ms, src, content in unpacker:
            begin, at = at, tell()
            if type(src) is not int or not 0 <= src <= 255 or type(uptime_ms) is not int or not 0 <= uptime_ms <= _MAX_UPTIME_MS:
                raise RemoteProtocolError(f"LOG record at {offset + begin} has no valid time and source")
            if at - begin > MAX_RECORD_BYTES:
                raise RemoteProtocolError(f"LOG record at {offset + begin} of {at - begin} bytes exceeds {MAX_RECORD_BYTES}")
            kind = _OUTPUT_KIND[src & 7]
            if kind is not None and type(content) is bytes:
                items.append(Record(offset + begin, offset + at, uptime_ms, src >> 3, kind, content))
            elif (record := _special(offset + begin, offset + at, uptime_ms, src, content)) is not None:
                items.append(record)
    except (ValueError, TypeError) as exc:
        raise RemoteProtocolError(f"LOG at {offset + at}: no record: {exc}") from exc
    rest = stream[at:]
    if len(rest) >= MAX_RECORD_BYTES:
        raise RemoteProtocolError(f"LOG record at {offset + at} exceeds {MAX_RECORD_BYTES} bytes")
    return items, rest


def _special(begin: int, end: int, uptime_ms: int, src: int, content: object) -> Record | None:
    """A start or gap record, None for what a later version may mean."""
    match src & 7, content:
        case RecordKind.SYSTEM, (1, wid, gen) if _is_u32(wid) and _is_u32(gen):
            return Record(begin, end, uptime_ms, src >> 3, _SYSTEM, start=(wid, gen))
        case RecordKind.GAP, (records, lost_bytes, reason) if _is_u32(records) and _is_u32(reason) and _is_u32(lost_bytes):
            return Record(begin, end, uptime_ms, src >> 3, _GAP, lost=(records, lost_bytes, reason))
        case ((RecordKind.SYSTEM | 5 | 6), _):
            return None
        case _:
            raise RemoteProtocolError(f"LOG record at {begin} of kind {src & 7} has the wrong content")


def _is_u32(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= _MAX_UPTIME_MS

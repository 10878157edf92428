"""Lines of a LOG without taking them apart: where a row of output records of one slot ends, and where it can be cut.

A line costs no more than a look at its first bytes; text, stream and time stay in the bytes of the wire until somebody reads them. What is
no output record, or is written in a longer way than anybody does, is left to records.py.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from transports.protocol import Lines

MAX_RECORD_BYTES: Final = 1024
"""A whole record; longer lines are cut into partial records."""

_COMMON: Final = struct.Struct(">HIBBB")
"""How nearly all lines begin: array of 3 and u32, time, src below 128, bin 8, its length."""
_unpack_common = _COMMON.unpack_from
_COMMON_BYTES: Final = _COMMON.size
_COMMON_MARK: Final = 0x93CE
_U32: Final = 0xCE
_BIN_8: Final = 0xC4
_MAX_FIXINT: Final = 0x7F
_match_any = re.compile(rb"\x93(?:([\x00-\x7f])|\xcc(.)|\xcd(..)|\xce(....))(?:([\x00-\x7f])|\xcc(.))(?:\xc4(.)|\xc5(..))", re.DOTALL).match
_OUTPUT_KINDS: Final = range(1, 5)
_FIRST_PARTIAL: Final = 3


def scan_lines(stream: bytes, begin: int, offset: int) -> tuple[Lines | None, bool]:
    """The row of lines at begin, and whether the rest of stream is the beginning of one more line. stream begins at offset of the LOG."""
    total = len(stream)
    last_common = total - _COMMON_BYTES
    at = last = begin
    count = size_bytes = 0
    src = slot = -1
    has_partial = is_cut = False
    while at < total:
        mark, _, found_src, bin_, length = _unpack_common(stream, at) if at <= last_common else (0, 0, 0, 0, 0)
        text_at = at + _COMMON_BYTES
        if mark != _COMMON_MARK or bin_ != _BIN_8 or found_src > _MAX_FIXINT:
            match = _match_any(stream, at)
            if match is None:
                break
            found_src, length, text_at = (match[5] or match[6])[0], _number(match[7] or match[8]), match.end()
        if found_src != src:
            if found_src & 7 not in _OUTPUT_KINDS or (count and found_src >> 3 != slot):
                break
            src, slot = found_src, found_src >> 3
            has_partial = has_partial or src & 7 >= _FIRST_PARTIAL
        end = text_at + length
        if end - at > MAX_RECORD_BYTES:
            break
        if end > total:
            is_cut = True
            break
        size_bytes += length
        last, at = at, end
        count += 1
    if not count:
        return None, is_cut
    lines = Lines(offset + begin, offset + at, slot, count, size_bytes, _uptime_ms(stream, last), has_partial, stream[begin:at])
    return lines, is_cut


def split_lines(lines: Lines, offset: int) -> tuple[Lines | None, Lines | None]:
    """The lines that begin before offset of the LOG, and the others."""
    raw, wanted, at = lines.raw, offset - lines.offset, 0
    while at < min(wanted, len(raw)):
        match = _match_any(raw, at)
        if match is None:
            raise ValueError(f"no line at {at} of {len(raw)} bytes")
        at = match.end() + _number(match[7] or match[8])
    before, _ = scan_lines(raw[:at], 0, lines.offset)
    after, _ = scan_lines(raw, at, lines.offset)
    return before, after


def _uptime_ms(stream: bytes, at: int) -> int:
    if stream[at + 1] == _U32:
        return int.from_bytes(stream[at + 2 : at + 6], "big")
    match = _match_any(stream, at)
    if match is None:
        raise ValueError(f"no line at {at} of {len(stream)} bytes")
    return _number(match[1] or match[2] or match[3] or match[4])


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")

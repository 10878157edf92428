"""LOG records keep their offsets however the stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.errors import LocalProtocolError, RemoteProtocolError
from transports.protocol import GapReason, Record, RecordKind
from transports.tests.taken_apart import records_in
from transports.wire.profile import pack
from transports.wire.records import (
    MAX_DATA_BYTES,
    MAX_RECORD_BYTES,
    encode_gap_record,
    encode_record,
    encode_start_record,
    parse_records,
)

output_kinds = st.sampled_from([RecordKind.STDOUT, RecordKind.STDERR, RecordKind.STDOUT_PARTIAL, RecordKind.STDERR_PARTIAL])
u32 = st.integers(0, 2**32 - 1)
encoded = st.one_of(
    st.builds(encode_record, u32, st.integers(0, 31), output_kinds, st.binary(max_size=300)),
    st.builds(encode_start_record, u32, st.integers(0, 30), u32, u32),
    st.builds(encode_gap_record, u32, st.integers(0, 31), u32, u32, st.integers(1, 4)),
)


def test_the_record_of_the_specification() -> None:
    data = encode_record(1000, 0, RecordKind.STDOUT, b"hi")
    assert data.hex() == "93cd03e801c4026869"
    (lines,), rest = parse_records(b"", data, 40)
    assert records_in([lines]) == [Record(40, 49, 1000, 0, RecordKind.STDOUT, b"hi")]
    assert rest == b""


def test_start_and_gap_records_are_told_apart() -> None:
    stream = encode_start_record(5, 3, 0xA1B2C3D4, 2) + encode_gap_record(6, 3, 23, 1482, GapReason.REFUSED)
    items, rest = parse_records(b"", stream, 0)
    start, gap = records_in(items)
    assert (start.kind, start.slot, start.start) == (RecordKind.SYSTEM, 3, (0xA1B2C3D4, 2))
    assert (gap.kind, gap.slot, gap.lost) == (RecordKind.GAP, 3, (23, 1482, 3))
    assert (gap.end, rest) == (len(stream), b"")


@settings(max_examples=100, deadline=None)
@given(st.lists(encoded, max_size=12), st.integers(0, 2**40), st.lists(st.integers(1, 500), min_size=1, max_size=4))
def test_any_cut_gives_the_same_records(parts: list[bytes], offset: int, cuts: list[int]) -> None:
    stream = b"".join(parts)
    items, rest = parse_records(b"", stream, offset)
    whole = records_in(items)
    assert rest == b""
    assert [(record.offset, record.end) for record in whole] == [
        (offset + sum(map(len, parts[:n])), offset + sum(map(len, parts[: n + 1]))) for n in range(len(parts))
    ]
    found: list[Record] = []
    tail, expected, at, turn = b"", offset, 0, 0
    while at < len(stream):
        piece = stream[at : at + cuts[turn % len(cuts)]]
        records, left = parse_records(tail, piece, expected)
        expected += len(tail) + len(piece) - len(left)
        found += records_in(records)
        tail = left
        at, turn = at + len(piece), turn + 1
    assert (found, tail) == (whole, b"")


def test_later_kinds_are_skipped() -> None:
    stream = pack([1, 5, b"kind 5"]) + pack([1, 0, [9, "later"]]) + encode_record(1, 0, RecordKind.STDOUT, b"known")
    records, rest = parse_records(b"", stream, 0)
    assert [record.data for record in records_in(records)] == [b"known"]
    assert rest == b""


@pytest.mark.parametrize(
    "data",
    [
        pack([1, 1, "text"]),
        pack([1, 1]),
        pack([1, 1, b"", 0]),
        pack([-1, 1, b""]),
        pack([2**32, 1, b""]),
        pack([1, 256, b""]),
        pack([True, 1, b""]),
        pack([1, 7, [1, 2]]),
        pack({1: 2}),
        pack(5),
        b"\xc1",
        bytes.fromhex("ddffffffff"),
        b"\x91" * 2000,
        pack([1, 1, b"x" * MAX_RECORD_BYTES]),
    ],
    ids=lambda data: data[:8].hex(),
)
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="LOG"):
        parse_records(b"", data, 0)


def test_a_half_record_cannot_grow_for_ever() -> None:
    with pytest.raises(RemoteProtocolError, match="LOG"):
        parse_records(b"", bytes.fromhex("9301 01 c5 03ff") + b"x" * 1020, 0)
    with pytest.raises(RemoteProtocolError, match="LOG"):
        parse_records(bytes.fromhex("9301 01 c6 ffffffff"), b"x" * 1020, 0)
    with pytest.raises(LocalProtocolError, match="exceeds 1024"):
        encode_record(0, 0, RecordKind.STDOUT, b"x" * 1020)
    assert len(encode_record(2**32 - 1, 31, RecordKind.STDOUT, b"x" * MAX_DATA_BYTES)) == MAX_RECORD_BYTES

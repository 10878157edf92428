"""Rows of lines are found without taking them apart, and are exactly the records that a reader of msgpack finds."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.protocol import Lines, RecordKind
from transports.tests.taken_apart import records_in
from transports.wire.lines import MAX_RECORD_BYTES, scan_lines, split_lines
from transports.wire.profile import pack
from transports.wire.records import encode_record, encode_start_record, parse_records

Row = list[tuple[int, RecordKind, bytes]]

kinds = st.sampled_from([RecordKind.STDOUT, RecordKind.STDERR, RecordKind.STDOUT_PARTIAL, RecordKind.STDERR_PARTIAL])
uptimes = st.one_of(st.integers(0, 300), st.integers(60_000, 70_000), st.integers(0, 2**32 - 1))
texts = st.one_of(st.binary(max_size=40), st.binary(min_size=250, max_size=270))
rows = st.lists(st.tuples(uptimes, kinds, texts), min_size=1, max_size=12)


def encoded(slot: int, row: Row) -> list[bytes]:
    return [encode_record(uptime_ms, slot, kind, text) for uptime_ms, kind, text in row]


def scanned(raw: bytes, offset: int = 0) -> Lines:
    lines, is_cut = scan_lines(raw, 0, offset)
    assert lines is not None
    assert not is_cut
    return lines


@settings(deadline=None)
@given(slot=st.integers(0, 31), row=rows, offset=st.integers(0, 2**40))
def test_a_row_knows_what_its_lines_add_up_to(slot: int, row: Row, offset: int) -> None:
    parts = encoded(slot, row)
    lines = scanned(b"".join(parts), offset)
    assert (lines.offset, lines.end, lines.slot, lines.line_count) == (offset, offset + sum(map(len, parts)), slot, len(row))
    assert lines.size_bytes == sum(len(text) for _, _, text in row)
    assert lines.uptime_ms == row[-1][0]
    assert lines.has_partial == any(kind in (RecordKind.STDOUT_PARTIAL, RecordKind.STDERR_PARTIAL) for _, kind, _ in row)
    records = records_in([lines])
    assert [(record.uptime_ms, record.kind, record.data) for record in records] == row


@settings(deadline=None)
@given(row=rows, data=st.data())
def test_a_row_can_be_cut_before_any_of_its_lines(row: Row, data: st.DataObject) -> None:
    lines = scanned(b"".join(encoded(3, row)), 1000)
    cut = data.draw(st.integers(900, lines.end + 100))
    before, after = split_lines(lines, cut)
    records = records_in([lines])
    assert records_in(filter(None, [before])) == [record for record in records if record.offset < cut]
    assert records_in(filter(None, [after])) == [record for record in records if record.offset >= cut]


@settings(deadline=None)
@given(row=rows, data=st.data())
def test_the_beginning_of_one_more_line_is_told_apart_from_what_is_no_line(row: Row, data: st.DataObject) -> None:
    whole, more = b"".join(encoded(3, row)), encode_record(70_000, 3, RecordKind.STDOUT, b"more" * 10)
    cut = data.draw(st.integers(0, len(more) - 1))
    lines, is_cut = scan_lines(whole + more[:cut], 0, 0)
    assert lines is not None
    assert lines.end == len(whole)
    assert is_cut == (cut >= len(more) - 40), "the head is whole: 1 for the array, 5 of time, 1 of source, 2 of length"


@pytest.mark.parametrize(
    "other",
    [
        encode_record(1, 4, RecordKind.STDOUT, b"of another slot"),
        encode_start_record(1, 3, 7, 1),
        pack([1, 3 << 3 | 5, b"a later kind"]),
        pack([1, 3 << 3 | 1, "text"]),
        pack([1, 3 << 3 | 1, b"x" * MAX_RECORD_BYTES]),
        b"\x93\xcf\x00\x00\x00\x00\x00\x00\x00\x01\x19\xc4\x01x",  # a line with its time in eight bytes
        b"\xc1",
    ],
    ids=["slot", "start", "kind", "text", "long", "wide", "garbage"],
)
def test_a_row_ends_before_what_is_no_line_of_its_slot(other: bytes) -> None:
    row = encode_record(1, 3, RecordKind.STDOUT, b"one") + encode_record(70_000, 3, RecordKind.STDERR, b"two")
    lines, is_cut = scan_lines(row + other, 0, 0)
    assert lines is not None
    assert (lines.end, lines.line_count, is_cut) == (len(row), 2, False)


@pytest.mark.parametrize("slot", [24, 25])
def test_sources_that_look_like_marks_of_msgpack_are_read_right(slot: int) -> None:
    """Source 196 is the mark of bin 8, 204 that of an integer of one byte."""
    row = [(70_000, RecordKind.STDERR_PARTIAL, b"x" * 196), (70_000, RecordKind.STDERR_PARTIAL, b"y")]
    lines = scanned(b"".join(encoded(slot, row)))
    assert [(record.slot, record.data) for record in records_in([lines])] == [(slot, b"x" * 196), (slot, b"y")]


def test_a_line_that_nobody_would_write_so_wide_is_a_record_of_its_own() -> None:
    wide = b"\x93\xcf\x00\x00\x00\x00\x00\x00\x00\x01\x19\xc4\x01x"
    narrow = encode_record(1, 3, RecordKind.STDOUT, b"y")
    items, rest = parse_records(b"", narrow + wide + narrow, 0)
    assert [type(item).__name__ for item in items] == ["Lines", "Record", "Lines"]
    assert [record.data for record in records_in(items)] == [b"y", b"x", b"y"]
    assert rest == b""

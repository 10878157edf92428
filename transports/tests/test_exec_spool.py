"""The lines of a target's log as records with offsets, however they are cut."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from transports.protocol import Gap, GapReason, Record, RecordKind
from transports.protocols.exec_spool import MAX_LINE_BYTES, RunEnded, SpoolReader

TEXT = b"s3 12.50 7 1\no3 12.51 one\ne3 12.52 two \nO3 13.00 pie\no3 13.00 ce\nm0f\n\ng3 14.00\nx3 15.00 7 1 143\n"
WHOLE = [
    Record(0, 13, 12500, 3, RecordKind.SYSTEM, start=(7, 1)),
    Record(13, 26, 12510, 3, RecordKind.STDOUT, b"one"),
    Record(26, 40, 12520, 3, RecordKind.STDERR, b"two "),
    Record(40, 53, 13000, 3, RecordKind.STDOUT_PARTIAL, b"pie"),
    Record(53, 65, 13000, 3, RecordKind.STDOUT, b"ce"),
    Record(70, 79, 14000, 3, RecordKind.GAP, lost=(1, 0, GapReason.REFUSED)),
]


def test_each_kind_of_line_is_what_it_says() -> None:
    reader = SpoolReader(0)
    items, ends, bad = reader.feed(TEXT)
    assert items == WHOLE
    assert ends == [RunEnded(7, 1, 3, 79, 143, 15000)]
    assert (bad, reader.position, reader.expected) == (0, len(TEXT), len(TEXT))


@given(st.lists(st.integers(0, len(TEXT)), max_size=8))
def test_any_cut_gives_the_same(cuts: list[int]) -> None:
    reader = SpoolReader(0)
    got: list[object] = []
    for begin, end in itertools.pairwise([0, *sorted(cuts), len(TEXT)]):
        assert reader.position == begin
        got += reader.feed(TEXT[begin:end])[0]
        assert reader.expected <= reader.position
    assert got == WHOLE


def test_half_a_line_is_not_stored_and_read_anew_in_the_next_session() -> None:
    reader = SpoolReader(100)
    assert reader.feed(b"o1 1.00 ha")[0] == []
    assert (reader.expected, reader.position) == (100, 110)
    reader.rewind()
    assert reader.position == 100
    assert reader.feed(b"o1 1.00 half\n")[0] == [Record(100, 113, 1000, 1, RecordKind.STDOUT, b"half")]


def test_after_a_gap_the_first_line_may_be_cut_and_is_part_of_it() -> None:
    reader = SpoolReader(10)
    reader.feed(b"o1 1.00 half")
    assert reader.skip(1000) == [Gap(10, 1000, None, GapReason.OVERWRITTEN)]
    items, _, _ = reader.feed(b"o1 2.00 not the beginning\no1 2.00 whole\n")
    assert items == [Gap(1000, 1026, None, GapReason.OVERWRITTEN), Record(1026, 1040, 2000, 1, RecordKind.STDOUT, b"whole")]


@given(st.binary(max_size=200).filter(lambda line: b"\n" not in line))
def test_what_is_no_line_is_a_gap_of_its_size_or_a_record_of_its_text(line: bytes) -> None:
    reader = SpoolReader(0)
    items, ends, bad = reader.feed(line + b"\n")
    assert reader.expected == len(line) + 1
    if bad:
        assert items == [Gap(0, len(line) + 1, None, GapReason.UNKNOWN)]
    assert bad == 0 or not ends


def test_a_line_without_end_is_bounded() -> None:
    reader = SpoolReader(0)
    items, _, bad = reader.feed(b"o1 1.00 " + b"x" * MAX_LINE_BYTES)
    assert bad == 1
    assert items == [Gap(0, MAX_LINE_BYTES + 8, None, GapReason.UNKNOWN)]
    assert reader.feed(b"rest\no1 2.00 next\n")[0][1:] == [
        Record(MAX_LINE_BYTES + 13, MAX_LINE_BYTES + 26, 2000, 1, RecordKind.STDOUT, b"next")
    ]


def test_a_number_that_no_run_can_have_is_no_line() -> None:
    for line in (b"x3 1.00 7 1 999", b"s3 1.00 7", b"o3 text", b"x3 1.00 7 1", b"o123 1.00 text"):
        _, ends, bad = SpoolReader(0).feed(line + b"\n")
        assert (ends, bad) == ([], 1), line


def test_the_end_of_a_run_that_cannot_be_is_no_line() -> None:
    items, ends, bad = SpoolReader(0).feed(b"x3 15.00 9999999999 1 0\nx3 15.00 7 9999999999 0\n")
    assert (ends, bad) == ([], 2)
    assert items == [Gap(0, 24, None, GapReason.UNKNOWN), Gap(24, 48, None, GapReason.UNKNOWN)]

"""A ring of blocks is a ring of lines: what it keeps, drops, refuses and shows does not depend on how the lines came."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.logs.record import FLAG_PARTIAL, Entry, Gap, GapCause, RawRecord, gap_entry, text_entries, unpack_gap
from gateway.logs.ring import HEADER_BYTES, Ring, RingCorrupt
from gateway.logs.tail import last_lines
from gateway.tests.blocks import ERR, NS_PER_MS, OUT, block, encode, numbered
from gateway.tests.kills import prefixes, snapshots


def make_memory(capacity: int) -> bytearray:
    memory = bytearray(HEADER_BYTES + capacity)
    Ring.format(memoryview(memory), capacity, b"key")
    return memory


def make_ring(capacity: int = 4096) -> Ring:
    return Ring(memoryview(make_memory(capacity)))


def shown(ring: Ring) -> list[RawRecord]:
    return ring.read(ring.oldest(), 1 << 30)


def texts(ring: Ring) -> list[bytes]:
    return [data for _, _, _, data in shown(ring)]


def as_records(entries: list[Entry]) -> list[RawRecord]:
    return [(entry.stamp_ns, entry.stream, int(entry.partial), entry.data) for entry in entries]


# -- reading


def test_a_block_is_read_as_the_lines_that_it_was_made_of() -> None:
    entries = [
        Entry(70_001 * NS_PER_MS, OUT, b"one", False, 1),
        Entry(70_002 * NS_PER_MS, ERR, b"tw", True, 1),
        Entry(70_009 * NS_PER_MS, ERR, b"o\xff", False, 1, 1000),
    ]
    ring = make_ring()
    assert ring.append([block(entries)]) == 3
    assert shown(ring) == as_records(entries)
    assert (ring.records, ring.total_bytes, ring.last_offset, ring.last_stamp_ns) == (3, 7, 1000, 70_009 * NS_PER_MS)
    assert ring.first_stamp_ns == 70_001 * NS_PER_MS


def test_stamps_go_on_over_the_wrap_of_the_devices_clock() -> None:
    before, after = Entry((2**32 - 5) * NS_PER_MS, OUT, b"before"), Entry(3 * NS_PER_MS, OUT, b"after", offset_end=500)
    made = block([before, after])._replace(stamp_ns=1_000_000 * NS_PER_MS)
    ring = make_ring()
    ring.append([made])
    assert [stamp_ns for stamp_ns, _, _, _ in shown(ring)] == [(1_000_000 - 8) * NS_PER_MS, 1_000_000 * NS_PER_MS]


def test_a_cursor_stands_between_blocks_after_any_read() -> None:
    ring = make_ring()
    ring.append([block(numbered(0, 4)), block(numbered(5, 9))])
    cursor = ring.oldest()
    assert len(ring.read(cursor, 1)) == 5
    assert (cursor.seq, cursor.size_bytes, cursor.stamp_ns) == (5, 50, 4 * NS_PER_MS)
    assert [data for _, _, _, data in ring.read(cursor, 1000)] == [b"%010d" % n for n in range(5, 10)]


# -- dropping


def test_the_oldest_block_goes_as_a_whole_and_all_its_lines_are_counted() -> None:
    ring = make_ring(512)
    ring.append([block(numbered(0, 2)), block(numbered(3, 5))])
    while not ring.dropped_records:
        ring.append(text_entries(9 * NS_PER_MS, b"x" * 40))
    assert (ring.dropped_records, ring.dropped_bytes) == (3, 30)
    assert (ring.dropped_from_ns, ring.dropped_to_ns) == (0, 2 * NS_PER_MS)
    assert texts(ring)[:3] == [b"%010d" % n for n in range(3, 6)]


def test_a_block_too_long_for_the_ring_is_cut_between_lines() -> None:
    ring = make_ring(512)
    entries = numbered(0, 39)
    assert ring.append([block(entries)]) == 40
    kept = texts(ring)
    assert kept
    assert kept == [b"%010d" % n for n in range(40 - len(kept), 40)]
    assert ring.records + ring.dropped_records == 40
    assert ring.last_offset == entries[-1].offset_end
    assert ring.append([block(entries)]) == 0


def test_a_line_too_long_for_a_block_comes_in_pieces() -> None:
    ring = make_ring(1024)
    long = Entry(1 * NS_PER_MS, ERR, bytes(range(256)) * 2, False, 1, 600)
    ring.append([block([long])])
    assert b"".join(texts(ring)) == long.data
    assert [flags for _, _, flags, _ in shown(ring)] == [FLAG_PARTIAL, FLAG_PARTIAL, 0][-len(shown(ring)) :]
    assert ring.last_offset == 600


# -- resends


@pytest.mark.parametrize(("first", "last"), [(0, 4), (0, 9), (3, 9), (5, 9), (7, 12)])
def test_a_resend_cut_otherwise_brings_each_line_once(first: int, last: int) -> None:
    ring = make_ring()
    ring.append([block(numbered(0, 6))])
    assert ring.append([block(numbered(first, last))]) == max(last - 6, 0)
    assert texts(ring) == [b"%010d" % n for n in range(max(last, 6) + 1)]
    assert ring.duplicates == last + 1 - first - max(last - 6, 0)


def test_lines_and_blocks_know_each_other() -> None:
    ring = make_ring()
    ring.append(numbered(0, 3))
    ring.append([block(numbered(2, 5))])
    ring.append(numbered(4, 7))
    assert texts(ring) == [b"%010d" % n for n in range(8)]


def test_another_epoch_begins_its_offsets_anew() -> None:
    ring = make_ring()
    ring.append([block(numbered(0, 3))])
    assert ring.append([block(numbered(0, 3, epoch=2))]) == 4


def test_a_gap_declared_anew_leaves_out_the_lines_of_blocks_that_are_held() -> None:
    ring, held = make_ring(), numbered(0, 5)
    ring.append([block(held[:2]), block(held[2:])])
    start, held_to = held[1].offset_end, held[5].offset_end
    ring.append([gap_entry(Gap(10, 260, GapCause.OVERWRITTEN, 1, 9, offset=start), epoch=1, offset_end=held_to + 200)])
    gap = unpack_gap(texts(ring)[-1])
    assert (gap.records, gap.size_bytes, gap.offset) == (6, 200, held_to)


def test_a_ring_can_be_copied_into_another_that_holds_a_part_of_it() -> None:
    old, new = make_ring(), make_ring()
    old.append([block(numbered(2, 5)), *numbered(6, 7), block(numbered(8, 9))])
    new.append([block(numbered(0, 3))])
    new.append(list(old.entries()))
    assert texts(new) == [b"%010d" % n for n in range(10)]


# -- laws

pieces = st.tuples(st.sampled_from([OUT, ERR]), st.booleans(), st.binary(max_size=30))
batches = st.lists(st.tuples(st.booleans(), st.lists(pieces, min_size=1, max_size=8)), max_size=20)


def entries_of(batches: list[tuple[bool, list[tuple[Any, bool, bytes]]]]) -> list[tuple[bool, list[Entry]]]:
    """(as a block?, lines) with running stamps and offsets."""
    offset, number, made = 0, 0, []
    for is_block, lines in batches:
        entries = []
        for stream, partial, data in lines:
            entry = Entry(number * NS_PER_MS, stream, data, partial, 1)
            offset += len(encode(entry))
            number += 1
            entries.append(entry._replace(offset_end=offset))
        made.append((is_block, entries))
    return made


@settings(max_examples=150, deadline=None)
@given(batches=batches, reads=st.randoms(use_true_random=False))
def test_a_ring_of_blocks_is_the_end_of_a_list_of_lines(batches: Any, reads: Any) -> None:
    memory = make_memory(1024)
    ring = Ring(memoryview(memory))
    everything: list[Entry] = []
    cursor, seen = ring.oldest(), 0
    for is_block, entries in entries_of(batches):
        ring.append([block(entries)] if is_block else entries)
        everything += entries
        kept = shown(ring)
        assert kept == as_records(everything[len(everything) - len(kept) :])
        assert ring.dropped_records == len(everything) - len(kept)
        assert ring.dropped_bytes == sum(len(entry.data) for entry in everything[: ring.dropped_records])
        if ring.dropped_records:
            assert ring.dropped_to_ns == everything[ring.dropped_records - 1].stamp_ns
        reopened = Ring(memoryview(memory))
        assert shown(reopened) == kept
        assert (reopened.next_seq, reopened.total_bytes) == (ring.next_seq, ring.total_bytes)
        if reads.random() < 0.5:
            if gap := ring.overtaken(cursor):
                seen += gap.records or 0
            found = ring.read(cursor, reads.randrange(100))
            assert found == as_records(everything[seen : seen + len(found)])
            seen += len(found)
            assert (cursor.seq, cursor.size_bytes) == (seen, sum(len(entry.data) for entry in everything[:seen]))


@settings(max_examples=200, deadline=None)
@given(batches=batches, count=st.integers(0, 30))
@example(batches=[(True, [(OUT, False, b"a"), (OUT, False, b"b"), (OUT, False, b"c")])], count=1)
@example(batches=[(True, [(OUT, True, b"a"), (OUT, False, b"b"), (OUT, False, b"c")])], count=2)
def test_the_last_lines_of_blocks_are_those_of_the_same_entries(batches: Any, count: int) -> None:
    of_blocks, of_entries = make_ring(1 << 16), make_ring(1 << 16)
    for is_block, entries in entries_of(batches):
        of_blocks.append([block(entries)] if is_block else entries)
        of_entries.append(entries)
    told, wanted = last_lines(of_blocks, count), last_lines(of_entries, count)
    assert (told.lines, told.unfinished) == (wanted.lines, wanted.unfinished)
    assert (told.cursor.seq, told.cursor.size_bytes, told.cursor.stamp_ns) == (
        wanted.cursor.seq,
        wanted.cursor.size_bytes,
        wanted.cursor.stamp_ns,
    )
    assert of_blocks.read(told.cursor, 1 << 20) == of_entries.read(wanted.cursor, 1 << 20)


def test_a_reader_that_stands_in_a_block_is_told_what_it_missed_of_it() -> None:
    ring = make_ring(512)
    ring.append([block(numbered(0, 4))])
    cursor = last_lines(ring, 2).cursor
    while ring.dropped_records < 5:
        ring.append(text_entries(9 * NS_PER_MS, b"x" * 40))
    gap = ring.overtaken(cursor)
    assert gap is not None
    assert (gap.records, gap.size_bytes) == (ring.dropped_records - 3, ring.dropped_bytes - 30)
    assert len(ring.read(cursor, 1 << 20)) == ring.records


# -- kills and damage


@pytest.mark.parametrize("before", [0, 3, 9, 14])
@pytest.mark.parametrize("sizes", [[10], [10, 0, 33], [30, 30]])
def test_a_kill_at_any_byte_leaves_whole_blocks(before: int, sizes: list[int]) -> None:
    memory = make_memory(512)
    ring = Ring(memoryview(memory))
    ring.append(numbered(0, before - 1))
    held = numbered(0, before - 1)
    offset = held[-1].offset_end if held else 0
    batch = []
    for size in sizes:
        entry = Entry(100 * NS_PER_MS, OUT, b"n" * size, False, 1)
        offset += len(encode(entry))
        batch.append(entry._replace(offset_end=offset))
    everything = [entry.data for entry in (*held, *batch)]
    states = snapshots(memory, lambda: ring.append([block(batch)]))
    checked = 0
    for old, new in pairwise(states):
        for state in prefixes(old, new):
            reopened = Ring(memoryview(bytearray(state)))
            kept, start = texts(reopened), reopened.dropped_records
            assert kept == everything[start : start + len(kept)]
            assert start + len(kept) >= before, "what was committed before is there or counted as dropped"
            assert reopened.append([block(batch)]) == len(everything) - start - len(kept), "the resend brings the rest, and only that"
            assert texts(reopened) == everything[reopened.dropped_records :]
            checked += 1
    assert checked > 24


def test_a_block_without_its_head_is_refused() -> None:
    memory = make_memory(512)
    Ring(memoryview(memory)).append([block(numbered(0, 2))])
    memory[HEADER_BYTES : HEADER_BYTES + 2] = (4).to_bytes(2, "little")
    with pytest.raises(RingCorrupt):
        Ring(memoryview(memory))


def test_a_ring_of_the_format_before_blocks_is_refused() -> None:
    memory = make_memory(512)
    memory[:8] = b"WLRING01"
    with pytest.raises(RingCorrupt, match="no ring of this version"):
        Ring(memoryview(memory))

"""The ring against a list, and against a kill at every byte."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.logs.record import Entry, Gap, GapCause, Stream, gap_entry, text_entries, unpack_gap
from gateway.logs.ring import HEADER_BYTES, Ring, RingCorrupt
from gateway.logs.tail import Tail, last_lines
from gateway.tests.kills import prefixes, snapshots

OUT, ERR = Stream.STDOUT, Stream.STDERR


def make_memory(capacity: int, extra: int = 0) -> bytearray:
    memory = bytearray(HEADER_BYTES + capacity + extra)
    Ring.format(memoryview(memory), capacity, b"key")
    return memory


def make_ring(capacity: int = 1024) -> Ring:
    return Ring(memoryview(make_memory(capacity)))


def content(ring: Ring) -> list[bytes]:
    return [data for _, _, _, data in ring.read(ring.oldest(), 1 << 30)]


def line(number: int, size: int = 10, epoch: int = 1) -> Entry:
    return Entry(number, OUT, b"%0*d" % (size, number), False, epoch, number + 1)


def test_a_ring_gives_back_what_was_appended() -> None:
    ring = make_ring()
    ring.append([Entry(5, ERR, b"half", True, 7, 100), Entry(6, OUT, b"", False, 7, 110), Entry(7, OUT, b"\xff\r", False, 7, 120)])
    assert ring.read(ring.oldest(), 1000) == [(5, ERR, 1, b"half"), (6, OUT, 0, b""), (7, OUT, 0, b"\xff\r")]
    assert (ring.last_epoch, ring.last_offset, ring.records, ring.key) == (7, 120, 3, b"key")


def test_the_oldest_go_first_and_are_counted() -> None:
    ring = make_ring(512)
    for number in range(100):
        ring.append([line(number)])
    kept = content(ring)
    assert kept == [b"%010d" % n for n in range(100 - len(kept), 100)]
    assert ring.lost_before_oldest() == Gap(100 - len(kept), (100 - len(kept)) * 10, GapCause.LOG_FULL, 0, 99 - len(kept))


def test_a_resend_after_a_kill_is_dropped() -> None:
    ring = make_ring()
    assert ring.append([line(n) for n in range(5)]) == 5
    assert ring.append([line(n) for n in range(8)]) == 3
    assert ring.duplicates == 5
    assert ring.append([line(0, epoch=2)]) == 1
    assert ring.records == 9


def test_a_source_without_offsets_may_repeat_itself() -> None:
    ring = make_ring()
    assert ring.append([Entry(1, OUT, b"login:"), Entry(1, OUT, b"login:")]) == 2


def test_a_gap_declared_anew_leaves_out_what_is_held() -> None:
    ring = make_ring()
    ring.append([Entry(n, OUT, b"x" * 10, False, 1, 20 * (n + 1)) for n in range(5)])  # holds up to 100; 3 records end after 40
    ring.append([gap_entry(Gap(10, 260, GapCause.OVERWRITTEN, 1, 9, offset=40), epoch=1, offset_end=300)])
    gap = unpack_gap(content(ring)[-1])
    assert (gap.records, gap.size_bytes, gap.offset) == (7, 200, 100)
    assert ring.last_offset == 300


def test_lines_that_a_device_refused_are_declared_whole() -> None:
    ring = make_ring()
    ring.append([Entry(1, OUT, b"x", False, 1, 1000)])
    ring.append([gap_entry(Gap(50, 4000, GapCause.REFUSED, 1, 2), epoch=1, offset_end=1010)])
    assert unpack_gap(content(ring)[-1])[:2] == (50, 4000)


def test_a_batch_larger_than_the_ring_keeps_its_end() -> None:
    ring = make_ring(512)
    ring.append([line(n) for n in range(1000)])
    assert content(ring)[-1] == b"%010d" % 999
    assert ring.records + ring.dropped_records == 1000


def test_data_too_long_for_one_record_is_cut_into_pieces() -> None:
    ring = make_ring(1024)
    ring.append([Entry(1, OUT, bytes(range(256)) * 2, False, 3, 600)])
    records = ring.read(ring.oldest(), 10_000)
    assert b"".join(r[3] for r in records) == bytes(range(256)) * 2
    assert [r[2] for r in records] == [1, 0]
    assert ring.last_offset == 600


def test_a_ring_grows_at_its_end_in_any_lap() -> None:
    allowed = [0, 0, 512, 512]
    memory = make_memory(512, extra=1024)
    ring = Ring(memoryview(memory), lambda: allowed.pop(0) if allowed else 0)
    for number in range(200):
        ring.append([line(number)])
    assert ring.capacity == 1536
    assert content(Ring(memoryview(memory))) == content(ring) == [b"%010d" % n for n in range(200 - ring.records, 200)]


def test_a_reader_that_was_overtaken_is_told_how_much_it_missed() -> None:
    ring = make_ring(512)
    ring.append([line(n) for n in range(4)])
    cursor = ring.oldest()
    assert len(ring.read(cursor, 20)) == 2
    ring.append([line(n) for n in range(4, 100)])
    gap = ring.overtaken(cursor)
    assert gap is not None
    assert gap == Gap(98 - ring.records, 10 * (98 - ring.records), GapCause.READER_TOO_SLOW, 1, ring.dropped_to_ns)
    assert len(ring.read(cursor, 1 << 20)) == ring.records
    assert ring.overtaken(cursor) is None


def test_the_last_lines_join_partial_entries() -> None:
    ring = make_ring()
    ring.append(text_entries(1, b"one\ntwo\nthr") + text_entries(2, b"ee\nfo"))
    assert [r[3] for r in ring.read(last_lines(ring, 2).cursor, 1000)] == [b"thr", b"ee", b"fo"]
    assert last_lines(ring, 0).cursor.seq == ring.next_seq
    assert last_lines(ring, 9) == Tail(ring.oldest(), 4, frozenset())


def test_a_closed_ring_is_still_closed_after_reopening() -> None:
    memory = make_memory(512)
    Ring(memoryview(memory)).close()
    assert Ring(memoryview(memory)).closed


@pytest.mark.parametrize("at", [0, 135, 143, 159, HEADER_BYTES + 1])
def test_damaged_memory_is_refused(at: int) -> None:
    memory = make_memory(512)
    Ring(memoryview(memory)).append([line(n) for n in range(5)])
    memory[at] ^= 0xFF
    with pytest.raises(RingCorrupt):
        Ring(memoryview(memory))


# -- against a list

sizes = st.lists(st.integers(0, 120), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(batches=st.lists(sizes, max_size=25), grow=st.lists(st.sampled_from([0, 256]), max_size=4), reads=st.randoms(use_true_random=False))
def test_a_ring_is_the_end_of_a_list(batches: list[list[int]], grow: list[int], reads: Any) -> None:
    memory = make_memory(512, extra=1024)
    grown = iter(grow)
    ring = Ring(memoryview(memory), lambda: next(grown, 0))
    everything: list[bytes] = []
    cursor, seen = ring.oldest(), list[bytes | int]()
    for batch in batches:
        entries = [Entry(len(everything) + n, OUT, bytes([size]) * size) for n, size in enumerate(batch)]
        ring.append(entries)
        everything += [entry.data for entry in entries]
        kept = content(ring)
        assert kept == everything[len(everything) - len(kept) :]
        assert ring.dropped_records == len(everything) - len(kept)
        assert ring.dropped_bytes == sum(map(len, everything)) - sum(map(len, kept))
        assert content(Ring(memoryview(memory))) == kept
        if reads.random() < 0.5:
            if gap := ring.overtaken(cursor):
                assert gap.records
                seen += everything[len(seen) : len(seen) + gap.records]
            seen += [record[3] for record in ring.read(cursor, reads.randrange(300))]
            assert seen == everything[: len(seen)]
            assert cursor.seq == len(seen)
            assert cursor.size_bytes == sum(map(len, everything[: len(seen)]))


# -- against a kill


@pytest.mark.parametrize("before", [0, 3, 9, 14, 40])
@pytest.mark.parametrize("sizes", [[10], [10, 0, 33], [60, 60, 60, 60, 60]])
def test_a_kill_at_any_byte_leaves_whole_records(before: int, sizes: list[int]) -> None:
    memory = make_memory(512)
    ring = Ring(memoryview(memory))
    ring.append([line(n) for n in range(before)])
    everything = [b"%010d" % n for n in range(before)]
    batch = [Entry(100 + n, OUT, b"n" * size, False, 1, 100 + n) for n, size in enumerate(sizes)]
    states = snapshots(memory, lambda: ring.append(batch))
    everything += [entry.data for entry in batch]
    checked = 0
    for old, new in pairwise(states):
        for state in prefixes(old, new):
            reopened = Ring(memoryview(bytearray(state)))
            kept, start = content(reopened), reopened.dropped_records
            assert kept == everything[start : start + len(kept)]
            assert start + len(kept) >= before, "what was committed before is there or counted as dropped"
            assert reopened.append(batch) == len(everything) - start - len(kept), "the resend brings the rest, and only that"
            assert content(reopened) == everything[reopened.dropped_records :]
            checked += 1
    assert checked > 24
    assert content(Ring(memoryview(memory))) == everything[ring.dropped_records :]

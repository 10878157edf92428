"""What kubectl logs shows: tail, since, limit, stamps, lines from pieces, gaps, and followers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from gateway.logs.file import SEGMENT_BYTES
from gateway.logs.reader import LogOptions, read
from gateway.logs.record import Entry, Gap, GapCause, Stream, gap_entry, text_entries
from gateway.logs.store import AttemptKey, LogStore

KEY = AttemptKey("uid", "main", 1)
OUT, ERR = Stream.STDOUT, Stream.STDERR
S = 1_000_000_000
NOON = int(datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC).timestamp()) * S


@dataclass
class FixedClock:
    """Booted at noon."""

    now_ns: int = 100 * S

    def boot_ns(self) -> int:
        return self.now_ns

    def offset_ns(self) -> int:
        return NOON


@pytest.fixture
def store(tmp_path: Path) -> LogStore:
    return LogStore(tmp_path, budget_bytes=1 << 20)


async def show(store: LogStore, *, clock: FixedClock | None = None, **options: object) -> bytes:
    chosen = LogOptions(**options)  # type: ignore[arg-type]  # the options of each test are literal
    return b"".join([piece async for piece in read(store, KEY, chosen, clock=clock or FixedClock())])


def say(store: LogStore, *texts: str, start_s: int = 0, stream: Stream = OUT) -> None:
    store.append(KEY, [Entry((start_s + n) * S, stream, text.encode()) for n, text in enumerate(texts)])


# -- the kubelet's order


async def test_a_log_that_nobody_wrote_to_is_empty(store: LogStore) -> None:
    assert await show(store) == b""


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"),
        ({"tail_lines": 3}, b"7\n8\n9\n"),
        ({"tail_lines": 0}, b""),
        ({"tail_lines": 100}, b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n"),
        ({"since_seconds": 92}, b"8\n9\n"),
        ({"since_time": datetime(2026, 3, 1, 13, 0, 7, 500000, tzinfo=UTC) - timedelta(hours=1)}, b"8\n9\n"),
        ({"since_seconds": 92, "since_time": datetime(2026, 3, 1, 12, 0, 9, tzinfo=UTC)}, b"9\n"),
        ({"since_seconds": 99, "tail_lines": 4}, b"6\n7\n8\n9\n"),
        ({"since_seconds": 92, "tail_lines": 4}, b"8\n9\n"),
        ({"limit_bytes": 5}, b"0\n1\n2"),
        ({"limit_bytes": 3, "tail_lines": 4}, b"6\n7"),
        ({"limit_bytes": 33, "timestamps": True}, b"2026-03-01T12:00:00.000000000Z 0\n"),
    ],
)
async def test_tail_then_since_then_limit(store: LogStore, options: dict[str, object], shown: bytes) -> None:
    say(store, *"0123456789")
    assert await show(store, **options) == shown  # type: ignore[arg-type]  # a table of keyword arguments


async def test_stamps_have_nine_digits_and_stand_before_each_line(store: LogStore) -> None:
    store.append(KEY, [Entry(1_000_000_007, OUT, b"a"), Entry(61 * S, ERR, b"")])
    assert await show(store, timestamps=True) == b"2026-03-01T12:00:01.000000007Z a\n2026-03-01T12:01:01.000000000Z \n"


async def test_bytes_pass_through_raw(store: LogStore) -> None:
    raw = [b"50 %\r100 %\r", b"\x1b[31mred\x1b[0m", b"\xff\xfe\x00", "✓ ok".encode()]
    store.append(KEY, [Entry(1, OUT, data) for data in raw])
    assert await show(store) == b"".join(data + b"\n" for data in raw)


async def test_system_entries_are_never_shown(store: LogStore) -> None:
    store.append(KEY, [Entry(1, Stream.SYSTEM, b"start"), Entry(1, OUT, b"a")])
    assert await show(store, tail_lines=2) == b"a\n"
    assert await show(store) == b"a\n"


# -- lines from pieces


async def test_pieces_of_a_line_are_joined_under_the_stamp_of_the_first(store: LogStore) -> None:
    pieces = [(1, OUT, b"lo", True), (2, ERR, b"warning", False), (3, OUT, b"gin", True), (4, OUT, b":", False)]
    store.append(KEY, [Entry(second * S, stream, data, partial) for second, stream, data, partial in pieces])
    assert await show(store) == b"warning\nlogin:\n"
    assert await show(store, tail_lines=1, timestamps=True) == b"2026-03-01T12:00:02.000000000Z warning\n"
    assert (await show(store, timestamps=True)).endswith(b"12:00:01.000000000Z login:\n")


async def test_an_unfinished_line_is_shown_without_an_end(store: LogStore) -> None:
    store.append(KEY, text_entries(1, b"boot\nlogin: "))
    assert await show(store) == b"boot\nlogin: "


async def test_a_line_without_an_end_does_not_gather_in_memory(store: LogStore) -> None:
    store.append(KEY, [Entry(1, OUT, b"x" * 10_000, True) for _ in range(10)] + [Entry(1, ERR, b"e"), Entry(1, OUT, b"y")])
    assert await show(store) == b"x" * 70_000 + b"\ne\n" + b"x" * 30_000 + b"y\n"


# -- gaps

LOST = Gap(23, 1482, GapCause.OVERWRITTEN, 1_120_000_000, 1_870_000_000)
LOST_LINE = b"--- wirelet gap: 23 records, 1482 bytes, ring overwritten, 12:00:01.120..12:00:01.870 ---\n"


@pytest.mark.parametrize(
    ("gap", "text"),
    [
        (LOST, LOST_LINE),
        (
            Gap(None, None, GapCause.NOBODY_READING, 0, S),
            b"--- wirelet gap: unknown size, nobody was reading, 12:00:00.000..12:00:01.000 ---\n",
        ),
        (Gap(None, 90, GapCause.LOSSY_SENDER, 0, S), b"--- wirelet gap: 90 bytes, lossy sender, 12:00:00.000..12:00:01.000 ---\n"),
        (
            Gap(1, 2, GapCause.REFUSED, 0, 0),
            b"--- wirelet gap: 1 records, 2 bytes, refused by the device, 12:00:00.000..12:00:00.000 ---\n",
        ),
    ],
)
async def test_a_gap_is_a_line_with_the_frozen_words(store: LogStore, gap: Gap, text: bytes) -> None:
    store.append(KEY, [gap_entry(gap)])
    assert await show(store) == text


def test_the_words_of_a_gap_are_those_of_the_specification() -> None:
    spec = (Path(__file__).parents[2] / "firmware-protocol" / "SPEC.md").read_text(encoding="utf-8")
    words = " ".join(spec[spec.index("CAUSE is one of") :].split())
    assert [cause.words for cause in GapCause if f"`{cause.words}`" not in words] == []


async def test_a_gap_stands_on_a_line_of_its_own_and_counts_as_one(store: LogStore) -> None:
    store.append(KEY, [Entry(1, OUT, b"hal", True), gap_entry(LOST), Entry(2 * S, OUT, b"next")])
    assert await show(store) == b"hal\n" + LOST_LINE + b"next\n"
    assert await show(store, tail_lines=2) == LOST_LINE + b"next\n"
    assert await show(store, tail_lines=2, timestamps=True) == (
        b"2026-03-01T12:00:01.870000000Z " + LOST_LINE + b"2026-03-01T12:00:02.000000000Z next\n"
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"--- wirelet gap: 1 records", b"\\--- wirelet gap: 1 records\n"),
        (b"a\n--- wirelet gap: 1 records", b"a\n\\--- wirelet gap: 1 records\n"),
        (b"see --- wirelet gap: above", b"see --- wirelet gap: above\n"),
    ],
)
async def test_a_device_cannot_imitate_a_gap(store: LogStore, text: bytes, shown: bytes) -> None:
    store.append(KEY, [Entry(1, OUT, text)])
    assert await show(store) == shown


async def test_a_device_cannot_imitate_a_gap_in_pieces(store: LogStore) -> None:
    store.append(KEY, [Entry(1, OUT, b"--- wire", True), Entry(1, OUT, b"let gap: 5 records")])
    assert await show(store) == b"\\--- wirelet gap: 5 records\n"


async def test_what_a_full_log_dropped_is_named_at_its_begin(store: LogStore) -> None:
    small = LogStore(store._directory / "small", budget_bytes=SEGMENT_BYTES)
    for number in range(1000):
        small.append(KEY, [Entry(number * 1_000_000, OUT, b"%0100d" % number)])
    shown = (await show(small)).splitlines()
    assert shown[0].startswith(b"--- wirelet gap: ")
    lost = 1000 - (len(shown) - 1)
    assert shown[0] == f"--- wirelet gap: {lost} records, {lost * 100} bytes, log full, 12:00:00.000..12:00:00.{lost - 1} ---".encode()
    assert int(shown[1]) == lost
    assert await show(small, tail_lines=1) == b"%0100d\n" % 999
    assert len((await show(small, tail_lines=len(shown) - 1)).splitlines()) == len(shown) - 1
    assert len((await show(small, tail_lines=5000)).splitlines()) == len(shown)


async def test_a_log_that_was_given_up_says_so(store: LogStore) -> None:
    small = LogStore(store._directory / "small", budget_bytes=SEGMENT_BYTES)
    say(small, "one", "two", "three")
    small.close_attempt(KEY)
    small.append(AttemptKey("another", "main", 1), [Entry(9 * S, OUT, b"takes the room")])
    assert await show(small) == b"--- wirelet gap: 3 records, 11 bytes, log full, 12:00:00.000..12:00:02.000 ---\n"
    assert await show(small, tail_lines=0) == b""


async def test_a_reader_of_much_lets_others_run(store: LogStore) -> None:
    store.append(KEY, [Entry(1, OUT, b"x" * 79) for _ in range(5000)])
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take_turns)
        pieces = [piece async for piece in read(store, KEY, LogOptions(), clock=FixedClock())]
        tasks.cancel_scope.cancel()
    assert turns >= len(pieces) - 1 > 1


# -- followers


DEADLINE_S = 3
"""Never reached when things work."""


async def settle() -> None:
    """Until every follower has seen all and waits."""
    for _ in range(10):
        await checkpoint()


class Follower:
    """One kubectl logs -f that takes a piece when the test says so."""

    def __init__(self, store: LogStore, **options: object) -> None:
        chosen = LogOptions(follow=True, **options)  # type: ignore[arg-type]  # the options of each test are literal
        self.pieces: AsyncIterator[bytes] = read(store, KEY, chosen, clock=FixedClock())

    async def next(self) -> bytes:
        with anyio.fail_after(DEADLINE_S):
            return await anext(self.pieces)

    async def rest(self) -> bytes:
        with anyio.fail_after(DEADLINE_S):
            return b"".join([piece async for piece in self.pieces])


async def test_a_follower_waits_for_a_log_that_does_not_exist_yet(store: LogStore) -> None:
    follower = Follower(store)
    async with anyio.create_task_group() as tasks:

        async def write() -> None:
            await checkpoint()
            say(store, "hello")

        tasks.start_soon(write)
        assert await follower.next() == b"hello\n"


async def test_many_followers_of_one_log_end_with_the_attempt(store: LogStore) -> None:
    say(store, "old", "new")
    seen: list[bytes] = []

    async def follow(tail: int | None) -> None:
        seen.append(await Follower(store, tail_lines=tail).rest())

    async with anyio.create_task_group() as tasks:
        for tail in (None, 0, 1, None):
            tasks.start_soon(follow, tail)
        for number in range(5):
            await checkpoint()
            say(store, f"n{number}")
        await settle()
        store.close_attempt(KEY)
    new = b"n0\nn1\nn2\nn3\nn4\n"
    assert sorted(seen) == sorted([b"old\nnew\n" + new, new, b"new\n" + new, b"old\nnew\n" + new])


async def test_a_follower_of_a_log_that_ended_before_a_restart_ends_at_once(store: LogStore) -> None:
    say(store, "last words")
    store.close_attempt(KEY)
    store.close()
    store.reopen_all()
    assert await Follower(store).rest() == b"last words\n"


async def test_a_follower_ends_when_the_pod_is_gone(store: LogStore) -> None:
    say(store, "a")
    follower = Follower(store)
    assert await follower.next() == b"a\n"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follower.rest)
        await settle()
        store.release("uid")


async def test_a_follower_ends_with_its_limit_of_bytes(store: LogStore) -> None:
    say(store, "one", "two")
    assert await Follower(store, limit_bytes=5).rest() == b"one\nt"


async def test_a_prompt_is_shown_to_a_follower_and_completed_later(store: LogStore) -> None:
    store.append(KEY, text_entries(1, b"login: "))
    follower = Follower(store)
    assert await follower.next() == b"login: "
    store.append(KEY, text_entries(2, b"root\n"))
    assert await follower.next() == b"root\n"
    store.append(KEY, text_entries(3, b"$ "))
    assert await follower.next() == b"$ "
    say(store, "oops", stream=ERR)
    assert await follower.next() == b"\noops\n"


async def test_a_slow_follower_is_told_what_it_missed(store: LogStore) -> None:
    small = LogStore(store._directory / "small", budget_bytes=SEGMENT_BYTES)
    say(small, "first")
    follower = Follower(small)
    assert await follower.next() == b"first\n"
    for number in range(2000):
        small.append(KEY, [Entry(2 * S, OUT, b"%0100d" % number)])
    small.close_attempt(KEY)
    gap, *lines = (await follower.rest()).splitlines()
    lost = 2000 - len(lines)
    assert gap == f"--- wirelet gap: {lost} records, {lost * 100} bytes, reader too slow, 12:00:00.000..12:00:02.000 ---".encode()
    assert [int(line) for line in lines] == list(range(lost, 2000))


async def test_a_follower_gets_large_pieces_when_there_is_much(store: LogStore) -> None:
    store.append(KEY, [Entry(1, OUT, b"x" * 79) for _ in range(5000)])
    store.close_attempt(KEY)
    sizes = [len(piece) async for piece in read(store, KEY, LogOptions(follow=True), clock=FixedClock())]
    assert sum(sizes) == 400_000
    assert all(size >= 4096 for size in sizes)


async def test_a_reader_that_does_not_follow_ends_although_the_log_grows(store: LogStore) -> None:
    say(store, *"abc")
    pieces = read(store, KEY, LogOptions(), clock=FixedClock())
    shown = b""
    async for piece in pieces:
        shown += piece
        assert len(shown) < 10
        say(store, *"defghi")
    assert shown == b"a\nb\nc\n"

"""From a device's stream to the rings: whose a record is, what a gap says, and that nothing is acknowledged before it is stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from gateway.devices.attribution import Run
from gateway.devices.device_log import COPIED_BYTES, COPIED_PARTS
from gateway.devices.ledger import Entry
from gateway.devices.output import DeviceOutput
from gateway.devices.runs import Runs
from gateway.logs.block import Block
from gateway.logs.checkpoint import CheckpointFile, SavedCheckpoint
from gateway.logs.clock import SystemClock
from gateway.logs.reader import LogOptions, read
from gateway.logs.record import Entry as LogEntry
from gateway.logs.record import GapCause
from gateway.logs.store import AttemptKey, DeviceKey, LogKey, LogStore
from transports.protocol import Checkpoint, ClockSample, Gap, GapReason, Item, Lines, Output, Record, RecordKind
from transports.wire.offsets import MAX_OFFSET
from transports.wire.records import encode_record, parse_records

SECOND_NS = 1_000_000_000
NOW_NS = 1_000 * SECOND_NS
RUN = Entry(
    uid="u1", container="main", gen=1, namespace="default", pod="p", device="board", wid=7, state="running", epoch=5, slot=0, start_off=0
)
CLOCK = ClockSample(uptime_ms=10_000, now=990.0)
"""Taken ten seconds ago: a device that only logs is not asked for its clock."""


class Desk:
    def __init__(self, folder: Path, budget_bytes: int = 1 << 20) -> None:
        self.logs = LogStore(folder / "logs", budget_bytes=budget_bytes)
        self.checkpoint = CheckpointFile(folder / "checkpoint")
        self.runs = Runs([RUN])
        self.output = self.new_output()

    def new_output(self) -> DeviceOutput:
        return DeviceOutput("board", self.logs, self.checkpoint, self.runs, clock_offset_ns=lambda: 0, boot_ns=lambda: NOW_NS)

    def close(self) -> None:
        self.logs.close()
        self.checkpoint.close()

    def store(self, *items: Item, end: int, tail: bytes = b"") -> None:
        self.output.store(Output(5, items, Checkpoint(1, 5, end, tail), CLOCK))

    async def log(self, key: LogKey) -> str:
        clock = SystemClock()
        return b"".join([piece async for piece in read(self.logs, key, LogOptions(), clock=clock)]).decode()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def line(offset: int, data: bytes, slot: int = 0) -> Record:
    return Record(offset, offset + 10, 9_000, slot, RecordKind.STDOUT, data)


def row(offset: int, *texts: bytes, slot: int = 0, uptime_ms: int = 9_000) -> Lines:
    """Lines that the device sent one after another."""
    raw = b"".join(encode_record(uptime_ms, slot, RecordKind.STDOUT, text) for text in texts)
    (lines,), rest = parse_records(b"", raw, offset)
    assert isinstance(lines, Lines)
    assert rest == b""
    return lines


MAIN = AttemptKey("u1", "main", 1)


async def test_a_line_is_in_its_runs_log_and_the_checkpoint_follows(desk: Desk) -> None:
    desk.store(Record(0, 10, 9_000, 0, RecordKind.SYSTEM, start=(7, 1)), line(10, b"one"), end=20, tail=b"\x93")
    assert await desk.log(MAIN) == "one\n"
    assert desk.output.stored == 20
    assert desk.output.saved() == Checkpoint(1, 5, 20, b"\x93")


async def test_what_belongs_to_nobody_is_in_the_devices_log(desk: Desk) -> None:
    desk.store(line(0, b"lost child", slot=3), line(10, b"the device itself", slot=31), end=20)
    assert await desk.log(DeviceKey("board")) == "lost child\nthe device itself\n"


async def test_a_batch_that_comes_again_after_a_kill_is_written_once(desk: Desk) -> None:
    desk.store(line(0, b"one"), line(10, b"two"), end=20)
    desk.store(line(0, b"one"), line(10, b"two"), line(20, b"three"), end=30)
    assert await desk.log(MAIN) == "one\ntwo\nthree\n"


@pytest.mark.parametrize("uptime_ms", [19_500, 20_500])
async def test_a_gap_never_ends_before_it_begins(desk: Desk, uptime_ms: int) -> None:
    """The clock sample may be older than the last line, which half a second from now may be the stamp of."""
    desk.store(Record(0, 10, uptime_ms, 0, RecordKind.STDOUT, b"half a second from now"), end=10)
    desk.store(Gap(10, 110, 4, GapReason.OVERWRITTEN), end=110)
    gap = (await desk.log(MAIN)).splitlines()[1]
    assert gap.startswith("--- wirelet gap: 4 records, 100 bytes, ring overwritten, ")
    begin, end = gap.removesuffix(" ---").rsplit(" ", 1)[1].split("..")
    assert begin <= end


async def test_a_gap_of_the_device_is_named_in_each_of_its_runs(desk: Desk) -> None:
    desk.runs.put(
        Entry(
            uid="u2",
            container="side",
            gen=3,
            namespace="default",
            pod="q",
            device="board",
            wid=8,
            state="running",
            epoch=5,
            slot=1,
            start_off=0,
        )
    )
    desk.store(Gap(0, 100, 4, GapReason.OVERWRITTEN), end=100)
    assert "4 records, 100 bytes" in await desk.log(MAIN)
    assert "4 records, 100 bytes" in await desk.log(AttemptKey("u2", "side", 3))


async def test_lines_that_the_device_refused_are_a_gap_of_their_run(desk: Desk) -> None:
    desk.store(Record(0, 10, 9_000, 0, RecordKind.GAP, lost=(3, 60, GapReason.REFUSED)), end=10)
    assert "3 records, 60 bytes, refused by the device" in await desk.log(MAIN)


# -- the order of writing


class Killed(Exception):
    """The process ended here."""


class DyingCheckpoint(CheckpointFile):
    """The kill comes between the rings and the checkpoint."""

    dies = False

    def save(self, value: SavedCheckpoint) -> None:
        if self.dies:
            raise Killed
        super().save(value)


async def test_a_kill_between_ring_and_checkpoint_acknowledges_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    def life() -> tuple[LogStore, DyingCheckpoint, DeviceOutput]:
        logs = LogStore(tmp_path / "logs", budget_bytes=1 << 20)
        logs.reopen_all()
        checkpoint = DyingCheckpoint(tmp_path / "checkpoint")
        return logs, checkpoint, DeviceOutput("board", logs, checkpoint, Runs([RUN]))

    logs, checkpoint, output = life()
    output.store(Output(5, (line(0, b"one"),), Checkpoint(1, 5, 10), CLOCK))
    checkpoint.dies = True
    with pytest.raises(Killed):
        output.store(Output(5, (line(10, b"two"),), Checkpoint(1, 5, 20), CLOCK))
    assert output.stored == 10
    logs.close()
    checkpoint.close()

    logs, checkpoint, output = life()
    assert output.saved() == Checkpoint(1, 5, 10)
    output.store(Output(5, (line(10, b"two"), line(20, b"three")), Checkpoint(1, 5, 30), CLOCK))
    pieces = [piece async for piece in read(logs, MAIN, LogOptions(), clock=SystemClock())]
    assert b"".join(pieces) == b"one\ntwo\nthree\n"
    logs.close()
    checkpoint.close()


class DyingLogs(LogStore):
    """The kill comes before the rings."""

    def append(self, key: LogKey, entries: Sequence[LogEntry | Block]) -> None:
        raise Killed


def test_a_kill_before_the_rings_leaves_the_checkpoint_where_it_was(tmp_path: Path) -> None:
    logs, checkpoint = DyingLogs(tmp_path / "logs", budget_bytes=1 << 20), CheckpointFile(tmp_path / "checkpoint")
    output = DeviceOutput("board", logs, checkpoint, Runs([RUN]))
    with pytest.raises(Killed):
        output.store(Output(5, (line(0, b"one"),), Checkpoint(1, 5, 10), CLOCK))
    assert checkpoint.value is None
    assert output.stored == 0
    logs.close()
    checkpoint.close()


async def test_a_checkpoint_of_another_epoch_says_nothing_about_this_one(desk: Desk) -> None:
    desk.store(line(0, b"one"), end=10)
    desk.output.begin_epoch(6)
    assert desk.output.stored == 0
    desk.runs.put(replace(RUN, gen=2, epoch=6))
    desk.output.store(Output(6, (Record(0, 10, 9_000, 0, RecordKind.SYSTEM, start=(7, 2)), line(10, b"two")), Checkpoint(2, 6, 20), CLOCK))
    assert await desk.log(MAIN) == "one\n"
    assert await desk.log(AttemptKey("u1", "main", 2)) == "two\n"


async def test_runs_that_follow_one_another_in_a_slot_are_told_apart_by_offset(desk: Desk) -> None:
    desk.runs.put(replace(RUN, gen=2, start_off=20))
    start = Record(20, 30, 9_000, 0, RecordKind.SYSTEM, start=(7, 2))
    desk.store(line(0, b"of the first"), line(10, b"also"), start, line(30, b"of the second"), end=40)
    assert await desk.log(MAIN) == "of the first\nalso\n"
    assert await desk.log(AttemptKey("u1", "main", 2)) == "of the second\n"


async def test_a_run_whose_start_record_is_lost_owns_its_lines(desk: Desk) -> None:
    """Its status has told where it begins."""
    desk.runs.put(replace(RUN, gen=2, start_off=20))
    desk.store(line(0, b"of the first"), Gap(10, 30, 2, GapReason.OVERWRITTEN), line(30, b"of the second"), end=40)
    assert "of the second" not in await desk.log(MAIN)
    assert (await desk.log(AttemptKey("u1", "main", 2))).endswith("of the second\n")


async def test_rows_of_several_slots_find_their_runs(desk: Desk) -> None:
    desk.runs.put(replace(RUN, uid="u2", wid=8, slot=1))
    first = row(0, b"one", b"two")
    second = row(first.end, b"aside", slot=1)
    third = row(second.end, b"three")
    own = row(third.end, b"the device itself", slot=31)
    desk.store(first, second, third, own, end=own.end)
    assert await desk.log(MAIN) == "one\ntwo\nthree\n"
    assert await desk.log(AttemptKey("u2", "main", 1)) == "aside\n"
    assert await desk.log(DeviceKey("board")) == "the device itself\n"


async def test_runs_that_began_within_a_row_are_told_apart_by_offset(desk: Desk) -> None:
    """Their start records were lost; their offsets are known from a status."""
    lines = row(0, b"first", b"also first", b"second", b"third")
    second = row(0, b"first", b"also first").end
    third = row(second, b"second").end
    desk.output.begin_epoch(5)
    for gen, begin in ((2, second), (3, third)):
        desk.runs.put(replace(RUN, gen=gen, start_off=begin))
        desk.output.attribution.learn(0, begin, Run(RUN.wid, gen))
    desk.store(lines, end=lines.end)
    assert await desk.log(MAIN) == "first\nalso first\n"
    assert await desk.log(AttemptKey("u1", "main", 2)) == "second\n"
    assert await desk.log(AttemptKey("u1", "main", 3)) == "third\n"


async def test_a_row_that_comes_again_after_a_kill_is_written_once(desk: Desk) -> None:
    desk.store(row(0, b"one", b"two"), end=20)
    again = row(0, b"one", b"two", b"three")
    desk.store(again, end=again.end)
    assert await desk.log(MAIN) == "one\ntwo\nthree\n"


async def test_each_line_of_a_row_has_the_time_at_which_the_device_said_it(desk: Desk) -> None:
    early = encode_record(9_000, 0, RecordKind.STDOUT, b"early")
    late = encode_record(9_250, 0, RecordKind.STDOUT, b"late")
    (lines,), _ = parse_records(b"", early + late, 0)
    desk.store(lines, end=lines.end)
    log = desk.logs.find(MAIN)
    assert log is not None
    assert log.ring is not None
    stamps = [stamp_ns for stamp_ns, _, _, _ in log.ring.read(log.ring.oldest(), 1000)]
    assert stamps == [989 * SECOND_NS, 989 * SECOND_NS + 250_000_000]  # CLOCK: uptime 10 s was at 990 s


async def test_a_log_is_followed_while_somebody_waits_for_more_of_it(desk: Desk) -> None:
    """Then the line does not rest."""
    desk.store(row(0, b"nobody waits"), end=100)
    followed = [desk.output.is_followed]
    news = anyio.Event()

    async def follow() -> None:
        async for _ in read(desk.logs, MAIN, LogOptions(follow=True), clock=SystemClock()):
            news.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        await news.wait()
        await anyio.wait_all_tasks_blocked()
        desk.store(row(100, b"somebody waits"), end=200)
        followed.append(desk.output.is_followed)
        tasks.cancel_scope.cancel()
    desk.store(row(200, b"nobody again"), end=300)
    assert [*followed, desk.output.is_followed] == [False, True, False]


async def test_a_gap_before_a_run_is_not_its_gap(desk: Desk) -> None:
    desk.runs.put(replace(RUN, uid="u2", wid=8, slot=1, start_off=100))
    desk.store(Gap(0, 100, 4, GapReason.OVERWRITTEN), end=100)
    assert "100 bytes" in await desk.log(MAIN)
    assert await desk.log(AttemptKey("u2", "main", 1)) == ""


async def test_a_gap_that_nobody_can_own_is_in_the_devices_log(desk: Desk) -> None:
    desk.runs.forget("u1")
    desk.store(Gap(0, 100, 4, GapReason.OVERWRITTEN), end=100)
    assert "100 bytes" in await desk.log(DeviceKey("board"))


@pytest.mark.parametrize("uptime_ms", [0, 1 << 31, (1 << 32) - 1])
@pytest.mark.parametrize("reason", [0, 1, 77, (1 << 32) - 1])
async def test_wild_numbers_of_a_device_are_stored_like_any(desk: Desk, uptime_ms: int, reason: int) -> None:
    far = MAX_OFFSET - 10
    wild = Record(0, 10, uptime_ms, 0, RecordKind.GAP, lost=((1 << 32) - 1, (1 << 32) - 1, reason))
    desk.store(Record(0, 10, uptime_ms, 0, RecordKind.STDOUT, b"when?"), wild, Gap(10, far, None, reason), end=far)
    assert "when?" in await desk.log(MAIN)
    assert desk.output.stored == far


# -- consoles: the device's own log has everything, and a run's may begin with it


def console_line(offset: int, data: bytes) -> list[Record]:
    return [Record(offset, offset + 10, 9_000, slot, RecordKind.STDOUT, data) for slot in (31, 0)]


def start_record(offset: int, log_from: int) -> Record:
    return Record(offset, offset, 9_000, 0, RecordKind.SYSTEM, start=(7, 1), log_from=log_from)


def own_line(offset: int, data: bytes) -> Record:
    return Record(offset, offset + 10, 9_000, 31, RecordKind.STDOUT, data)


async def test_a_run_s_log_may_begin_with_what_the_device_logged_before_it(desk: Desk) -> None:
    desk.store(own_line(0, b"old"), own_line(10, b"boot"), own_line(20, b"banner"), end=30)
    desk.output.text(b"hook has run\n")
    desk.store(own_line(30, b"up"), end=40)
    desk.store(start_record(40, 10), *console_line(40, b"mine"), end=50)
    assert await desk.log(MAIN) == "boot\nbanner\nhook has run\nup\nmine\n"
    assert await desk.log(DeviceKey("board")) == "old\nboot\nbanner\nhook has run\nup\nmine\n"


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_of_a_long_boot_the_newest_part_is_taken_and_the_rest_named(tmp_path: Path, is_restarted: bool) -> None:
    desk = Desk(tmp_path, budget_bytes=8 << 20)
    lines = [f"{number:06d}".encode() * 20 for number in range(10_000)]
    for number in range(0, len(lines), 10):
        desk.store(*(own_line((number + each) * 10, lines[number + each]) for each in range(10)), end=number * 10 + 100)
    if is_restarted:
        desk.output = desk.new_output()
    desk.store(start_record(len(lines) * 10, 0), end=len(lines) * 10)
    gap, *told = (await desk.log(MAIN)).splitlines()
    assert gap.startswith("--- wirelet gap: unknown size, log full,")
    assert told == [line.decode() for line in lines[-len(told) :]]
    assert COPIED_BYTES - COPIED_BYTES / COPIED_PARTS * 2 <= sum(map(len, told)) <= COPIED_BYTES
    desk.close()


async def test_what_nobody_read_is_named_in_the_run_s_log_and_the_device_s(desk: Desk) -> None:
    desk.store(Record(0, 0, 9_000, 0, RecordKind.SYSTEM, start=(7, 1)), *console_line(0, b"a"), end=10)
    desk.store(Gap(10, None, None, GapReason.NOBODY_READING), *console_line(10, b"b"), end=20)
    for key in (MAIN, DeviceKey("board")):
        before, gap, after = (await desk.log(key)).splitlines()
        assert (before, after) == ("a", "b")
        assert gap.startswith("--- wirelet gap: unknown size, nobody was reading,")
    assert desk.output.gaps == {GapCause.NOBODY_READING: 1}


async def test_what_nobody_read_without_a_run_is_named_once(desk: Desk) -> None:
    desk.runs.forget("u1")
    desk.store(Gap(0, None, None, GapReason.NOBODY_READING), end=0)
    assert (await desk.log(DeviceKey("board"))).count("nobody was reading") == 1

"""From a device's stream to the rings: whose a record is, what a gap says, and that nothing is acknowledged before it is stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.devices.ledger import Entry
from gateway.devices.output import DeviceOutput
from gateway.devices.runs import Runs
from gateway.logs.checkpoint import CheckpointFile
from gateway.logs.clock import SystemClock
from gateway.logs.reader import LogOptions, read
from gateway.logs.store import AttemptKey, DeviceKey, LogKey, LogStore
from transports.protocol import Checkpoint, ClockSample, Gap, GapReason, Output, Record, RecordKind

SECOND_NS = 1_000_000_000
NOW_NS = 1_000 * SECOND_NS
RUN = Entry(
    uid="u1", container="main", gen=1, namespace="default", pod="p", device="board", wid=7, state="running", epoch=5, slot=0, start_off=0
)
CLOCK = ClockSample(uptime_ms=10_000, now=990.0)
"""Taken ten seconds ago: a device that only logs is not asked for its clock."""


class Desk:
    def __init__(self, folder: Path) -> None:
        self.logs = LogStore(folder / "logs", budget_bytes=1 << 20)
        self.checkpoint = CheckpointFile(folder / "checkpoint")
        self.runs = Runs([RUN])
        self.output = DeviceOutput("board", self.logs, self.checkpoint, self.runs, clock_offset_ns=lambda: 0, boot_ns=lambda: NOW_NS)

    def store(self, *items: Record | Gap, end: int, tail: bytes = b"") -> None:
        self.output.store(Output(5, items, Checkpoint(1, 5, end, tail), CLOCK))

    async def log(self, key: LogKey) -> str:
        clock = SystemClock()
        return b"".join([piece async for piece in read(self.logs, key, LogOptions(), clock=clock)]).decode()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.logs.close()
    made.checkpoint.close()


def line(offset: int, data: bytes, slot: int = 0) -> Record:
    return Record(offset, offset + 10, 9_000, slot, RecordKind.STDOUT, data)


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


async def test_a_gap_never_ends_before_it_begins(desk: Desk) -> None:
    """The clock sample may be older than the last line: the gap ends now."""
    desk.store(Record(0, 10, 19_500, 0, RecordKind.STDOUT, b"half a second ago"), end=10)
    desk.store(Gap(10, 110, 4, GapReason.OVERWRITTEN), end=110)
    gap = (await desk.log(MAIN)).splitlines()[1]
    assert gap.startswith("--- wirelet gap: 4 records, 100 bytes, ring overwritten, ")
    begin, end = gap.removesuffix(" ---").rsplit(" ", 1)[1].split("..")
    assert begin < end


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

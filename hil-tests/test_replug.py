"""A supervisor, our protocol and a simulated board in its own process, with a bad cable between them: nothing that was said is lost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import board_on_a_cable
import pytest
from cable import Cable
from wire import Line

from transports.device import Device
from transports.protocol import (
    Checkpoint,
    Event,
    Gap,
    Joined,
    Left,
    Listed,
    Output,
    Record,
    RecordKind,
    StartWorkload,
    WorkloadChanged,
    WorkloadState,
)
from transports.protocols.framed import FramedProtocol
from transports.serial import SerialLinkOpener
from transports.serial_options import PortSettings
from transports.tests.taken_apart import taken_apart

BAUD = 460800
SLOW = Line(baud=BAUD)
FIREHOSE_LINES = 1500
"""80 bytes each: about three seconds of line time at this rate, so that every fault falls into the log."""


@dataclass
class Shelf:
    """A DeviceSink that keeps what it is given, as the rings would."""

    items: list[Record | Gap] = field(default_factory=list)
    events: list[Event | Exception | None] = field(default_factory=list)
    checkpoint: Checkpoint | None = None
    changed: anyio.Event = field(default_factory=anyio.Event)

    def store(self, device: str, output: Output) -> bool:
        self.items += taken_apart(output.items)
        self.checkpoint = output.checkpoint
        self._wake()
        return False

    async def settle(self, device: str) -> None:
        raise AssertionError("nothing follows from what is stored here")

    async def happened(self, device: str, event: Event) -> None:
        self.events.append(event)
        self._wake()

    async def link_changed(self, device: str, error: Exception | None) -> None:
        self.events.append(error)
        self._wake()

    async def until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            self.changed = anyio.Event()
            await self.changed.wait()

    def lines(self) -> list[bytes]:
        return [item.data for item in self.items if isinstance(item, Record) and item.kind is RecordKind.STDOUT]

    def gaps(self) -> list[Gap]:
        return [item for item in self.items if isinstance(item, Gap)]

    def joins(self) -> list[Joined]:
        return [event for event in self.events if isinstance(event, Joined)]

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    def _wake(self) -> None:
        self.changed.set()


@dataclass
class Rig:
    cable: Cable
    shelf: Shelf
    device: Device
    board: subprocess.Popen[str]
    power: Callable[[], subprocess.Popen[str]]


@asynccontextmanager
async def rig(folder: Path, line: Line, *, seed: int = 1) -> AsyncIterator[Rig]:
    near, far = folder / "near", folder / "far"

    def power() -> subprocess.Popen[str]:
        argv = [sys.executable, board_on_a_cable.__file__, str(far), "--line-bytes-per-s", str(BAUD / 10)]
        board = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert board.stdout
        assert board.stdout.readline() == "powered\n"
        return board

    shelf = Shelf()
    rng = random.Random(seed)
    protocol = FramedProtocol(None, gateway_id=1, line_bytes_per_s=BAUD / 10, rng=rng)
    device = Device("board-a", SerialLinkOpener(str(near), PortSettings(baud=BAUD)), protocol, shelf, rng=rng)
    with Cable(near, far, a_to_b=line, b_to_a=line, seed=seed) as cable:
        board = await anyio.to_thread.run_sync(power)
        table = Rig(cable, shelf, device, board, power)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(device.run)
                yield table
                tasks.cancel_scope.cancel()
        finally:
            table.board.kill()
            table.board.wait()
            if table.board.stdout:
                table.board.stdout.close()


async def run_firehose(table: Rig) -> None:
    await table.shelf.until(lambda: table.device.is_ready)
    status = await table.device.request(StartWorkload(7, 1, "firehose", ("--count", str(FIREHOSE_LINES))))
    assert status is not None
    assert status.state in (WorkloadState.STARTING, WorkloadState.RUNNING)


async def until_everything_is_stored(shelf: Shelf) -> None:
    def has_ended() -> bool:
        ends = [event.status for event in shelf.events if isinstance(event, WorkloadChanged)]
        ends += [status for event in shelf.events if isinstance(event, Listed) for status in event.workloads]
        end_offs = [end.end_off for end in ends if end.state is WorkloadState.EXITED and end.end_off is not None]
        return bool(end_offs) and shelf.checkpoint is not None and shelf.checkpoint.expected >= end_offs[-1]

    await shelf.until(has_ended)


def assert_complete(shelf: Shelf) -> None:
    assert [int(line.split()[0]) for line in shelf.lines()] == list(range(1, FIREHOSE_LINES + 1))
    assert shelf.gaps() == []


async def test_replugs_during_a_log_lose_nothing_and_keep_the_epoch(tmp_path: Path) -> None:
    async with rig(tmp_path, SLOW) as table:
        await run_firehose(table)
        for replug in range(1, 4):
            seen = len(table.shelf.items)
            await table.shelf.until(lambda seen=seen: len(table.shelf.items) > seen + 100)  # type: ignore[misc]  # mypy infers no default
            table.cable.unplug("a")
            await table.shelf.until(lambda replug=replug: table.shelf.count(Left) == replug)  # type: ignore[misc]  # as above
            table.cable.plug("a")
            await table.shelf.until(lambda replug=replug: table.shelf.count(Listed) > replug)  # type: ignore[misc]  # as above
        await until_everything_is_stored(table.shelf)
    assert_complete(table.shelf)
    joins = table.shelf.joins()
    assert len({(join.epoch, join.boot_id) for join in joins}) == 1
    assert [join.new_boot for join in joins] == [True, False, False, False]


@pytest.mark.parametrize(
    "line",
    [
        Line(baud=BAUD, flip=2e-5, lose=2e-5, double=2e-5, noise=2e-5),
        Line(baud=BAUD, latency_s=0.016, chunk_bytes=62),
        Line(baud=BAUD, chunk_bytes=1),
    ],
    ids=["noisy", "ftdi", "byte by byte"],
)
async def test_a_bad_line_costs_time_and_no_line_of_the_log(tmp_path: Path, line: Line) -> None:
    async with rig(tmp_path, line) as table:
        await run_firehose(table)
        await until_everything_is_stored(table.shelf)
    assert_complete(table.shelf)
    assert len({join.epoch for join in table.shelf.joins()}) == 1
    if line.spoils:
        assert table.device.counters.rx_bad > 0


async def test_a_killed_board_comes_back_as_another_boot(tmp_path: Path) -> None:
    async with rig(tmp_path, SLOW) as table:
        await run_firehose(table)
        await table.shelf.until(lambda: len(table.shelf.items) > 100)
        table.board.send_signal(signal.SIGKILL)
        await anyio.to_thread.run_sync(table.board.wait)
        if table.board.stdout:
            table.board.stdout.close()
        await table.shelf.until(lambda: table.shelf.count(Left) == 1)  # by its silence: nobody pulled the cable
        table.board = await anyio.to_thread.run_sync(table.power)
        await table.shelf.until(lambda: table.shelf.count(Listed) == 2)
    first, second = table.shelf.joins()
    assert second.new_boot
    assert second.epoch != first.epoch
    assert first.device_id == second.device_id
    numbers = [int(line.split()[0]) for line in table.shelf.lines()]
    assert numbers == list(range(1, len(numbers) + 1))

"""Boards, ledger, rings and workloads on one desk, with fake devices plugged in: what the pod controller would see, step by step."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import anyio.lowlevel
import pytest

from gateway.devices.board import Board
from gateway.devices.events import DeviceEvents
from gateway.devices.identity import workload_id
from gateway.devices.known_boards import KnownBoards
from gateway.devices.ledger import Entry, Ledger
from gateway.devices.output import DeviceOutput
from gateway.devices.runbook import RunBook
from gateway.devices.runs import Runs
from gateway.devices.workloads import DeviceWorkloads
from gateway.logs.checkpoint import CheckpointFile, checkpoint_path
from gateway.logs.clock import SystemClock
from gateway.logs.reader import LogOptions, read
from gateway.logs.store import AttemptKey, DeviceKey, LogKey, LogStore
from gateway.pods.seams import Attempt, AttemptState, Claims, PodIdentity, PodUid, Program, StartRefused
from gateway.tests.fake_device import FakeDevice
from transports.protocol import RemoveWorkload, Request, StartWorkload, StopWorkload

UID: Final = PodUid("6f1f4a52-6d0c-4c8e-9a55-0d5f0d9a3c01")
POD: Final = PodIdentity(UID, "default", "hello")
OTHER: Final = PodIdentity(PodUid("11111111-2222-4333-8444-555555555555"), "default", "other")
WID: Final = workload_id(UID, "main")
NO_CLAIMS: Final = Claims(containers={"main": {}})
WAIT_S: Final = 100.0
"""On a clock that jumps."""


class Desk:
    """One life of a gateway. The files in folder outlive it."""

    def __init__(self, folder: Path, devices: Iterable[FakeDevice], **board: object) -> None:
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.logs = LogStore(folder / "logs", budget_bytes=8 << 20)
        self.logs.reopen_all()
        (folder / "checkpoints").mkdir(exist_ok=True)
        self.devices = {device.name: device for device in devices}
        self.told: list[PodUid] = []
        """Every pod that was said to have changed."""
        self._moved = anyio.Event()
        self.runs = Runs(self.ledger.entries())
        self.book = RunBook(self.runs, self.ledger, self.logs, self._changed, lambda: 1_700_000_000.0)
        self._checkpoints: list[CheckpointFile] = []
        self.boards = {device.name: self._board(folder, device, board) for device in self.devices.values()}
        self.events = DeviceEvents(self.boards, self.book, KnownBoards(self.ledger), anyio.current_time, lambda: 1_700_000_000.0)
        self.events.fleet_changed = self._wake
        self.workloads = DeviceWorkloads(self.boards, self.book, self.events, anyio.current_time)
        for device in self.devices.values():
            device.sink = self.events

    def _board(self, folder: Path, device: FakeDevice, changes: dict[str, object]) -> Board:
        checkpoint = CheckpointFile(checkpoint_path(folder / "checkpoints", device.name))
        self._checkpoints.append(checkpoint)
        board = Board(
            name=device.name,
            class_name="sim",
            slots=device.slots,
            shared=True,
            grace_s=30.0,
            link_name="fake",
            requester=device,
            output=DeviceOutput(device.name, self.logs, checkpoint, self.runs),
        )
        for name, value in changes.items():
            setattr(board, name, value)
        return board

    def close(self) -> None:
        self.logs.close()
        for checkpoint in self._checkpoints:
            checkpoint.close()
        self.ledger.close()

    def _changed(self, uid: PodUid) -> None:
        self.told.append(uid)
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()

    # -- what a test does

    async def until(self, met: Callable[[], bool]) -> None:
        with anyio.fail_after(WAIT_S):
            while not met():
                with anyio.move_on_after(1.0):
                    await self._moved.wait()

    async def handled(self) -> None:
        """Everything that the devices said has had its effect, and the requests that follow from it were made."""
        for _ in range(5):
            for device in self.devices.values():
                await device.told()
            for _ in range(10):
                await anyio.lowlevel.checkpoint()

    async def start(self, container: str = "main", gen: int = 1, *, pod: PodIdentity = POD, claims: Claims | None = None) -> None:
        program = Program(image="counter", argv=("--rate", "1"))
        await self.workloads.start(pod, container, gen, program, claims or Claims(containers={container: {}}))

    async def stop(self, container: str = "main", grace_s: float = 5.0, *, pod: PodIdentity = POD) -> None:
        await self.workloads.stop(pod.uid, container, grace_s)

    def attempt(self, container: str = "main", *, pod: PodIdentity = POD) -> Attempt:
        return self.workloads.observe(pod.uid).attempts[container][-1]

    def state(self, container: str = "main", *, pod: PodIdentity = POD) -> AttemptState | None:
        history = self.workloads.observe(pod.uid).attempts.get(container)
        return history[-1].state if history else None

    async def exited(self, container: str = "main", *, pod: PodIdentity = POD) -> Attempt:
        await self.until(lambda: self.state(container, pod=pod) is AttemptState.EXITED)
        return self.attempt(container, pod=pod)

    async def log(self, container: str = "main", gen: int = 1, *, pod: PodIdentity = POD) -> str:
        return await self._read(AttemptKey(pod.uid, container, gen))

    async def device_log(self, device: str = "dev") -> str:
        return await self._read(DeviceKey(device))

    async def _read(self, key: LogKey) -> str:
        pieces = [piece async for piece in read(self.logs, key, LogOptions(), clock=SystemClock())]
        return b"".join(pieces).decode()


@asynccontextmanager
async def desk(folder: Path, *devices: FakeDevice, **board: object) -> AsyncIterator[Desk]:
    """A gateway from start to end, with devices that are powered and not connected yet."""
    made = Desk(folder, devices, **board)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.events.run)
            tasks.start_soon(made.workloads.run)
            for device in devices:
                tasks.start_soon(device.run)
            await anyio.lowlevel.checkpoint()
            yield made
            tasks.cancel_scope.cancel()
    finally:
        for device in devices:
            device.gateway_died()
        made.close()


def entry(state: AttemptState = AttemptState.RUNNING, *, device: str = "dev", container: str = "main", gen: int = 1) -> Entry:
    """A line of the ledger, as an earlier life of the gateway left it."""
    return Entry(UID, container, gen, "default", "hello", device, workload_id(UID, container), state.value)


def asked(device: FakeDevice, kind: type[Request]) -> list[tuple[int, int]]:
    """(wid, gen) of every request of this kind that the device got."""
    runs = (request for request in device.asked if isinstance(request, StartWorkload | StopWorkload | RemoveWorkload))
    return [(request.wid, request.gen) for request in runs if isinstance(request, kind)]


async def refused(table: Desk) -> None:
    with pytest.raises(StartRefused):
        await table.start()


async def lose_a_start(table: Desk, device: FakeDevice) -> None:
    """START goes out, does not arrive, and the session is lost: an intent is left."""
    device.held.add(StartWorkload)
    device.deaf_to.add(StartWorkload)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(refused, table)
        await table.until(lambda: bool(device.asked))
        device.lose()
    device.held.clear()
    device.deaf_to.clear()
    device.asked.clear()
    assert table.state() is AttemptState.INTENDED

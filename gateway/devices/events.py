"""What devices say, and what follows from it: the gateway's DeviceSink.

**When the cable is pulled** this is the place to read: `link_changed` and `Left` mark the board as away and wake its pods, whose Ready
turns False; nothing is stopped. `Joined` tells whether the device was reset meanwhile, and `Listed` decides about every run: still there ->
adopted, absent after a reset -> ended by the reboot, absent in the same boot -> it never started and may be sent again.

An end is reported when the log is stored up to it, or when nothing came for a while and the rest is declared lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import anyio
from anyio.abc import TaskGroup

from gateway.devices import exits
from gateway.devices.attribution import Run
from gateway.devices.board import Board
from gateway.devices.identity import uid_of_tag
from gateway.devices.ledger import Entry
from gateway.devices.runbook import UNKNOWN_CONTAINER, RunBook
from gateway.devices.runs import is_live
from gateway.pods.seams import AttemptState
from transports.errors import TransportError
from transports.protocol import (
    Answered,
    Away,
    Event,
    Inventoried,
    Joined,
    Left,
    Listed,
    Output,
    Problem,
    RemoveWorkload,
    RequestLost,
    Returned,
    Text,
    WorkloadChanged,
    WorkloadState,
    WorkloadStatus,
)

_logger = logging.getLogger(__name__)

DRAIN_PATIENCE_S: Final = 5.0
"""How long the log may stand still before the end of a run is told without the rest (SPEC.md, LOG)."""


@dataclass(slots=True, eq=False)
class _Draining:
    """A run that has ended on the device while some of its log is still on the way."""

    entry: Entry
    end: exits.Exit
    end_off: int
    moved_at: float


class DeviceEvents:
    """One object for all devices. run() owns the tasks that must not hold up a device's events."""

    def __init__(self, boards: Mapping[str, Board], book: RunBook, loop_time: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self._boards = boards
        self._book = book
        self._loop_time = loop_time
        self._draining: dict[tuple[str, int, int], _Draining] = {}
        self._wake = anyio.Event()
        self._tasks: TaskGroup | None = None
        self.fleet_changed: Callable[[], None] = lambda: None
        """Called when capacity, conditions or the device table may have changed."""

    async def run(self) -> None:
        """Watch runs whose log does not arrive; until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            while True:
                await self._give_up_on_stuck()
                wake = self._wake
                deadline = min((run.moved_at + DRAIN_PATIENCE_S for run in self._draining.values()), default=None)
                with anyio.move_on_after(None if deadline is None else max(0.0, deadline - self._loop_time())):
                    await wake.wait()

    # -- DeviceSink

    async def store(self, device: str, output: Output) -> None:
        board = self._boards[device]
        board.last_seen_s = self._wall_clock()
        board.output.store(output)
        await self._drained(board)

    async def link_changed(self, device: str, error: Exception | None) -> None:
        board = self._boards[device]
        board.problem = str(error) if error is not None else "no answer from the device yet"
        if error is not None:
            _logger.warning("link is down", extra={"device": device, "why": str(error)})
            board.is_ready = False
            self._pods_notice(board)
        board.touch()
        self.fleet_changed()

    async def happened(self, device: str, event: Event) -> None:
        board = self._boards[device]
        if not isinstance(event, Left):
            board.last_seen_s = self._wall_clock()
        match event:
            case Joined():
                self._joined(board, event)
            case Listed():
                await self._listed(board, event.workloads)
            case Inventoried():
                board.inventory = event.inventory
                self._pods_notice(board)
            case WorkloadChanged():
                await self.status(board, event.status)
            case Left():
                self._left(board, event.why)
            case Away():
                board.is_away_by_itself = True
            case Returned():
                board.is_away_by_itself = False
            case Text():
                board.output.text(event.data)
            case Problem():
                board.problem = f"{event.reason}: {event.message}"
                _logger.warning("device problem", extra={"device": device, "reason": event.reason, "why": event.message})
            case Output() | Answered() | RequestLost():
                raise AssertionError("outputs go to store, answers to their caller")
        board.touch()
        self.fleet_changed()

    # -- statuses

    async def status(self, board: Board, status: WorkloadStatus) -> None:
        """A status record from START's answer, LIST, STARTED or EXITED."""
        board.output.attribution.learn(status.slot, status.start_off, Run(status.wid, status.gen))
        entry = self._book.runs.of_wid(board.name, status.wid, status.gen)
        if entry is None:
            self._unknown(board, status)
        elif not is_live(entry):
            self._remove(board, status.wid, status.gen)
        elif status.state is not WorkloadState.EXITED:
            await self._book.running(entry, status, board.output.epoch or 0)
        else:
            if entry.started_at is None:
                await self._book.running(entry, status, board.output.epoch or 0)
                entry = self._book.runs.get(entry.uid, entry.container, entry.gen) or entry
            end_off = status.end_off if status.end_off is not None else status.start_off
            run = _Draining(entry, exits.of_status(status), end_off, self._loop_time())
            self._draining.setdefault((board.name, status.wid, status.gen), run)
            await self._drained(board)
            self._wake.set()

    async def _drained(self, board: Board) -> None:
        """Tell the ends of runs whose log is complete."""
        for key, run in list(self._draining.items()):
            if key[0] != board.name:
                continue
            run.moved_at = self._loop_time()
            if board.output.stored >= run.end_off:
                await self._ended(board, run)

    async def _give_up_on_stuck(self) -> None:
        self._wake = anyio.Event()
        now = self._loop_time()
        for key, run in list(self._draining.items()):
            board = self._boards[key[0]]
            if now - run.moved_at >= DRAIN_PATIENCE_S and (board.is_ready or board.away_since is None):
                board.output.declare_lost(run.entry, max(0, run.end_off - board.output.stored))
                await self._ended(board, run)
            elif now - run.moved_at >= DRAIN_PATIENCE_S:
                run.moved_at = now

    async def _ended(self, board: Board, run: _Draining) -> None:
        self._draining.pop((board.name, run.entry.wid, run.entry.gen), None)
        entry = self._book.runs.get(run.entry.uid, run.entry.container, run.entry.gen)
        if entry is not None and is_live(entry):
            await self._book.exited(entry, run.end)
        self._remove(board, run.entry.wid, run.entry.gen)
        board.touch()

    # -- sessions

    def _joined(self, board: Board, event: Joined) -> None:
        board.output.begin_epoch(event.epoch)
        board.new_boot = event.new_boot
        board.boot_id, board.reset_cause, board.boot_off = event.boot_id, event.reset_cause, event.boot_off
        board.boots += event.new_boot
        board.problem = ""
        if event.new_boot and board.has_ever_listed:
            cause = exits.of_reboot(event.reset_cause).message
            _logger.info("device restarted", extra={"device": board.name, "why": cause})

    async def _listed(self, board: Board, workloads: tuple[WorkloadStatus, ...]) -> None:
        board.is_ready, board.has_ever_listed = True, True
        board.away_since, board.is_away_by_itself, board.is_dirty = None, False, board.is_dirty and not board.new_boot
        seen = {(status.wid, status.gen) for status in workloads}
        for entry in self._book.runs.live_on(board.name):
            if (entry.wid, entry.gen) not in seen:
                await self._absent(board, entry)
        for status in workloads:
            await self.status(board, status)
        self._pods_notice(board)
        _logger.info("device is ready", extra={"device": board.name, "workloads": len(workloads)})

    async def _absent(self, board: Board, entry: Entry) -> None:
        """A run that the device does not have. An intent that never started may be sent again, in the same boot."""
        draining = self._draining.get((board.name, entry.wid, entry.gen))
        if entry.container.startswith(UNKNOWN_CONTAINER):
            self._book.runs.forget_container(entry.uid, entry.container)
        elif draining is not None:
            board.output.declare_lost(entry, None)
            await self._ended(board, draining)
        elif entry.state == AttemptState.INTENDED.value and not board.new_boot:
            return
        else:
            # In a ring that outlived the reset, what it wrote before ends where the new boot begins.
            end_off = board.boot_off if entry.epoch == board.output.epoch else 0
            run = _Draining(entry, exits.of_reboot(board.reset_cause), end_off, self._loop_time())
            self._draining[board.name, entry.wid, entry.gen] = run
            await self._drained(board)
            self._wake.set()

    def _left(self, board: Board, why: str) -> None:
        board.problem = why
        if board.is_ready or board.away_since is None:
            board.away_since = self._loop_time()
        board.is_ready = False
        self._pods_notice(board)

    def _unknown(self, board: Board, status: WorkloadStatus) -> None:
        """A run without a ledger entry. Ended: let it go. Alive: its pod's plan decides, after the pod list is known."""
        uid = uid_of_tag(status.tag)
        if uid is None or status.state is WorkloadState.EXITED:
            self._remove(board, status.wid, status.gen)
            return
        self._book.remember_unknown(
            Entry(
                uid=uid,
                container=f"{UNKNOWN_CONTAINER}{status.wid:08x}",
                gen=status.gen,
                namespace="",
                pod="",
                device=board.name,
                wid=status.wid,
                state=AttemptState.RUNNING.value,
                epoch=board.output.epoch,
                slot=status.slot,
                start_off=status.start_off,
            )
        )

    def _remove(self, board: Board, wid: int, gen: int) -> None:
        """Free the device's slot and exit record; in a task of its own, because the answer comes through the caller."""
        if self._tasks is not None:
            self._tasks.start_soon(self._send_remove, board, wid, gen)

    async def _send_remove(self, board: Board, wid: int, gen: int) -> None:
        try:
            await board.requester.request(RemoveWorkload(wid, gen))
        except TransportError as error:
            _logger.info("exit record stays until the next LIST", extra={"device": board.name, "why": str(error)})
        finally:
            board.touch()

    def _pods_notice(self, board: Board) -> None:
        for uid in {entry.uid for entry in self._book.runs.live_on(board.name)}:
            self._book.tell(uid)

"""What devices say, and what follows from it: the gateway's DeviceSink.

**When the cable is pulled** this is the place to read: `link_changed` and `Left` mark the board as away and wake its pods, whose Ready
turns False; nothing is stopped. `Joined` tells whether the device was reset meanwhile, and `Listed` decides about every run: still there ->
adopted, absent after a reset -> ended by the reboot, an intent that is absent in the boot for which it was made -> it never started and may
be sent again. What only the device remembers is a witness too: it is kept, and its exit record stays, until it is known whose it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final

import anyio
from anyio.abc import TaskGroup

from gateway.devices import exits
from gateway.devices.attribution import Run
from gateway.devices.board import Board
from gateway.devices.drains import Drains
from gateway.devices.identity import is_unnamed, uid_of_tag, uid_without_tag, unnamed
from gateway.devices.known_boards import KnownBoards, refusal
from gateway.devices.ledger import Entry, RunKey
from gateway.devices.node_names import without_nodes
from gateway.devices.runbook import RunBook
from gateway.devices.runs import is_live
from gateway.pods.seams import AttemptState
from transports.errors import TransportError
from transports.protocol import (
    ANOTHER_DEVICE,
    BAUD_MISMATCH,
    OUTPUT_HELD,
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
    Reported,
    Request,
    RequestLost,
    Returned,
    StopWorkload,
    Text,
    WorkloadChanged,
    WorkloadState,
    WorkloadStatus,
)

_logger = logging.getLogger(__name__)

SWAPPED: Final = "DeviceSwapped"
"""Reason of an event: another board answers than before, or than is meant."""
FAULTS: Final = {BAUD_MISMATCH: BAUD_MISMATCH, OUTPUT_HELD: OUTPUT_HELD, ANOTHER_DEVICE: SWAPPED}
"""Problems that are worth an event; the others come and go, and stand in the condition."""


class DeviceEvents:
    """One object for all devices. run() owns the tasks that must not hold up a device's events."""

    def __init__(
        self,
        boards: Mapping[str, Board],
        book: RunBook,
        known: KnownBoards,
        loop_time: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._wall_clock = wall_clock
        self._boards = boards
        self._book = book
        self._known = known
        self._loop_time = loop_time
        self._drains = Drains(boards, book.runs, loop_time, self._ended)
        self._tasks: TaskGroup | None = None
        self.fleet_changed: Callable[[], None] = lambda: None
        """Called when capacity, conditions or the device table may have changed."""
        self.fault_told: Callable[[str, str, str], None] = lambda device, reason, message: None
        """Called with a problem that stays until a person changes something."""

    async def run(self) -> None:
        """Until cancelled. Start it before the supervisors."""
        async with anyio.create_task_group() as self._tasks:
            try:
                await self._drains.run()
            finally:
                self._tasks = None  # at the end supervisors may still be in a commit of the ledger, and then ask for more

    # -- DeviceSink

    def store(self, device: str, output: Output) -> bool:
        board = self._boards[device]
        board.last_seen_s = self._wall_clock()
        board.output.store(output)
        return self._drains.is_waiting(board)

    async def settle(self, device: str) -> None:
        await self._drains.moved(self._boards[device])

    async def link_changed(self, device: str, error: Exception | None) -> None:
        board = self._boards[device]
        board.trouble = str(error) if error is not None else "no answer from the device yet"
        if error is not None:
            _tell(board, logging.WARNING, "link is down", why=str(error))
            if board.is_ready:
                board.away_since = self._loop_time()
            board.has_session = board.is_ready = False
            board.stranger = ""
            self._pods_notice(board)
        board.touch()
        self.fleet_changed()

    def refuses(self, device: str, device_id: bytes) -> str | None:
        """Why a board that says it is device_id gets no session; called before it has one."""
        board = self._boards[device]
        why = refusal(device_id, board.wanted_id, self._known.boards.get(device), names_a_board=board.names_a_board)
        if (why or "") != board.stranger:
            board.stranger = why or ""
            board.touch()
            self.fleet_changed()
        return why

    async def happened(self, device: str, event: Event) -> None:
        board = self._boards[device]
        if not isinstance(event, Left):
            board.last_seen_s = self._wall_clock()
        match event:
            case Joined():
                await self._joined(board, event)
            case Listed():
                await self._listed(board, event.workloads)
            case Inventoried():
                board.inventory = event.inventory
                self._book.slots.room_is_made()
            case Reported():
                board.stats, board.stats_at = event.stats, self._loop_time()
            case WorkloadChanged():
                await self.status(board, event.status)
            case Left():
                self._left(board, event.why)
            case Away():
                board.goes_away(self._loop_time(), event.duration_ms / 1000)
            case Returned():
                board.is_away_by_itself = False
            case Text():
                board.output.text(event.data)
            case Problem():
                board.trouble = f"{event.reason}: {event.message}"
                _logger.warning("device problem", extra={"device": device, "reason": event.reason, "why": event.message})
                if event.reason in FAULTS:
                    self.fault_told(device, FAULTS[event.reason], without_nodes(event.message, board.link_name))
            case Output() | Answered() | RequestLost():
                raise AssertionError("outputs go to store, answers to their caller")
        board.touch()
        if not isinstance(event, WorkloadChanged | Text | Reported):  # those say nothing about the device itself
            self.fleet_changed()

    # -- statuses

    async def status(self, board: Board, status: WorkloadStatus) -> None:
        """A status record from LIST, STARTED or EXITED."""
        run = (board.name, status.wid, status.gen)
        entry = self._book.runs.of_run(run) or self._book.remember_unnamed(_unnamed(board, status))
        board.output.attribution.learn(status.slot, status.start_off, Run(status.wid, status.gen))
        if is_live(entry):
            await self._confirmed(board, status)
        elif status.state is not WorkloadState.EXITED:
            # It ended for us while the device was not in the configuration, or after an intent was given up: it must not go on.
            self.ask(board, StopWorkload(status.wid, status.gen, 0))
        elif not is_unnamed(entry.container):
            self.ask(board, RemoveWorkload(status.wid, status.gen))

    async def started(self, board: Board, status: WorkloadStatus) -> None:
        """START's answer. EXITED may have been told before, and then it stays so."""
        board.output.attribution.learn(status.slot, status.start_off, Run(status.wid, status.gen))
        await self._confirmed(board, status, is_told=False)
        board.touch()

    async def _confirmed(self, board: Board, status: WorkloadStatus, *, is_told: bool = True) -> None:
        run = (board.name, status.wid, status.gen)
        await self._book.running(run, status, board.output.epoch or 0, board.boot_id, is_told=is_told)
        if status.state is WorkloadState.EXITED:
            end_off = status.end_off if status.end_off is not None else status.start_off
            await self._drains.begin(board, run, exits.of_status(status), end_off)

    async def _ended(self, board: Board, run: RunKey, end: exits.Exit) -> None:
        await self._book.exited(run, end)
        entry = self._book.runs.of_run(run)
        # The exit record of an unnamed run is the only witness that it ever ran.
        if entry is not None and not is_unnamed(entry.container):
            self.ask(board, RemoveWorkload(entry.wid, entry.gen))
        board.touch()

    # -- sessions

    async def _joined(self, board: Board, event: Joined) -> None:
        await self._meet(board, event)
        if event.epoch != board.output.epoch:
            await self._drains.epoch_ended(board)
        if event.boot_id != board.boot_id:
            board.inventory = board.stats = board.stats_at = None
            if board.has_ever_listed:
                _tell(board, logging.INFO, "device restarted", why=exits.of_reboot(event.reset_cause).message)
        board.output.begin_epoch(event.epoch)
        board.boot_id, board.reset_cause, board.boot_off = event.boot_id, event.reset_cause, event.boot_off
        if board.joins and board.steadiness.restarted(self._loop_time()) and self._tasks is not None:
            _logger.warning("device restarts in a loop; told again when it has ended", extra={"device": board.name})
            self._tasks.start_soon(self._until_steady, board)
        board.tells_stats = event.tells_stats
        board.has_session = True
        board.joins += 1
        board.boots += event.new_boot
        board.trouble = ""

    async def _meet(self, board: Board, event: Joined) -> None:
        meeting = await self._known.meet(board.name, event.device_id, board.port())
        board.swapped_boot = 0
        if meeting.is_swap and meeting.before is not None:
            board.swapped_boot = event.boot_id
            why = f"board {meeting.board.device_id} answers instead of {meeting.before.device_id}"
            _tell(board, logging.WARNING, "another board answers", why=why)
            self.fault_told(board.name, SWAPPED, why)
        elif meeting.has_moved and meeting.before is not None:
            _tell(board, logging.INFO, "device is on another port", why=f"{meeting.board.port}, not {meeting.before.port}")

    async def _listed(self, board: Board, workloads: tuple[WorkloadStatus, ...]) -> None:
        if board.dirt is not None and board.dirt.boot_id != board.boot_id:
            board.dirt = None
        seen = {(board.name, status.wid, status.gen) for status in workloads}
        for entry in self._book.runs.live_on(board.name):
            if entry.run not in seen:
                await self._absent(board, entry)
        for status in workloads:
            await self.status(board, status)
        # Only now: a stop that waits for the session must not ask for the end of what the reset has ended.
        board.is_ready, board.away_since, board.is_away_by_itself = True, None, False
        board.has_ever_listed = True
        self._pods_notice(board)
        self._book.slots.room_is_made()
        _tell(board, logging.INFO, "device is ready", workloads=len(workloads))

    async def _until_steady(self, board: Board) -> None:
        while not (restarts := board.steadiness.settle(self._loop_time())):  # noqa: ASYNC110 - a time is awaited that restarts move
            await anyio.sleep_until(board.steadiness.quiet_at)
        _logger.info("device restarts no more after %d times", restarts, extra={"device": board.name})
        board.touch()
        self.fleet_changed()

    async def _absent(self, board: Board, entry: Entry) -> None:
        """A run that the device does not have (any more)."""
        is_intent, is_same_boot = entry.state == AttemptState.INTENDED.value, entry.boot_id == board.boot_id
        if is_intent and is_same_boot:
            return  # it never started, and the same attempt may be sent again
        told = exits.VANISHED if is_same_boot else exits.of_reboot(board.reset_cause)
        known = self._known.boards.get(board.name)
        if board.swapped_boot == board.boot_id and known is not None:
            told = exits.of_swap(known.device_id)
        # In a ring that outlived the reset, what it wrote before ends where the new boot begins.
        is_in_ring = not is_same_boot and entry.epoch in (None, board.output.epoch)
        await self._drains.begin(board, entry.run, exits.unconfirmed(told) if is_intent else told, board.boot_off if is_in_ring else 0)

    def _left(self, board: Board, why: str) -> None:
        board.trouble = why
        if board.is_ready or board.away_since is None:
            board.away_since = self._loop_time()
        board.has_session = board.is_ready = False
        self._pods_notice(board)

    # -- requests that nobody waits for

    def ask(self, board: Board, request: Request) -> None:
        """In a task of its own, because the answer comes through the caller. What is lost with the session the next LIST shows again."""
        if self._tasks is not None:
            self._tasks.start_soon(self._ask, board, request)

    async def _ask(self, board: Board, request: Request) -> None:
        try:
            await board.requester.request(request)
        except TransportError as error:
            _tell(board, logging.INFO, f"{type(request).__name__} was not done", why=str(error))
        else:
            self._book.slots.room_is_made()
        finally:
            board.touch()

    def _pods_notice(self, board: Board) -> None:
        for uid in {entry.uid for entry in self._book.runs.live_on(board.name)}:
            self._book.tell(uid)


def _unnamed(board: Board, status: WorkloadStatus) -> Entry:
    """A run without a ledger entry; its pod's plan decides about it, after the pod list is known."""
    return Entry(
        uid=uid_of_tag(status.tag) or uid_without_tag(status.wid),
        container=unnamed(status.wid),
        gen=status.gen,
        namespace="",
        pod="",
        device=board.name,
        wid=status.wid,
        state=AttemptState.RUNNING.value,
        epoch=board.output.epoch,
        slot=status.slot,
        start_off=status.start_off,
        boot_id=board.boot_id,
    )


def _tell(board: Board, level: int, message: str, **fields: object) -> None:
    """One line of the log; for debugging only while the device restarts in a loop, which is told once."""
    _logger.log(logging.DEBUG if board.steadiness.is_looping else level, message, extra={"device": board.name, **fields})

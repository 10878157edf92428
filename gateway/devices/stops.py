"""Stop ladders under way: one task for each run that shall end, until it has ended.

What to do next is ladder.py's decision; here it is done. Of several overdue runs on one board only one climbs, so that a board is not
reset twice for what one reset ends.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import assert_never

import anyio
from anyio.abc import TaskGroup, TaskStatus

from gateway.devices import exits
from gateway.devices.board import Board, Dirt
from gateway.devices.board_hooks import run_board_hook
from gateway.devices.hooks import HookFailed
from gateway.devices.ladder import STEP_DEADLINE_S, STOP_MARGIN_S, Rung, StopOrder, next_rung
from gateway.devices.ledger import Entry, RunKey
from gateway.devices.runbook import RunBook
from gateway.devices.runs import is_live
from transports.errors import DeviceError, TransportError
from transports.protocol import Reboot, StopWorkload

_logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Stop:
    order: StopOrder
    asked_in: int = -1
    """The board's session in which STOP was sent."""


class Stops:
    """run() owns the ladders. fleet_changed is called when a device becomes dirty or clean."""

    def __init__(
        self, boards: Mapping[str, Board], book: RunBook, loop_time: Callable[[], float], fleet_changed: Callable[[], None]
    ) -> None:
        self._boards = boards
        self._book = book
        self._loop_time = loop_time
        self._fleet_changed = fleet_changed
        self._under_way: dict[RunKey, _Stop] = {}
        self._tasks: TaskGroup | None = None

    def __len__(self) -> int:
        return len(self._under_way)

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as self._tasks:
            task_status.started()
            try:
                await anyio.sleep_forever()
            finally:
                self._tasks = None

    def ask(self, entry: Entry, grace_s: float) -> None:
        """Begin to end a live run, or shorten its grace. Nothing while run() is not under way: the next life asks again."""
        now = self._loop_time()
        stop = self._under_way.get(entry.run)
        if stop is not None:
            if stop.order.shorten(grace_s, now):
                self._boards[entry.device].touch()
            return
        if self._tasks is None:
            return
        self._under_way[entry.run] = stop = _Stop(StopOrder(now, grace_s))
        self._tasks.start_soon(self._descend, entry.run, self._boards[entry.device], stop)

    # -- one ladder

    async def _descend(self, run: RunKey, board: Board, stop: _Stop) -> None:
        """Climb until the run has ended."""
        try:
            await self._book.stopping(run)
            while (entry := self._book.runs.of_run(run)) is not None and is_live(entry):
                changed = board.changed
                if board.is_ready and stop.asked_in != board.joins:
                    stop.order.ask_again()
                now = self._loop_time()
                is_alone = self._is_first_overdue(run, board, now)
                rung, ask_again_at = next_rung(stop.order, now, has_session=board.is_ready, is_alone=is_alone, hooks=board.hooks.keys())
                if rung is None:
                    with anyio.move_on_after(None if ask_again_at is None else ask_again_at - now):
                        await changed.wait()
                elif rung is Rung.STOP:
                    await self._send_stop(board, entry, stop)
                else:
                    await self._climb(rung, board, entry, stop.order)
            if board.dirt is not None and board.dirt.run == run:
                board.dirt = None
                self._book.slots.room_is_made()
                self._fleet_changed()
        finally:
            del self._under_way[run]

    def _is_first_overdue(self, run: RunKey, board: Board, now: float) -> bool:
        """Everything else that lives on the board is overdue too, and none of it was asked to end before this one."""
        mine = self._under_way[run].order.asked_at, run
        for other in self._book.runs.live_on(board.name):
            stop = self._under_way.get(other.run)
            if stop is None or (other.run != run and now < stop.order.patience_ends_at) or (stop.order.asked_at, other.run) < mine:
                return False
        return True

    async def _send_stop(self, board: Board, entry: Entry, stop: _Stop) -> None:
        now = self._loop_time()
        stop.order.sent(now)
        stop.asked_in = board.joins
        grace_s = stop.order.remaining_grace_s(now)
        try:
            with anyio.move_on_after(grace_s + STOP_MARGIN_S) as patience:
                await board.requester.request(StopWorkload(entry.wid, entry.gen, int(grace_s * 1000)))
            if not patience.cancelled_caught:
                # It was answered after START, had there been one, and after LIST: what is still an intent never ran.
                await self._book.never_started(entry.run, exits.NEVER_STARTED)
        except DeviceError as error:
            _logger.warning("device refused STOP", extra={"device": board.name, "why": str(error)})
        except TransportError as error:
            _logger.info("STOP was not answered", extra={"device": board.name, "why": str(error)})

    async def _climb(self, rung: Rung, board: Board, entry: Entry, order: StopOrder) -> None:
        _logger.warning("run does not end", extra={"device": board.name, "pod": entry.pod, "rung": rung.value})
        order.climbed.append(rung)
        match rung:
            case Rung.REBOOT:
                await self._send_reboot(board)
            case Rung.RESET | Rung.POWER_CYCLE:
                try:
                    await run_board_hook(board, rung.value, board.hooks[rung])
                except HookFailed as error:
                    board.trouble = str(error)
                    _logger.warning("hook failed", extra={"device": board.name, "why": str(error)})
            case Rung.DIRTY:
                why = f"DeviceDirty: {entry.pod or entry.uid} does not end; reset the board by hand"
                board.dirt = Dirt(entry.run, board.boot_id, why)
                self._fleet_changed()
            case Rung.STOP:
                raise AssertionError("STOP is sent, not climbed")
            case _:
                assert_never(rung)
        order.climbed_at = self._loop_time()

    async def _send_reboot(self, board: Board) -> None:
        try:
            with anyio.move_on_after(STEP_DEADLINE_S):
                await board.requester.request(Reboot())
        except TransportError as error:
            _logger.info("REBOOT was not done", extra={"device": board.name, "why": str(error)})

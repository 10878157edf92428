"""Runs that have ended on their device while some of their log is still on the way.

The end of a run is told when the log is stored up to it, or when nothing came for a while and the rest is declared lost. While the device
is away nothing can come, so that time does not count.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import anyio

from gateway.devices.board import Board
from gateway.devices.exits import Exit
from gateway.devices.ledger import RunKey
from gateway.devices.runs import Runs

DRAIN_PATIENCE_S: Final = 5.0
"""How long the log may stand still before the end of a run is told without the rest (SPEC.md, LOG)."""


@dataclass(slots=True, eq=False)
class _Drain:
    end: Exit
    end_off: int
    """In the epoch that the board's output has now."""
    moved_at: float


class Drains:
    """ended is called once for each run, when its end may be told."""

    def __init__(
        self,
        boards: Mapping[str, Board],
        runs: Runs,
        loop_time: Callable[[], float],
        ended: Callable[[Board, RunKey, Exit], Awaitable[None]],
    ) -> None:
        self._boards = boards
        self._runs = runs
        self._loop_time = loop_time
        self._ended = ended
        self._drains: dict[RunKey, _Drain] = {}
        self._wake = anyio.Event()

    async def run(self) -> None:
        """Give up on logs that stand still; until cancelled."""
        while True:
            self._wake = anyio.Event()
            await self._give_up()
            deadline = min((drain.moved_at + DRAIN_PATIENCE_S for drain in self._drains.values()), default=None)
            with anyio.move_on_after(None if deadline is None else max(0.0, deadline - self._loop_time())):
                await self._wake.wait()

    def is_waiting(self, board: Board) -> bool:
        """Ends of runs on this board wait for its log."""
        return bool(self._drains) and any(device == board.name for device, _, _ in self._drains)

    async def begin(self, board: Board, run: RunKey, end: Exit, end_off: int) -> None:
        """The run's log ends at end_off of the board's current epoch. Only the first news of its end counts."""
        self._drains.setdefault(run, _Drain(end, end_off, self._loop_time()))
        await self.moved(board)
        self._wake.set()

    async def moved(self, board: Board) -> None:
        """More of the board's log is stored: tell the ends of runs whose log is complete."""
        for run, drain in self._of(board):
            drain.moved_at = self._loop_time()
            if board.output.stored >= drain.end_off:
                await self._end(board, run, drain)

    async def epoch_ended(self, board: Board) -> None:
        """What was not stored will never come; the gap that says so is in the logs already."""
        for run, drain in self._of(board):
            await self._end(board, run, drain)

    async def _give_up(self) -> None:
        now = self._loop_time()
        for run, drain in list(self._drains.items()):
            board = self._boards[run[0]]
            if now - drain.moved_at < DRAIN_PATIENCE_S:
                continue
            if not board.is_ready or board.is_away_by_itself:
                drain.moved_at = now
                continue
            entry = self._runs.of_run(run)
            if entry is not None:
                board.output.declare_lost(entry, max(0, drain.end_off - board.output.stored))
            await self._end(board, run, drain)

    async def _end(self, board: Board, run: RunKey, drain: _Drain) -> None:
        if self._drains.pop(run, None) is not None:
            await self._ended(board, run, drain.end)

    def _of(self, board: Board) -> list[tuple[RunKey, _Drain]]:
        return [(run, drain) for run, drain in self._drains.items() if run[0] == board.name]

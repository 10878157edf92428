"""What devices say about their own state: asked for when somebody wants to know it, and not again for a moment. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import anyio

from gateway.devices.board import Board
from transports.errors import TransportError
from transports.protocol import DeviceStats as DeviceStats
from transports.protocol import ReadStats

STATS_AGE_S: Final = 5.0
"""Several scrapers cost a slow line no more than one."""
STATS_DEADLINE_S: Final = 1.0
"""A device that is busy keeps nobody from the metrics of the others: what it said last stays."""


async def refresh_stats(boards: Iterable[Board], loop_time: Callable[[], float]) -> None:
    """Bring Board.stats up to date wherever the device tells any, as far as it answers in time."""
    oldest = loop_time() - STATS_AGE_S
    with anyio.move_on_after(STATS_DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            for board in boards:
                if board.is_ready and board.tells_stats and (board.stats_at is None or board.stats_at < oldest):
                    tasks.start_soon(_ask, board)


async def _ask(board: Board) -> None:
    try:
        await board.requester.request(ReadStats())
    except TransportError:
        board.stats = None  # the next scrape asks again

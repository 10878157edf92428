"""Runs a board in real time behind a port: reads, writes and keeps its deadlines, for as long as its task lives.

The port may be unplugged and plugged in meanwhile; the board runs on and what it says then is lost, as on a UART without a cable. Nothing
is decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import anyio

from transports.bell import Bell
from transports.protocol import WorkloadStatus
from transports.simulated.board import Board, BoardConfig


class Port(Protocol):
    """The device's end of a byte pipe."""

    async def receive(self) -> bytes:
        """At least one byte; waits for as long as nothing is plugged in."""
        ...

    async def send(self, data: bytes) -> None:
        """Return when the pipe has taken data, or lost it because nothing is plugged in. Must let other tasks run."""
        ...


class BoardRunner:
    """One board at one port. run() is its life; power goes on with it. The rest is for the same event loop."""

    def __init__(self, config: BoardConfig, port: Port, trace: Callable[[str], None] = lambda line: None) -> None:
        self.config = config
        self._trace = trace
        self._port = port
        self._board: Board | None = None
        self._to_write = Bell()
        self._to_time = Bell()

    async def run(self) -> None:
        """Until cancelled. Raises ValueError for a configuration that no board can have."""
        board = self._board = Board(self.config, anyio.current_time(), self._trace)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read, board)
            tasks.start_soon(self._write, board)
            tasks.start_soon(self._keep_time, board)

    def reset(self) -> None:
        """A power cycle. Without effect before run()."""
        if self._board is not None:
            self._board.reset(anyio.current_time())
            self._touched()

    @property
    def workloads(self) -> tuple[WorkloadStatus, ...]:
        return self._board.workloads if self._board is not None else ()

    async def _read(self, board: Board) -> None:
        while True:
            data = await self._port.receive()
            board.receive_data(data, anyio.current_time())
            self._touched()

    async def _write(self, board: Board) -> None:
        while True:
            data = board.data_to_send(anyio.current_time())
            if data:
                await self._port.send(data)
            else:
                self._to_time.ring()
                await self._to_write.wait()

    async def _keep_time(self, board: Board) -> None:
        while True:
            deadline = board.next_deadline()
            if deadline is None:
                await self._to_time.wait()
                continue
            with anyio.move_on_after(deadline - anyio.current_time()):
                await self._to_time.wait()
                continue
            board.handle_deadline(anyio.current_time())
            self._to_write.ring()

    def _touched(self) -> None:
        self._to_write.ring()
        self._to_time.ring()

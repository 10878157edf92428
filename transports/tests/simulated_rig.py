"""A gateway's protocol core and a simulated board on one cable, in virtual time. For tests that tell a story about both."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from transports.protocol import (
    Answered,
    Checkpoint,
    Event,
    Gap,
    Joined,
    Listed,
    Output,
    Record,
    RecordKind,
    Request,
    StartWorkload,
    WorkloadChanged,
    WorkloadState,
    WorkloadStatus,
)
from transports.protocols.framed import FramedProtocol
from transports.simulated.board import Board, BoardConfig
from transports.tests.taken_apart import taken_apart

E = TypeVar("E")

LINE_BYTES_PER_S = 1e6
"""A full-speed USB device."""


class Rig:
    """Time passes only in run_until. The store keeps everything and acknowledges at once, unless `stores` is False."""

    def __init__(self, config: BoardConfig | None = None) -> None:
        self.now = 1000.0
        self.board = Board(config or BoardConfig(slots=4), self.now)
        self.gateway = FramedProtocol(None, gateway_id=1, rng=random.Random(1))
        self.events: list[Event] = []
        self.items: list[Record | Gap] = []
        self.stores = True
        self.plugged = True
        self._pending: list[Checkpoint] = []
        self.gateway.link_up(self.now)

    # -- the cable

    def unplug(self) -> None:
        self.plugged = False
        self.gateway.link_down(self.now)

    def plug(self) -> None:
        self.plugged = True
        self.gateway.link_up(self.now)

    def run_until(self, reached: Callable[[], object], limit_s: float = 30.0) -> None:
        end = self.now + limit_s
        while True:
            moved = self._move()
            if reached():
                return
            if self.now > end or not (moved or self._advance(end)):
                raise AssertionError(f"not reached within {limit_s} s of virtual time; events: {self.events[-5:]}")

    def run_for(self, duration_s: float) -> None:
        end = self.now + duration_s
        while self._move() or self._advance(end):
            if self.now >= end:
                return
        self.now = end

    def _advance(self, end: float) -> bool:
        """To the next deadline, if that is not behind the end."""
        deadlines = [self.board.next_deadline(), self.gateway.next_deadline()]
        following = min((at for at in deadlines if at is not None), default=end + 1)
        if following > end:
            return False
        self.now = max(self.now, following)
        self.board.handle_deadline(self.now)
        self.gateway.handle_deadline(self.now)
        return True

    def _move(self) -> bool:
        """One write each way, which takes its time on the line."""
        to_board = self.gateway.data_to_send(self.now) if self.plugged else b""
        if to_board:
            self.board.receive_data(to_board, self.now)
        to_gateway = self.board.data_to_send(self.now)
        if to_gateway and self.plugged:
            self.gateway.receive_data(to_gateway, self.now)
        self._collect()
        self.now += max(len(to_board), len(to_gateway)) / LINE_BYTES_PER_S
        for core in (self.board, self.gateway):
            if (at := core.next_deadline()) is not None and at <= self.now:
                core.handle_deadline(self.now)
        return bool(to_board or to_gateway)

    def _collect(self) -> None:
        for event in self.gateway.events():
            self.events.append(event)
            if isinstance(event, Output):
                self.items += taken_apart(event.items)
                self._pending.append(event.checkpoint)
        if self.stores and self._pending:
            for checkpoint in self._pending:
                self.gateway.stored(checkpoint, self.now)
            self._pending.clear()

    # -- what a test asks

    def seen(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def join(self) -> None:
        """Until a new session has told its workloads."""
        count = len(self.seen(Listed))
        self.run_until(lambda: len(self.seen(Listed)) > count)

    def request(self, request: Request) -> Answered:
        request_id = self.gateway.request(request, self.now)
        self.run_until(lambda: any(answer.request_id == request_id for answer in self.seen(Answered)))
        return next(answer for answer in self.seen(Answered) if answer.request_id == request_id)

    def start(
        self, program: str, *args: str, wid: int = 1, gen: int = 1, env: tuple[str, ...] = (), stdin: bool = False, tty: bool = False
    ) -> WorkloadStatus:
        answer = self.request(StartWorkload(wid, gen, program, args, env, tag=b"tag", stdin=stdin, tty=tty))
        assert answer.code == 0, answer
        assert answer.status is not None
        return answer.status

    def exit_of(self, wid: int = 1) -> WorkloadStatus:
        def exits() -> list[WorkloadStatus]:
            changed = [event.status for event in self.seen(WorkloadChanged) if event.status.wid == wid]
            return [status for status in changed if status.state is WorkloadState.EXITED]

        self.run_until(exits)
        return exits()[-1]

    def lines(self, slot: int = 0) -> list[str]:
        """Whole lines of a slot, pieces joined."""
        lines, half = [], b""
        for item in self.items:
            if not isinstance(item, Record) or item.slot != slot:
                continue
            if item.kind in (RecordKind.STDOUT_PARTIAL, RecordKind.STDERR_PARTIAL):
                half += item.data
            elif item.kind in (RecordKind.STDOUT, RecordKind.STDERR):
                lines.append((half + item.data).decode())
                half = b""
        return lines

    def joined(self) -> Joined:
        return self.seen(Joined)[-1]

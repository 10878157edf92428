"""Boards that log without end, for little CPU: the real device core at each port, but their lines are encoded once for all of them.

A hundred programs that print line by line would take more CPU than the gateway that is measured. Here one loop keeps all ports: in every
slice of time a port is given what its line has carried meanwhile, as by a USB adapter; frames, ring, acknowledgements and repetitions are
the core's. What a board lacks is only the program: whole blocks of records go into its ring as there is room.

It reads bit error rates from stdin, a line each.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import sys
import time
import tty
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from wire import Line, Wire

from transports.protocol import RecordKind
from transports.simulated.board import Board, BoardConfig
from transports.wire.device_session import DeviceSession
from transports.wire.records import encode_record

READ_BYTES: Final = 4096
FRAME_BYTES: Final = 256
LINE_BYTES: Final = 80
RECORDS_IN_BLOCK: Final = 8
UPTIME_S: Final = 3600.0
"""Since when the boards have been up."""
LOOK_EVERY: Final = 8
"""Slices between two looks at a board's deadlines, which are 200 ms and more apart."""


class Lines:
    """What every board says, in blocks of whole records; a block has the time at which the first board asks for it."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._pattern = bytes(range(ord("0"), ord("z"))) * 2

    def block(self, number: int, uptime_ms: int) -> bytes:
        if number == len(self._blocks):
            first = number * RECORDS_IN_BLOCK
            lines = [(b"%010d " % (first + line) + self._pattern)[:LINE_BYTES] for line in range(RECORDS_IN_BLOCK)]
            self._blocks.append(b"".join(encode_record(uptime_ms, 0, RecordKind.STDOUT, line) for line in lines))
        return self._blocks[number]


@dataclass(slots=True)
class Port:
    """A board, the line, and the master of the pty at its end."""

    board: Board
    wire: Wire
    master: int
    lines: Lines
    blocks: int = 0
    is_busy: bool = False
    """The board had more to send than the line took."""
    unwritten: bytes = b""

    def receive(self, now: float) -> None:
        self.board.receive_data(os.read(self.master, READ_BYTES), now)

    def send(self, now: float) -> None:
        session = self.board.session
        if session is None:
            return
        if self.blocks or self.board.workloads:
            self._fill_ring(session, now)
        while room_bytes := self.wire.room_bytes(now):
            data = session.data_to_send(now, max(2, room_bytes // FRAME_BYTES))
            self.wire.send(data, now, is_backlog=self.is_busy)
            self.is_busy = bool(data)
            if not data:
                break
        self.unwritten += self.wire.arrived(now)
        if self.unwritten:
            self._write()

    def _fill_ring(self, session: DeviceSession, now: float) -> None:
        while session.write_log(self.lines.block(self.blocks, session.uptime_ms(now))):
            self.blocks += 1

    def _write(self) -> None:
        try:
            self.unwritten = self.unwritten[os.write(self.master, self.unwritten) :]
        except BlockingIOError:
            return

    def keep_time(self, now: float) -> None:
        deadline = self.board.next_deadline()
        if deadline is not None and deadline <= now:
            self.board.handle_deadline(now)


def plug(link: Path) -> int:
    """A pty behind link; its slave stays open here, or the master would fail while nobody has the port."""
    master, slave = os.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    link.symlink_to(os.ttyname(slave))
    return master


def run(ports: list[Port], slice_s: float) -> None:
    """Until killed."""
    by_master = {port.master: port for port in ports}
    waiting = select.epoll()
    for master in (*by_master, sys.stdin.fileno()):
        waiting.register(master, select.EPOLLIN)
    slices = 0
    while True:
        began = time.monotonic()
        for ready, _ in waiting.poll(0):
            if ready in by_master:
                by_master[ready].receive(began)
            elif command := sys.stdin.readline():
                for port in ports:
                    port.wire.line = replace(port.wire.line, flip=8 * float(command))
            else:
                waiting.unregister(ready)
        for port in ports:
            port.send(began)
        slices += 1
        for port in ports[slices % LOOK_EVERY :: LOOK_EVERY]:
            port.keep_time(began)
        time.sleep(max(0.0, began + slice_s - time.monotonic()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--link", required=True, help="%%d stands for the number of a board")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--baud", type=int, required=True)
    parser.add_argument("--ring", type=int, default=16384)
    parser.add_argument("--slice-ms", type=float, default=5.0, help="how often an adapter hands bytes on")
    arguments = parser.parse_args()
    lines, powered = Lines(), time.monotonic() - UPTIME_S
    line = Line(baud=arguments.baud)
    ports = []
    for number in range(arguments.count):
        config = BoardConfig(seed=number, ring_bytes=arguments.ring, accept_any=True, line_bytes_per_s=line.baud / line.bits_per_byte)
        master = plug(Path(arguments.link.replace("%d", str(number))))
        ports.append(Port(Board(config, powered), Wire(line, random.Random(number)), master, lines))
    run(ports, arguments.slice_ms / 1000)


if __name__ == "__main__":
    main()

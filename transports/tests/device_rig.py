"""One device on the bench: a supervisor, a sink that writes everything down, and the device's end of a real pty."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel

from transports.device import Device
from transports.link import LinkOpener
from transports.protocol import Event, Output, StartWorkload
from transports.serial import SerialLinkOpener
from transports.tests.line_protocol import LineProtocol
from transports.tests.pty_end import PtyEnd
from transports.tests.taken_apart import records_in

START = StartWorkload(wid=7, gen=1, program="hello")
DEADLINE_S = 8
"""Never reached when things work."""


class Board:
    """The device: a pty behind a stable path, and the lines it gets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ends: list[PtyEnd] = []
        self._half_line = b""
        self._lines: list[str] = []

    @property
    def end(self) -> PtyEnd:
        return self.ends[-1]

    def plug(self) -> None:
        self.ends.append(PtyEnd())
        self._half_line, self._lines = b"", []
        self.path.symlink_to(self.end.path)

    def unplug(self) -> None:
        self.path.unlink()
        self.end.close()

    async def say(self, *lines: str) -> None:
        await self.end.send("".join(f"{line}\n" for line in lines).encode())

    async def next_line(self) -> str:
        while not self._lines:
            *lines, self._half_line = (self._half_line + await self.end.receive()).split(b"\n")
            self._lines += [line.decode() for line in lines]
        return self._lines.pop(0)

    async def expect(self, beginning: str) -> str:
        line = await self.next_line()
        assert line.startswith(beginning)
        return line

    async def join(self, boot: int = 1) -> None:
        await self.expect("who?")
        await self.say(f"hello {boot}")


@dataclass
class Notes:
    """A DeviceSink that writes everything down; with a `gate` it settles slowly what follows from what is stored."""

    heard: list[object] = field(default_factory=list)
    gate: anyio.Event | None = None
    changed: anyio.Event = field(default_factory=anyio.Event)
    calls_at_once: int = 0

    def store(self, device: str, output: Output) -> bool:
        assert self.calls_at_once == 0
        self._note(output)
        return self.gate is not None

    async def settle(self, device: str) -> None:
        async with self._alone():
            if self.gate is not None:
                await self.gate.wait()

    async def happened(self, device: str, event: Event) -> None:
        async with self._alone():
            self._note(event)

    async def link_changed(self, device: str, error: Exception | None) -> None:
        async with self._alone():
            self._note(error)

    async def until(self, kind: type | None, count: int = 1) -> None:
        """The sink heard that many of this kind; None is an open link."""
        with anyio.fail_after(DEADLINE_S):
            while len([note for note in self.heard if (note is None if kind is None else isinstance(note, kind))]) < count:
                self.changed = anyio.Event()
                await self.changed.wait()

    def lines(self) -> list[bytes]:
        return [record.data for note in self.heard if isinstance(note, Output) for record in records_in(note.items)]

    def of(self, *kinds: type) -> list[type]:
        return [type(note) for note in self.heard if isinstance(note, kinds)]

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        self.calls_at_once += 1
        assert self.calls_at_once == 1
        await anyio.lowlevel.checkpoint()
        yield
        self.calls_at_once -= 1

    def _note(self, note: object) -> None:
        self.heard.append(note)
        self.changed.set()


@dataclass
class Bench:
    board: Board
    notes: Notes
    device: Device
    stop: Callable[[], None]
    stopped: anyio.Event


async def eventually(holds: Callable[[], bool]) -> None:
    """For what no event tells of, because the sink is held up."""
    while not holds():  # noqa: ASYNC110 - no event tells of it
        await anyio.sleep(0.001)


@asynccontextmanager
async def bench(
    folder: Path,
    *,
    ping_s: float | None = None,
    protocol: LineProtocol | None = None,
    opener: LinkOpener | None = None,
    plugged: bool = True,
    request_deadline_s: float = 30,
    read_pause_s: float = 0,
) -> AsyncIterator[Bench]:
    board, notes = Board(folder / "board"), Notes()
    if plugged:
        board.plug()
    device = Device(
        "board-a",
        opener or SerialLinkOpener(str(board.path)),
        protocol or LineProtocol(ping_s=ping_s),
        notes,
        rng=random.Random(1),
        open_deadline_s=0.05 if opener else 5,
        request_deadline_s=request_deadline_s,
        read_pause_s=lambda: read_pause_s,
    )
    life, stopped = anyio.CancelScope(), anyio.Event()

    async def live() -> None:
        with life:
            await device.run()
        stopped.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(live)
        try:
            yield Bench(board, notes, device, life.cancel, stopped)
        finally:
            life.cancel()
    for end in board.ends:
        end.close()

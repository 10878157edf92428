"""The port that `make hil-real` looks at, and what is heard of the board behind it: Wirelet's own link, supervisor and protocol."""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from transports.device import Device
from transports.protocol import Event, Gap, Inventoried, Joined, Output, Text
from transports.protocols.framed import FramedProtocol
from transports.serial import SerialLinkOpener
from transports.serial_options import PortSettings

BITS_PER_BYTE: Final = 10

T = TypeVar("T")


@dataclass(slots=True)
class Notes:
    """A DeviceSink that remembers what a person may want to know."""

    joined: list[Joined] = field(default_factory=list)
    programs: tuple[str, ...] | None = None
    log_bytes: int = 0
    gaps: int = 0
    text_bytes: int = 0
    trouble: str = ""
    news: anyio.Event = field(default_factory=anyio.Event)

    def store(self, device: str, output: Output) -> bool:
        self.gaps += sum(isinstance(item, Gap) for item in output.items)
        self.log_bytes = output.checkpoint.expected
        self._tell()
        return False

    async def settle(self, device: str) -> None: ...

    async def happened(self, device: str, event: Event) -> None:
        match event:
            case Joined():
                self.joined.append(event)
            case Inventoried():
                self.programs = tuple(program.name for program in event.inventory.programs)
            case Text():
                self.text_bytes += len(event.data)
            case _:
                pass
        self._tell()

    async def link_changed(self, device: str, error: Exception | None) -> None:
        self.trouble = str(error) if error is not None else ""
        self._tell()

    def _tell(self) -> None:
        self.news.set()
        self.news = anyio.Event()

    async def wait(self, met: Callable[[], bool], within_s: float) -> float | None:
        """Seconds until met answers; None when it does not in time."""
        begun = time.monotonic()
        with anyio.move_on_after(within_s):
            while not met():
                await self.news.wait()
        return time.monotonic() - begun if met() else None


class Port:
    """The port that is looked at, and what is asked of it by the command line."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.path: str = arguments.port
        self.baud: int = arguments.baud
        self.loopback: bool = arguments.loopback
        self.program: str | None = arguments.run
        self.unplug: bool = arguments.unplug
        self.settings = PortSettings(baud=arguments.baud, modem_lines=arguments.modem_lines)

    def opener(self, baud: int | None = None) -> SerialLinkOpener:
        return SerialLinkOpener(self.path, self.settings if baud is None else PortSettings(baud=baud))

    async def inspect(self, look: Callable[[int], T]) -> T:
        """What look says of a descriptor of the port."""
        return await anyio.to_thread.run_sync(self._inspect, look)

    def _inspect(self, look: Callable[[int], T]) -> T:
        descriptor = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return look(descriptor)
        finally:
            os.close(descriptor)

    @contextlib.asynccontextmanager
    async def supervised(self) -> AsyncIterator[tuple[Device, Notes]]:
        """A supervisor with the framed protocol, as the gateway has it."""
        notes, rng = Notes(), random.Random()
        protocol = FramedProtocol(None, gateway_id=rng.getrandbits(32), line_bytes_per_s=self.baud / BITS_PER_BYTE, rng=rng)
        device = Device("board", self.opener(), protocol, notes, rng=rng)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(device.run)
            yield device, notes
            tasks.cancel_scope.cancel()

"""What a device says, on its way to the sink and to whoever asked: one thing at a time, in order.

Output is stored in the turn in which it came, when nothing before it waits; everything else, and what follows it, is told by a task, which
a slow sink holds up alone. Nothing is acknowledged here before it is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, assert_never

from transports.answers import Answers
from transports.bell import Bell
from transports.errors import LinkError
from transports.line_watch import LineWatch
from transports.listed_first import ListedFirst
from transports.protocol import (
    Answered,
    Away,
    Checkpoint,
    DeviceProtocol,
    Event,
    Inventoried,
    Joined,
    Left,
    LinkSpent,
    Listed,
    Output,
    Problem,
    Reported,
    RequestLost,
    Returned,
    Text,
    WorkloadChanged,
)
from transports.sink import DeviceSink

MAX_UNHANDLED_BYTES: Final = 1 << 18
"""Received while the sink is busy. Reading then pauses; less would hold up keepalives and answers behind a slow store."""


class Delivery:
    """One for each device, for as long as it is configured. run() tells; the rest says that there is something to tell."""

    def __init__(
        self,
        device: str,
        protocol: DeviceProtocol,
        sink: DeviceSink,
        answers: Answers,
        line: LineWatch,
        *,
        checkpoint: Checkpoint | None,
        link_error: LinkError,
    ) -> None:
        """checkpoint is the one that protocol was built from. link_error is not told: it was so from the beginning."""
        self._device = device
        self._protocol = protocol
        self._sink = sink
        self._answers = answers
        self._line = line
        self._listed_first = ListedFirst(checkpoint)
        self._is_ready = False
        self._link_error: LinkError | None = link_error
        self._told_link_error: LinkError | None = link_error
        self._unhandled: list[Event] = []
        self._unhandled_bytes = 0
        self._to_handle = Bell()
        self._handled = Bell()
        self._is_handling = False
        """The sink is being told something, or about to be: what comes now waits its turn."""
        self._spent = Bell()
        self._why_spent = ""
        self._is_unsettled = False
        """The sink wants to settle what was stored last."""

    @property
    def is_ready(self) -> bool:
        """See Device.is_ready."""
        return self._is_ready

    def session_lost(self) -> None:
        """At once: the sink may be busy, and hears it in its turn."""
        self._is_ready = False

    @property
    def link_error(self) -> LinkError | None:
        """See Device.link_error."""
        return self._link_error

    def link_changed(self, error: LinkError | None) -> None:
        self._link_error = error
        self._why_spent = ""
        self._wake()

    async def link_spent(self) -> str:
        """Return why, when the core gives up the link that is open."""
        while not self._why_spent:
            await self._spent.wait()
        return self._why_spent

    # -- what comes

    def received(self, size_bytes: int) -> None:
        """So much was read; what the core makes of it is taken next."""
        self._unhandled_bytes += size_bytes

    @property
    def is_full(self) -> bool:
        return self._unhandled_bytes > MAX_UNHANDLED_BYTES

    async def room(self) -> None:
        """Return when it is not full."""
        while self.is_full:
            await self._handled.wait()

    def tell(self, problem: Problem) -> None:
        self._unhandled.append(problem)
        self._wake()

    def take(self, now: float) -> None:
        """The core's events. Output is stored at once when its turn has come, everything else and what follows it by run()."""
        events = self._protocol.events()
        for number, event in enumerate(events):
            if self._is_handling or not isinstance(event, Output):
                self._queue(events[number:])
                return
            for ordered in self._listed_first.order_output(event):
                self._store(ordered, now)
        if not self._is_handling:
            self._unhandled_bytes = 0

    def _queue(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, LinkSpent):  # at once: it is for this link, and the sink may be busy
                self._why_spent = event.why
                self._spent.ring()
        self._unhandled += events
        self._wake()

    def _store(self, output: Output, now: float) -> None:
        if self._sink.store(self._device, output):
            self._is_unsettled = True
            self._wake()
        self._protocol.stored(output.checkpoint, now)

    def _wake(self) -> None:
        self._is_handling = True
        self._to_handle.ring()

    # -- what is told

    async def run(self, stored: Callable[[], None]) -> None:
        """Until cancelled. Raises what the sink raises. stored: the core may have an acknowledgement to send."""
        while True:
            self._is_handling = True
            await self._tell_link_error()
            bytes_seen = self._unhandled_bytes
            events, self._unhandled = self._unhandled, []
            await self._settle()
            for event in events:
                for ordered in self._listed_first.order(event):
                    await self._handle(ordered, stored)
            self._unhandled_bytes -= bytes_seen
            self._handled.ring()
            if not self._unhandled and not self._is_unsettled:
                self._is_handling = False
                await self._to_handle.wait()

    async def _tell_link_error(self) -> None:
        error = self._link_error
        if _describe(error) != _describe(self._told_link_error):
            self._told_link_error = error
            await self._sink.link_changed(self._device, error)

    async def _settle(self) -> None:
        if self._is_unsettled:
            self._is_unsettled = False
            await self._sink.settle(self._device)

    async def _handle(self, event: Event, stored: Callable[[], None]) -> None:
        match event:
            case Output():
                self._store(event, asyncio.get_running_loop().time())
                stored()
                await self._settle()
            case Answered() | RequestLost():
                self._answers.came(event)
            case Joined() | Left():
                self._is_ready = False
                await self._sink.happened(self._device, event)
            case Listed():
                self._is_ready = True
                await self._sink.happened(self._device, event)
            case LinkSpent():
                pass  # the cable knows
            case Problem() if self._line.knows_better(event):
                pass
            case Inventoried() | Reported() | WorkloadChanged() | Text() | Away() | Returned() | Problem():
                await self._sink.happened(self._device, event)
            case _:
                assert_never(event)


def _describe(error: LinkError | None) -> tuple[type[LinkError], str] | None:
    return None if error is None else (type(error), str(error))

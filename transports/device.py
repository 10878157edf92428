"""One device as the gateway uses it: its parts put together, and what others may ask of it.

What happens when the cable is pulled stands in cable.py; pump.py moves bytes and time between the link and the protocol core, delivery.py
takes what the core tells to the sink. Together they are the device's supervisor. It decides nothing about the protocol, the workloads or
their restarts, and never waits for another: everything is per device, and a device that is stuck holds up only its own requests.
"""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, assert_never

import anyio

from transports.answers import Answers
from transports.cable import Cable
from transports.conversing import ConversingProtocol
from transports.delivery import Delivery
from transports.errors import DeviceError, LinkError, LinkNotFound, LinkTimeout, SessionLost
from transports.lending import Lending
from transports.line_watch import LineWatch
from transports.link import Command, CommandLink, LendableOpener, LineErrors, LinkOpener, ResettableLink, TerminalSize
from transports.protocol import (
    Answered,
    Checkpoint,
    CommandProtocol,
    Counters,
    DeviceProtocol,
    Request,
    RequestLost,
    SendInput,
    WatchedProtocol,
    WorkloadStatus,
)
from transports.pump import Pump
from transports.sink import DeviceSink
from transports.wire.numbers import Code

if TYPE_CHECKING:
    from transports.talk import TalkCommand

OPEN_DEADLINE_S: Final = 10.0
REQUEST_DEADLINE_S: Final = 30.0
"""From the call to the answer. A session with a silent device ends earlier, by its keepalive."""


class Device:
    """One configured device. run() is its life; the rest may be called from any task of the same event loop meanwhile."""

    def __init__(
        self,
        name: str,
        opener: LinkOpener,
        protocol: DeviceProtocol,
        sink: DeviceSink,
        *,
        rng: random.Random,
        checkpoint: Checkpoint | None = None,
        open_deadline_s: float = OPEN_DEADLINE_S,
        request_deadline_s: float = REQUEST_DEADLINE_S,
        read_pause_s: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """checkpoint is the one that protocol was built from. read_pause_s: how long bytes may gather now, if nobody waits for any."""
        self.name = name
        self._opener = opener
        self._protocol = protocol
        self._open_deadline_s = open_deadline_s
        self._request_deadline_s = request_deadline_s
        self._watchers = 0
        self._answers = Answers()
        self._line = LineWatch()
        self._lending = Lending(opener.name)
        unopened = LinkNotFound(f"{opener.name}: not opened yet")
        self._delivery = Delivery(name, protocol, sink, self._answers, self._line, checkpoint=checkpoint, link_error=unopened)
        self._pump = Pump(protocol, self._delivery, self._answers, self._line, read_pause_s)
        self._cable = Cable(opener, self._pump, self._delivery, self._lending, rng=rng, open_deadline_s=open_deadline_s)

    @property
    def is_ready(self) -> bool:
        """A session is up and the device has told all its workloads: requests are accepted."""
        return self._delivery.is_ready

    @property
    def link_error(self) -> LinkError | None:
        """Why there is no link now; None while it is open."""
        return self._delivery.link_error

    @property
    def counters(self) -> Counters:
        return self._protocol.counters

    @property
    def line_errors(self) -> LineErrors | None:
        """What the device's UARTs counted since the gateway began; None where nobody counts."""
        return self._line.errors

    async def reset_by_line(self) -> None:
        """Reset the board by the lines of its link. Raises LinkError when there is no link, or it cannot."""
        link = self._cable.link
        if link is None or not isinstance(link, ResettableLink):
            raise self.link_error or LinkError(f"{self._opener.name}: this kind of link cannot reset a board")
        await link.reset()

    @asynccontextmanager
    async def lent(self, borrower: str) -> AsyncIterator[str]:
        """The port's address, for as long as another program has it; the session ends before and begins anew afterwards.

        Raises LinkError when this kind of link cannot be lent, is lent already, or its port is not there.
        """
        if not isinstance(self._opener, LendableOpener):
            raise LinkError(f"{self._opener.name}: this kind of link has no port that another program could use")
        async with self._lending.lent(borrower):
            yield await self._address(self._opener)

    async def _address(self, opener: LendableOpener) -> str:
        with anyio.move_on_after(self._open_deadline_s):
            return await opener.address()
        raise LinkTimeout(f"{self._opener.name}: its address was not known within {self._open_deadline_s:g} s")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Somebody looks at the output as it comes: an unfinished line is told at once."""
        self._watch(1)
        try:
            yield
        finally:
            self._watch(-1)

    def _watch(self, more: int) -> None:
        self._watchers += more
        if isinstance(self._protocol, WatchedProtocol):
            self._protocol.watch(is_watched=self._watchers > 0)
            self._pump.touched()

    @contextmanager
    def typing(self, wid: int, gen: int) -> Iterator[None]:
        """Somebody types to the run: requests of SendInput."""
        try:
            yield
        finally:
            if isinstance(self._protocol, ConversingProtocol):
                self._protocol.typist_left(wid, gen)
                self._pump.touched()

    async def run_command(
        self,
        beside: tuple[int, int],
        argv: Sequence[str],
        env: Sequence[str],
        working_dir: str,
        terminal: tuple[str, TerminalSize] | None,
    ) -> Command:
        """Run argv beside the workload (wid, gen), with its env and working_dir for a device that does not know them; the caller closes it.

        Raises DeviceError where the device cannot, LinkError, SessionLost, and LocalProtocolError for what cannot be said.
        """
        if isinstance(self._protocol, ConversingProtocol):
            return await self._converse(self._protocol, beside, argv, terminal)
        if not isinstance(self._protocol, CommandProtocol):
            raise DeviceError(Code.UNSUPPORTED, "nothing but its workloads runs on this kind of device")
        link = self._cable.link
        if link is None or not isinstance(link, CommandLink):
            raise self.link_error or DeviceError(Code.UNSUPPORTED, f"{self._opener.name}: this kind of link runs no commands")
        return await link.run(self._protocol.command_line(argv, env, working_dir), terminal)

    async def _converse(
        self, protocol: ConversingProtocol, beside: tuple[int, int], argv: Sequence[str], terminal: tuple[str, TerminalSize] | None
    ) -> TalkCommand:
        from transports.talk import TalkCommand  # loaded by the first one: most gateways never have one

        size = None if terminal is None else terminal[1]
        command = TalkCommand(
            self.name, lambda moved: protocol.begin_command(beside, argv, size, moved, self._pump.now()), self._pump.asked
        )
        self._pump.asked()
        await command.begun(self._request_deadline_s)
        return command

    async def rest(self, why: str) -> None:
        """End the session and leave the port alone until resume(). Raises LinkError when the port is lent, or is not closed in time."""
        await self._lending.take(why)

    def resume(self) -> None:
        """Open the port again."""
        self._lending.give_back()

    async def request(self, request: Request) -> WorkloadStatus | None:
        """The device's answer, with the status where the request has one.

        Raises DeviceError when the device says no, LocalProtocolError when the request cannot fit, and SessionLost without a session, at
        its end, or after the deadline: then only the next Listed tells whether it took effect. SendInput has no deadline where the device
        says when its program has room. Not to be awaited inside a DeviceSink's method: the answer comes after it.
        """
        request_id = self._protocol.request(request, self._pump.now())
        outcome: Answered | RequestLost | None = None
        with self._answers.expected(request_id) as answer:
            self._pump.asked()
            with anyio.move_on_after(self._patience_s(request)):
                outcome = await answer
        match outcome:
            case Answered(code=0, status=status):
                return status
            case Answered(code=code, text=text):
                raise DeviceError(code, text)
            case RequestLost():
                raise SessionLost(f"{self.name}: the session ended before the answer to {type(request).__name__}")
            case None:
                raise SessionLost(f"{self.name}: no answer to {type(request).__name__} within {self._request_deadline_s:g} s")
            case _:
                assert_never(outcome)

    def _patience_s(self, request: Request) -> float:
        """Input waits until its program reads, as in a pipe: that is no fault of the device, and a silent one ends its session."""
        waits = isinstance(request, SendInput) and isinstance(self._protocol, ConversingProtocol)
        return math.inf if waits else self._request_deadline_s

    async def run(self) -> None:
        """Until cancelled: keep a link open and everything moving. Raises what the sink raises."""
        self._pump.start_clock()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._delivery.run, self._pump.touched)
                tasks.start_soon(self._pump.keep_time)
                await self._cable.keep_plugged()
        finally:
            self._delivery.session_lost()
            self._pump.stop_clock()
            self._answers.lose()

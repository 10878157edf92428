"""The supervisor of one device: opens its link, moves bytes and time between link and protocol core, and tells the sink what happened.

It decides nothing about the protocol, the workloads or their restarts. What happens when the cable is pulled stands in `_use_link`.
One supervisor never waits for another: everything here is per device, and a device that is stuck holds up only its own requests.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final, assert_never

import anyio
import anyio.abc
import anyio.lowlevel

from transports.alarm import Alarm
from transports.backoff import Backoff
from transports.bell import Bell
from transports.conversing import ConversingProtocol
from transports.errors import DeviceError, LinkError, LinkLost, LinkNotFound, LinkTimeout, SessionLost
from transports.lending import Lending
from transports.line_watch import LineWatch
from transports.link import (
    Command,
    CommandLink,
    DirectLink,
    HotplugOpener,
    LendableOpener,
    LineErrors,
    Link,
    LinkOpener,
    ResettableLink,
    TerminalSize,
)
from transports.listed_first import ListedFirst
from transports.protocol import (
    Answered,
    Away,
    Checkpoint,
    CommandProtocol,
    Counters,
    DeviceProtocol,
    Event,
    Inventoried,
    Joined,
    Left,
    Listed,
    Output,
    Problem,
    Reported,
    Request,
    RequestId,
    RequestLost,
    Returned,
    SendInput,
    Text,
    WatchedProtocol,
    WorkloadChanged,
    WorkloadStatus,
)
from transports.sink import DeviceSink
from transports.wire.numbers import Code

if TYPE_CHECKING:
    from transports.talk import TalkCommand

_logger = logging.getLogger(__name__)

OPEN_DEADLINE_S: Final = 10.0
CLOSE_DEADLINE_S: Final = 3.0
"""A little more than a link gives itself."""
REQUEST_DEADLINE_S: Final = 30.0
"""From the call to the answer. A session with a silent device ends earlier, by its keepalive."""
ABSENT_DELAY_S: Final = 0.5
"""The most between two looks for a port that is not there, when nobody tells that it came: a replug is a session again within a second."""
HEARD_DELAY_S: Final = 30.0
"""The same when somebody does: what went wrong in the telling is mended within it, and what is there is told anew."""
STEADY_S: Final = 2.0
"""A link that lived this long was a good one; a shorter life counts as a failed attempt, or a flapping port would be opened without end."""
DRAIN_S: Final = 1.0
"""What a lost link received before it broke is still taken, for this long."""
VANISHED_S: Final = 0.1
"""The same for a port that was unplugged: mostly reading has noticed before; if not, it never will."""
MAX_UNHANDLED_BYTES: Final = 1 << 18
"""Received while the sink is busy. Reading then pauses; less would hold up keepalives and answers behind a slow store."""


BUSY_READ_BYTES: Final = 256
"""A read of so much tells of a busy line; less is a line or an answer, and nobody should wait for the rest of it."""

LOOK_S: Final = 0.1
"""How late a time-out of the core may be while the line is busy; a request that somebody waits for is not affected."""


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
        self._listed_first = ListedFirst(checkpoint)
        self._opener = opener
        self._hotplug = opener if isinstance(opener, HotplugOpener) else None
        self._protocol = protocol
        self._sink = sink
        self._open_deadline_s = open_deadline_s
        self._request_deadline_s = request_deadline_s
        self._read_pause_s = read_pause_s
        self._direct: DirectLink | None = None
        """The open link, if it is one."""
        self._resettable: ResettableLink | None = None
        """As _direct."""
        self._commanding: CommandLink | None = None
        """As _direct."""
        self._watchers = 0
        self._lending = Lending(opener.name)
        self._line = LineWatch()
        self._absent = Backoff(rng, max_s=ABSENT_DELAY_S)
        self._refused = Backoff(rng)
        self._link_error: LinkError | None = LinkNotFound(f"{opener.name}: not opened yet")
        self._told_link_error: LinkError | None = self._link_error
        self._is_ready = False
        self._waiting: dict[RequestId, asyncio.Future[Answered | RequestLost]] = {}
        self._unhandled_bytes = 0
        self._unhandled: list[Event] = []
        self._outgoing = b""
        self._is_writing = False
        self._to_write = Bell()
        self._to_handle = Bell()
        self._alarm = Alarm(self._time_came)
        self._time_failed: asyncio.Future[None] | None = None
        self._handled = Bell()
        self._is_handling = False
        """The sink is being told something, or about to be: what comes now waits its turn."""
        self._is_resting = False
        self._look_at = 0.0
        self._is_unsettled = False
        """The sink wants to settle what was stored last."""
        self._clock: Callable[[], float] = anyio.current_time

    @property
    def is_ready(self) -> bool:
        """A session is up and the device has told all its workloads: requests are accepted."""
        return self._is_ready

    @property
    def link_error(self) -> LinkError | None:
        """Why there is no link now; None while it is open."""
        return self._link_error

    @property
    def counters(self) -> Counters:
        return self._protocol.counters

    @property
    def line_errors(self) -> LineErrors | None:
        """What the device's UARTs counted since the gateway began; None where nobody counts."""
        return self._line.errors

    async def reset_by_line(self) -> None:
        """Reset the board by the lines of its link. Raises LinkError when there is no link, or it cannot."""
        if self._resettable is None:
            raise self._link_error or LinkError(f"{self._opener.name}: this kind of link cannot reset a board")
        await self._resettable.reset()

    @asynccontextmanager
    async def lent(self, borrower: str) -> AsyncIterator[str]:
        """The port's address, for as long as another program has it; the session ends before and begins anew afterwards.

        Raises LinkError when this kind of link cannot be lent, is lent already, or its port is not there.
        """
        if not isinstance(self._opener, LendableOpener):
            raise LinkError(f"{self._opener.name}: this kind of link has no port that another program could use")
        async with self._lending.lent(borrower):
            yield await self._opener.address()

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
            self._touched()

    @contextmanager
    def typing(self, wid: int, gen: int) -> Iterator[None]:
        """Somebody types to the run: requests of SendInput."""
        try:
            yield
        finally:
            if isinstance(self._protocol, ConversingProtocol):
                self._protocol.typist_left(wid, gen)
                self._touched()

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
        if self._commanding is None:
            raise self._link_error or DeviceError(Code.UNSUPPORTED, f"{self._opener.name}: this kind of link runs no commands")
        return await self._commanding.run(self._protocol.command_line(argv, env, working_dir), terminal)

    async def _converse(
        self, protocol: ConversingProtocol, beside: tuple[int, int], argv: Sequence[str], terminal: tuple[str, TerminalSize] | None
    ) -> TalkCommand:
        from transports.talk import TalkCommand  # loaded by the first one: most gateways never have one

        size = None if terminal is None else terminal[1]
        command = TalkCommand(self.name, lambda moved: protocol.begin_command(beside, argv, size, moved, self._clock()), self._asked)
        self._asked()
        await command.begun(self._request_deadline_s)
        return command

    def _asked(self) -> None:
        """Somebody waits for the device."""
        if self._direct is not None:
            self._direct.end_rest()
        self._touched()

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
        request_id = self._protocol.request(request, self._clock())
        answer = self._waiting[request_id] = asyncio.get_running_loop().create_future()
        self._asked()
        outcome: Answered | RequestLost | None = None
        try:
            with anyio.move_on_after(self._patience_s(request)):
                outcome = await answer
        finally:
            del self._waiting[request_id]
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
        self._clock = asyncio.get_running_loop().time  # the same as anyio's, which looks for its loop each time
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._handle_events)
                tasks.start_soon(self._keep_time)
                await self._keep_link()
        finally:
            self._is_ready = False
            self._alarm.cancel()
            for request_id, answer in self._waiting.items():
                _end(answer, RequestLost(request_id))

    # -- the link

    async def _keep_link(self) -> None:
        while True:
            async with self._lending.ours():
                error = await self._open_and_use()
            if not isinstance(error, LinkNotFound):
                self._absent.reset()
                await anyio.sleep(self._refused.next_delay_s())
                continue
            self._refused.reset()
            if self._hotplug is None:
                await anyio.sleep(self._absent.next_delay_s())
            else:
                with anyio.move_on_after(HEARD_DELAY_S):
                    await self._hotplug.appeared()

    async def _open_and_use(self) -> LinkError:
        """Return why the link could not be opened or was lost."""
        try:
            link = await self._open()
        except LinkError as refusal:
            self._set_link_error(refusal)
            return refusal
        opened_at = anyio.current_time()
        try:
            self._set_link_error(None)
            loss = await self._use_link(link)
        finally:
            self._line.closed()
            with anyio.move_on_after(CLOSE_DEADLINE_S, shield=True):
                await link.aclose()
        if anyio.current_time() - opened_at >= STEADY_S:
            self._refused.reset()
        self._set_link_error(loss)
        return loss

    async def _open(self) -> Link:
        with anyio.move_on_after(self._open_deadline_s):
            return await self._opener.open()
        raise LinkTimeout(f"{self._opener.name}: not open within {self._open_deadline_s:g} s")

    def _set_link_error(self, error: LinkError | None) -> None:
        self._link_error = error
        self._wake_handler()

    async def _use_link(self, link: Link) -> LinkError:
        """Pump until the link is lost: then the core ends its session, and the device is looked for again."""
        losses: list[LinkError] = []
        self._outgoing, self._is_writing = b"", False  # what was for a link before this one
        self._direct = link if isinstance(link, DirectLink) else None
        self._resettable = link if isinstance(link, ResettableLink) else None
        self._commanding = link if isinstance(link, CommandLink) else None
        self._line.opened(link, self._protocol.counters, anyio.current_time())
        self._protocol.link_up(anyio.current_time())
        self._touched()
        try:
            async with anyio.create_task_group() as tasks:

                async def until_lost(pump: Callable[[Link], Awaitable[None]], grace_s: float) -> None:
                    try:
                        await pump(link)
                    except LinkError as error:
                        losses.append(error)
                        tasks.cancel_scope.deadline = min(tasks.cancel_scope.deadline, anyio.current_time() + grace_s)

                tasks.start_soon(until_lost, self._write, DRAIN_S)
                tasks.start_soon(until_lost, self._read, 0)
                tasks.start_soon(until_lost, self._give_up, 0)
                if self._hotplug is not None:
                    tasks.start_soon(until_lost, self._listen, VANISHED_S)
        finally:
            self._is_ready, self._is_writing, self._is_resting = False, False, False
            self._direct = self._resettable = self._commanding = None
            self._protocol.link_down(anyio.current_time())
            self._touched()
        return losses[0]

    async def _read(self, link: Link) -> None:
        while True:
            if self._direct is not None:
                await self._direct.deliver(self._receive)
            else:
                self._receive(await link.receive())
            while self._unhandled_bytes > MAX_UNHANDLED_BYTES:
                await self._handled.wait()

    def _receive(self, data: bytes) -> float | None:
        """How long bytes may gather now; None: until the sink has caught up."""
        now = self._clock()
        self._unhandled_bytes += len(data)
        if data:
            self._protocol.receive_data(data, now)
            if self._line.is_watching and (problem := self._line.look(len(data), self._protocol.counters, now)):
                self._unhandled.append(problem)
                self._wake_handler()
        self._advance(now)
        is_too_much = self._unhandled_bytes > MAX_UNHANDLED_BYTES
        pause_s = 0.0 if is_too_much or self._waiting or len(data) < BUSY_READ_BYTES else self._read_pause_s()
        self._is_resting = pause_s > 0 and self._direct is not None
        if not self._is_resting or now >= self._look_at:
            self._look_at = now + LOOK_S
            self._rearm()
        return None if is_too_much else pause_s

    async def _give_up(self, link: Link) -> None:
        """When somebody else wants the port."""
        raise LinkLost(f"{self._opener.name}: {await self._lending.wanted()}")

    async def _listen(self, link: Link) -> None:
        """For the end of the port, where somebody tells of it."""
        if self._hotplug is not None:
            raise LinkLost(f"{self._opener.name}: {await self._hotplug.vanished()}")

    async def _write(self, link: Link) -> None:
        while True:
            data = self._outgoing or self._protocol.data_to_send(self._clock())
            self._outgoing, self._is_writing = b"", bool(data)
            if data:
                self._line.sending(self._clock())
                await link.send(data)
                self._line.sent()
            else:
                self._touched()
                await self._to_write.wait()

    # -- time and events, for as long as the device is configured

    async def _keep_time(self) -> None:
        """The alarm keeps it, without a task to wake; what that raises comes out here."""
        self._time_failed = asyncio.get_running_loop().create_future()
        self._rearm()
        await self._time_failed

    def _time_came(self) -> None:
        if self._time_failed is None or self._time_failed.done():
            return
        try:
            now, deadline = self._clock(), self._protocol.next_deadline()
            if deadline is not None and deadline <= now:
                self._protocol.handle_deadline(now)
            self._advance(now)  # not a moment later: what is sent now is the beginning of the next wait, which would end twice
            self._rearm()
        except Exception as error:
            self._time_failed.set_exception(error)

    def _rearm(self) -> None:
        """No timer runs while the link rests: whoever ends the rest looks at the clock."""
        deadline = self._protocol.next_deadline()
        if not self._is_resting:
            self._alarm.set(deadline)
        elif deadline is not None and deadline <= self._clock():
            asyncio.get_running_loop().call_soon(self._time_came)
        else:
            self._alarm.set(None)

    def _touched(self) -> None:
        """The core was told something."""
        self._advance(self._clock())
        self._rearm()

    def _advance(self, now: float) -> None:
        """The core may want to tell and to write. Nobody is woken for nothing."""
        self._take_events(now)
        if not self._is_writing and not self._outgoing:
            self._outgoing = self._send_now(self._protocol.data_to_send(now), now)
            if self._outgoing:
                self._to_write.ring()

    def _send_now(self, data: bytes, now: float) -> bytes:
        """What is left for the writer: an acknowledgement mostly needs no other task."""
        if not data or self._direct is None:
            return data
        written = self._direct.send_now(data)
        if written < len(data):
            return data[written:]
        return b"" if self._protocol.is_drained else self._protocol.data_to_send(now)

    def _take_events(self, now: float) -> None:
        """Output is stored at once when its turn has come, everything else and what follows it by the handler."""
        events = self._protocol.events()
        for number, event in enumerate(events):
            if self._is_handling or not isinstance(event, Output):
                self._unhandled += events[number:]
                self._wake_handler()
                return
            for ordered in self._listed_first.order_output(event):
                self._store(ordered, now)
        if not self._is_handling:
            self._unhandled_bytes = 0

    def _store(self, output: Output, now: float) -> None:
        if self._sink.store(self.name, output):
            self._is_unsettled = True
            self._wake_handler()
        self._protocol.stored(output.checkpoint, now)

    def _wake_handler(self) -> None:
        self._is_handling = True
        self._to_handle.ring()

    async def _handle_events(self) -> None:
        while True:
            self._is_handling = True
            await self._tell_link_error()
            bytes_seen = self._unhandled_bytes
            events, self._unhandled = self._unhandled, []
            await self._settle()
            for event in events:
                for ordered in self._listed_first.order(event):
                    await self._handle(ordered)
            self._unhandled_bytes -= bytes_seen
            self._handled.ring()
            if not self._unhandled and not self._is_unsettled:
                self._is_handling = False
                await self._to_handle.wait()

    async def _settle(self) -> None:
        if self._is_unsettled:
            self._is_unsettled = False
            await self._sink.settle(self.name)

    async def _tell_link_error(self) -> None:
        error = self._link_error
        if _describe(error) != _describe(self._told_link_error):
            self._told_link_error = error
            await self._sink.link_changed(self.name, error)

    async def _handle(self, event: Event) -> None:
        match event:
            case Output():
                self._store(event, self._clock())
                self._touched()
                await self._settle()
            case Answered() | RequestLost():
                if answer := self._waiting.get(event.request_id):
                    _end(answer, event)
            case Joined() | Left():
                self._is_ready = False
                await self._sink.happened(self.name, event)
            case Listed():
                self._is_ready = True
                await self._sink.happened(self.name, event)
            case Problem() if self._line.knows_better(event):
                pass
            case Inventoried() | Reported() | WorkloadChanged() | Text() | Away() | Returned() | Problem():
                await self._sink.happened(self.name, event)
            case _:
                assert_never(event)


def _end(answer: asyncio.Future[Answered | RequestLost], outcome: Answered | RequestLost) -> None:
    if not answer.done():
        answer.set_result(outcome)


def _describe(error: LinkError | None) -> tuple[type[LinkError], str] | None:
    return None if error is None else (type(error), str(error))

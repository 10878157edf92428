"""Moves bytes and time between the protocol core of one device and its link, and decides nothing but when to read.

Time goes on without a link, too: the core lives as long as the device is configured.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import anyio

from transports.alarm import Alarm
from transports.answers import Answers
from transports.bell import Bell
from transports.delivery import Delivery
from transports.line_watch import LineWatch
from transports.link import DirectLink, Link
from transports.protocol import DeviceProtocol

BUSY_READ_BYTES: Final = 256
"""A read of so much tells of a busy line; less is a line or an answer, and nobody should wait for the rest of it."""

LOOK_S: Final = 0.1
"""How late a time-out of the core may be while the line is busy; a request that somebody waits for is not affected."""


class Pump:
    """connect() and disconnect() for each link, read() and write() between them; keep_time() all the while.

    Whoever tells the core something else says so: touched() or asked().
    """

    def __init__(
        self, protocol: DeviceProtocol, delivery: Delivery, answers: Answers, line: LineWatch, read_pause_s: Callable[[], float]
    ) -> None:
        self._protocol = protocol
        self._delivery = delivery
        self._answers = answers
        self._line = line
        self._read_pause_s = read_pause_s
        self._direct: DirectLink | None = None
        """The open link, if it is one."""
        self._outgoing = b""
        self._is_writing = False
        self._to_write = Bell()
        self._is_resting = False
        self._look_at = 0.0
        self._alarm = Alarm(self._time_came)
        self._time_failed: asyncio.Future[None] | None = None
        self._clock: Callable[[], float] = anyio.current_time

    def now(self) -> float:
        """The core's clock."""
        return self._clock()

    # -- the link

    def connect(self, link: Link) -> None:
        """It is open: the core may begin."""
        self._outgoing, self._is_writing = b"", False  # what was for a link before this one
        self._direct = link if isinstance(link, DirectLink) else None
        self._line.opened(link, self._protocol.counters, self._clock())
        self._protocol.link_up(self._clock())
        self.touched()

    def disconnect(self) -> None:
        """It is lost, and not closed yet: the core ends its session."""
        self._is_writing = self._is_resting = False
        self._direct = None
        self._protocol.link_down(self._clock())
        self.touched()
        self._line.closed()

    async def read(self, link: Link) -> None:
        """Raises LinkLost, as write()."""
        while True:
            if self._direct is not None:
                await self._direct.deliver(self._receive)
            else:
                self._receive(await link.receive())
            await self._delivery.room()

    def _receive(self, data: bytes) -> float | None:
        """How long bytes may gather now; None: until the sink has caught up."""
        now = self._clock()
        self._delivery.received(len(data))
        if data:
            self._protocol.receive_data(data, now)
            if self._line.is_watching and (problem := self._line.look(len(data), self._protocol.counters, now)):
                self._delivery.tell(problem)
        self._advance(now)
        is_too_much = self._delivery.is_full
        pause_s = 0.0 if is_too_much or self._answers.are_awaited or len(data) < BUSY_READ_BYTES else self._read_pause_s()
        self._is_resting = pause_s > 0 and self._direct is not None
        if not self._is_resting or now >= self._look_at:
            self._look_at = now + LOOK_S
            self._rearm()
        return None if is_too_much else pause_s

    async def write(self, link: Link) -> None:
        while True:
            data = self._outgoing or self._protocol.data_to_send(self._clock())
            self._outgoing, self._is_writing = b"", bool(data)
            if data:
                self._line.sending(self._clock())
                await link.send(data)
                self._line.sent()
            else:
                self.touched()
                await self._to_write.wait()

    # -- the core

    def touched(self) -> None:
        """The core was told something."""
        self._advance(self._clock())
        self._rearm()

    def asked(self) -> None:
        """The same, and somebody waits for the device."""
        if self._direct is not None:
            self._direct.end_rest()
        self.touched()

    def _advance(self, now: float) -> None:
        """The core may want to tell and to write. Nobody is woken for nothing."""
        self._delivery.take(now)
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

    # -- time

    async def keep_time(self) -> None:
        """The alarm keeps it, without a task to wake; what that raises comes out here."""
        self._time_failed = asyncio.get_running_loop().create_future()
        self._rearm()
        await self._time_failed

    def start_clock(self) -> None:
        """On the event loop that everything runs on."""
        self._clock = asyncio.get_running_loop().time  # the same as anyio's, which looks for its loop each time

    def stop_clock(self) -> None:
        """When nobody keeps time any more."""
        self._alarm.cancel()

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

"""Conversations at the device's end: which are open, what comes in and goes out, and how each ends (SPEC.md, conversations). Pure.

The application opens one when it takes an EXEC or ATTACH, and then reads, writes and looks at `is_over` whenever the session
heard something. It decides what a command is; here is only how its ends are told.
"""

from __future__ import annotations

from collections.abc import Callable

from transports.errors import RemoteProtocolError
from transports.wire.channels import Channel, Channels
from transports.wire.conversation_messages import Attach, Close, CreditAnswer, Exec, Winch
from transports.wire.numbers import Body
from transports.wire.timers import Rto


class DeviceTalk:
    """One conversation. errors is the channel of standard error, if it is apart; an ATTACH has only input."""

    def __init__(
        self, channel: Channel, errors: Channel | None, tell: Callable[[Close], None], *, is_tty: bool, size: tuple[int, int] | None
    ) -> None:
        self.number = channel.number
        self.is_tty = is_tty
        self.size = size
        """(columns, rows), the newest."""
        self.is_closed = False
        """The device has said its end."""
        self.is_over = False
        """Nobody is at the other end any more, or everything is done."""
        self._channel = channel
        self._errors = errors
        self._tell = tell

    def numbers(self) -> list[int]:
        return [channel.number for channel in (self._channel, self._errors) if channel is not None]

    def answer(self) -> Body:
        """Of EXEC and ATTACH."""
        return CreditAnswer(self._channel.inlet.capacity_bytes).to_map()

    # -- the application's side

    def read(self, most_bytes: int) -> bytes:
        return self._channel.inlet.take(most_bytes)

    def unread_bytes(self) -> int:
        return len(self._channel.inlet)

    @property
    def has_input_ended(self) -> bool:
        """And all of it was read."""
        return self._channel.inlet.has_ended

    def write(self, data: bytes, *, is_error: bool = False) -> int:
        """How much of it there was room for."""
        return (self._errors if is_error and self._errors is not None else self._channel).write(data)

    def room_bytes(self, *, is_error: bool = False) -> int:
        return (self._errors if is_error and self._errors is not None else self._channel).outlet.room_bytes()

    def end(self, exit_code: int, signal: int | None = None) -> None:
        """The command is over; what it wrote still goes out."""
        if self.is_closed or self.is_over:
            return
        self.is_closed = True
        if self._errors is not None:
            self._tell(Close(self._errors.number, self._errors.outlet.next))
        self._tell(Close(self.number, self._channel.outlet.next, signal=signal, exit_code=exit_code))

    def give_up(self, code: int = 0, text: str = "") -> None:
        """At once. Of an ATTACH with code 0: its input is over."""
        if not self.is_over:
            self.is_closed = self.is_over = True
            self._tell(Close(self.number, code=code, text=text))

    # -- the gateway's

    def input_ends(self, off: int) -> None:
        self._channel.inlet.end = off


class DeviceTalks:
    """Those of one session."""

    def __init__(self, tell: Callable[[Close], None]) -> None:
        self.channels = Channels()
        self._tell = tell
        self._open: dict[int, DeviceTalk] = {}

    def open(self, request: Exec | Attach, *, buffer_bytes: int, rto: Callable[[], Rto]) -> DeviceTalk:
        """Raises RemoteProtocolError when a number is in use."""
        errors, credit, is_tty, size = None, 0, False, None
        if isinstance(request, Exec):
            credit, is_tty, size = request.credit, request.is_tty, request.size
            if request.error_ch is not None:
                errors = self._channel(request.error_ch, 1, buffer_bytes, credit, rto())
        channel = self._channel(request.ch, buffer_bytes, buffer_bytes, credit, rto())
        talk = DeviceTalk(channel, errors, self._close, is_tty=is_tty, size=size)
        for opened in (channel, errors):
            if opened is not None:
                self.channels.open(opened)
        self._open[talk.number] = talk
        return talk

    def _channel(self, number: int, receive_bytes: int, send_bytes: int, credit: int, rto: Rto) -> Channel:
        if number in self.channels:
            raise RemoteProtocolError(f"channel {number} is in use")
        return Channel(number, receive_bytes=receive_bytes, send_bytes=send_bytes, peer_credit=credit, rto=rto)

    def _close(self, close: Close) -> None:
        """The device's word; without an offset the conversation's channels are free with it."""
        self._tell(close)
        if close.off is None:
            self._forget(close.ch)

    def closed(self, close: Close) -> None:
        """The gateway's word."""
        talk = self._open.get(close.ch)
        if talk is None:
            return
        if close.off is not None:
            talk.input_ends(close.off)
        elif not talk.is_closed:
            talk.give_up()
        else:
            talk.is_over = True
            self._forget(close.ch)

    def resized(self, winch: Winch) -> None:
        talk = self._open.get(winch.ch)
        if talk is not None and talk.is_tty:
            talk.size = (winch.columns, winch.rows)

    def _forget(self, number: int) -> None:
        talk = self._open.pop(number, None)
        for each in talk.numbers() if talk is not None else ():
            self.channels.close(each)

    def end(self) -> None:
        """With the session, without a word."""
        for talk in self._open.values():
            talk.is_closed = talk.is_over = True
        self._open.clear()

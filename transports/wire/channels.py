"""Channels of conversations: bytes in both directions, each in a buffer whose room is the credit (SPEC.md, conversations). Pure.

Both roles use it. A `Channel` is one number; `Channels` are those of a session, which take turns. It refuses to hold more than the
buffers, and knows neither what a conversation is for nor how it ends: that is told by messages.
"""

from __future__ import annotations

from collections.abc import Iterator

from transports.wire.control_channel import earliest
from transports.wire.receive_stream import OutgoingAck, ReceiveStream
from transports.wire.send_stream import Outgoing, SendStream
from transports.wire.timers import Rto


class Inlet:
    """What came in on a channel and was not taken yet."""

    __slots__ = ("_buffer", "_edge", "_stream", "capacity_bytes", "end")

    def __init__(self, capacity_bytes: int) -> None:
        """The peer was told this capacity as its first credit."""
        self._stream = ReceiveStream(capacity_bytes, ack_bytes=max(capacity_bytes // 2, 1))
        self.capacity_bytes = self._stream.window_bytes
        self._buffer = bytearray()
        self._edge = self.capacity_bytes
        """Up to where the peer knows that it may send."""
        self.end: int | None = None
        """Where the sender said that it ends."""

    def __len__(self) -> int:
        return len(self._buffer)

    def receive(self, off32: int, payload: bytes, now: float) -> None:
        """What is in the buffer is stored; the room that is left is the credit."""
        fresh = self._stream.receive(off32, payload)
        if fresh:
            self._buffer += fresh
            self._stream.window_bytes -= len(fresh)
            self._stream.store(self._stream.expected, now)

    def take(self, most_bytes: int) -> bytes:
        data = bytes(self._buffer[:most_bytes])
        del self._buffer[: len(data)]
        stream = self._stream
        stream.window_bytes += len(data)
        if data and stream.expected + stream.window_bytes - self._edge >= max(self.capacity_bytes // 2, 1):
            stream.ask()
        return data

    @property
    def received(self) -> int:
        """How much ever came, as an offset."""
        return self._stream.expected

    @property
    def has_ended(self) -> bool:
        """All that will ever come was taken."""
        return self.has_all and not self._buffer

    @property
    def has_all(self) -> bool:
        """All that will ever come is here."""
        return self.end is not None and self._stream.expected >= self.end

    def poll_ack(self, now: float) -> OutgoingAck | None:
        ack = self._stream.poll_ack(now)
        if ack is not None:
            self._edge = max(self._edge, ack[1] + ack[2])
        return ack

    def next_deadline(self) -> float | None:
        return self._stream.next_deadline()

    def handle_deadline(self, now: float) -> None:
        self._stream.handle_deadline(now)


class Channel:
    """One number, both directions."""

    __slots__ = ("inlet", "number", "outlet")

    def __init__(self, number: int, *, receive_bytes: int, send_bytes: int, peer_credit: int, rto: Rto) -> None:
        self.number = number
        self.inlet = Inlet(receive_bytes)
        self.outlet = SendStream(send_bytes, rto)
        self.outlet.join(None, peer_credit)

    def write(self, data: bytes) -> int:
        """How much of it there is room for."""
        taken = min(len(data), self.outlet.room_bytes())
        if taken:
            self.outlet.write(data[:taken])
        return taken


class Channels:
    """The open channels of one session."""

    def __init__(self) -> None:
        self._open: dict[int, Channel] = {}
        self._turn = 0
        """The number that was sent last."""

    def __bool__(self) -> bool:
        return bool(self._open)

    def __contains__(self, number: int) -> bool:
        return number in self._open

    def open(self, channel: Channel) -> None:
        assert channel.number not in self._open
        self._open[channel.number] = channel

    def close(self, number: int) -> None:
        """Idempotent. What is under way is forgotten."""
        self._open.pop(number, None)

    def unread_bytes(self) -> int:
        """What the readers cost in memory."""
        return sum(len(channel.inlet) for channel in self._open.values())

    # -- frames in; those of a channel that is not open are dropped

    def receive(self, number: int, off32: int, payload: bytes, now: float) -> None:
        if (channel := self._open.get(number)) is not None:
            channel.inlet.receive(off32, payload, now)

    def acknowledged(self, number: int, off32: int, credit: int, *, rejects: bool, now: float) -> None:
        if (channel := self._open.get(number)) is not None:
            channel.outlet.acknowledged(off32, credit, rejects=rejects, now=now)

    # -- frames out

    def poll_ack(self, now: float) -> tuple[int, OutgoingAck] | None:
        for channel in self._open.values():
            if (ack := channel.inlet.poll_ack(now)) is not None:
                return channel.number, ack
        return None

    def poll(self, max_payload: int, now: float) -> tuple[int, Outgoing] | None:
        """The next frame of bytes, another channel's each time."""
        for channel in self._in_turn():
            if (outgoing := channel.outlet.poll(max_payload, now)) is not None:
                self._turn = channel.number
                return channel.number, outgoing
        return None

    def _in_turn(self) -> Iterator[Channel]:
        numbers = sorted(self._open)
        for number in [*(n for n in numbers if n > self._turn), *(n for n in numbers if n <= self._turn)]:
            yield self._open[number]

    # -- time

    def next_deadline(self, *, is_away: bool = False) -> float | None:
        """is_away: time stands still for what was sent."""
        channels = self._open.values()
        acks = [channel.inlet.next_deadline() for channel in channels]
        return earliest(*acks, *([] if is_away else [channel.outlet.next_deadline() for channel in channels]))

    def handle_deadline(self, now: float, *, is_away: bool = False) -> None:
        for channel in self._open.values():
            channel.inlet.handle_deadline(now)
            if not is_away:
                channel.outlet.handle_deadline(now)

    def resume(self, now: float) -> None:
        """After AWAY: waits begin anew."""
        for channel in self._open.values():
            channel.outlet.resume(now)

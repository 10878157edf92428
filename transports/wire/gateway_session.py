"""The gateway's end of a session: listen, WELCOME, READY, then LOG and CTRL until silence or RST (SPEC.md, session, gateway).

Pure: bytes and `now` come in, bytes and calls of the listener go out. It lives as long as its device is configured and survives links,
sessions and boots. It refuses to send a byte before the first good frame of a link, and to acknowledge what was not declared stored.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from transports.errors import NotUnderstood, RemoteProtocolError
from transports.protocol import ANOTHER_DEVICE, Checkpoint, GapReason
from transports.wire.channels import Channels
from transports.wire.control_channel import ControlChannel, earliest
from transports.wire.datagrams import Hello, Ping, Pong, Ready, Welcome, decode_dgram, encode_dgram
from transports.wire.framing import ACK, DATA, DGRAM, FCS_BYTES, HEADER_BYTES, RST, SKIP, Deframer, Frame, encode_frame
from transports.wire.gateway_handshake import Identity, Pending, offer
from transports.wire.gateway_listener import GatewayListener as GatewayListener
from transports.wire.gateway_listener import Joining as Joining
from transports.wire.liveness import Liveness
from transports.wire.messages import Away, ControlMessage, Notification, decode_control
from transports.wire.numbers import (
    CH_CTRL,
    CH_LINK,
    CH_LOG,
    MAX_MESSAGE_BYTES,
    MIN_MTU,
    PROTOCOL_VERSION,
    Caps,
    Method,
    RstCode,
    gap_reason,
)
from transports.wire.offsets import HALF, MASK, MAX_OFFSET, distance, unwrap
from transports.wire.receive_stream import MAX_CREDIT_BYTES, OutgoingAck, ReceiveStream
from transports.wire.send_stream import Outgoing, low
from transports.wire.timers import MeasuredRto

ANSWER_INTERVAL_S: Final = 0.1
"""RST to frames of unknown sessions, and repeated WELCOMEs, go no more often than this."""
FRAME_TIME_S: Final = 0.010
"""A frame takes no more of the line than this, so that a request never waits long."""
FRAMES_AT_ONCE: Final = 2
MAX_LINK_FRAMES: Final = 8
SEND_BYTES: Final = 65536
"""Requests that wait for credit or for their ACK."""
ACK_FRAMES: Final = 2
"""LOG is acknowledged when so many frames were stored, or a quarter of the device's ring."""


@dataclass(slots=True)
class _Session:
    sid: int
    hello: Hello
    ready: Ready
    mtu: int
    control: ControlChannel
    liveness: Liveness
    is_lossy: bool
    """The device has no ring."""
    channels: Channels = field(default_factory=Channels)
    ping_nonce: int = 0
    is_told_away: bool = False
    """The listener was told that it went away. A HELLO may be an old one: that it is back in the session is told by its next PONG."""


class GatewaySession:
    """See the module. Call data_to_send until it is empty after every other call."""

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        listener: GatewayListener,
        *,
        gateway_id: int,
        keepalive_s: float,
        mtu: int,
        line_bytes_per_s: float | None,
        rng: random.Random,
        credit_bytes: int = MAX_CREDIT_BYTES,
        refuses: Callable[[bytes], str | None] = lambda device_id: None,
    ) -> None:
        self.known = Identity.from_checkpoint(checkpoint)
        self.log = ReceiveStream(credit_bytes, offset=checkpoint.stored if checkpoint else 0)
        self.sessions = 0
        self.retransmits = 0
        self.unknown_datagrams = 0
        """Of a later version: dropped."""
        self._listener = listener
        self._gateway_id = gateway_id
        self._keepalive_s = keepalive_s
        self._mtu = mtu
        self._line_payload = _payload_in(FRAME_TIME_S, line_bytes_per_s)
        self._rng = rng
        self._refuses = refuses
        self._deframer = Deframer(mtu)
        self._current: _Session | None = None
        self._pending: Pending | None = None
        self._link: deque[bytes] = deque(maxlen=MAX_LINK_FRAMES)
        self._answered_at = float("-inf")
        self.is_drained = True
        """The last data_to_send told all there was: nothing more comes without another call."""
        self.tx_frames = 0

    @property
    def hello(self) -> Hello | None:
        """What the device of the current session told of itself; None without a session."""
        return self._current.hello if self._current is not None else None

    @property
    def channels(self) -> Channels | None:
        """Those of the current session; whose they are and when they end is for the listener to say."""
        return self._current.channels if self._current is not None else None

    @property
    def is_away(self) -> bool:
        return self._current is not None and self._current.liveness.away_until is not None

    @property
    def rx_frames(self) -> int:
        return self._deframer.rx_frames

    @property
    def rx_bad(self) -> int:
        return self._deframer.rx_bad

    @property
    def rx_unknown(self) -> int:
        return self._deframer.rx_unknown

    # -- the link

    def link_up(self) -> None:
        """A new pipe. A device that was here before may still be in its session and have nothing to say: ending that brings its HELLO
        at once instead of after three keepalives. A port that never carried frames hears nothing (SPEC 1.4)."""
        self._deframer.close()
        self.is_drained = True
        if self.known.sid:
            self._put(RST, self.known.sid, bytes([RstCode.UNKNOWN_SESSION]))

    def link_down(self, now: float) -> None:
        for text in self._deframer.close():
            self._listener.on_text(text)
        self._pending = None
        self._leave("the link was lost", now)
        self._link.clear()

    # -- bytes in

    def receive_data(self, data: bytes, now: float) -> None:
        """Bytes from the wire, cut anywhere. LOG frames that follow each other are handed on in one piece."""
        run: list[bytes] = []
        sid, expected = self._log_expectation()
        for item in self._deframer.feed(data, now):
            if type(item) is tuple:
                type_, _, frame_sid, ch, off, payload = item
                if off == expected and ch == CH_LOG and type_ == DATA and frame_sid == sid and payload:
                    run.append(payload)
                    expected = (off + len(payload)) & MASK
                    continue
            if run:
                self._receive_run(run, now)
                run = []
            if isinstance(item, bytes):
                self._listener.on_text(item)
            else:
                self._receive_frame(item, now)
            sid, expected = self._log_expectation()
        if run:
            self._receive_run(run, now)

    def _log_expectation(self) -> tuple[int, int]:
        """Session id and low offset of the LOG frame that comes next; an id that no frame has without a session."""
        return (self._current.sid if self._current is not None else -1), self.log.expected & MASK

    def _receive_run(self, run: list[bytes], now: float) -> None:
        assert self._current is not None
        self._current.liveness.heard_at = now
        self._receive_log(self.log.expected, b"".join(run) if len(run) > 1 else run[0])

    def _receive_log(self, off32: int, payload: bytes) -> None:
        fresh = self.log.receive(off32, payload)
        if fresh:
            self._listener.on_log(self.log.expected - len(fresh), fresh)

    def _receive_frame(self, frame: Frame, now: float) -> None:
        type_, flag, sid, ch, off, payload = frame
        current, pending = self._current, self._pending
        if sid == 0:
            if type_ == DGRAM and ch == CH_LINK:
                self._receive_outside(payload, now)
        elif current is not None and sid == current.sid:
            current.liveness.heard_at = now
            self._receive_inside(current, type_, flag, ch, off, payload, now)
        elif pending is not None and sid == pending.sid:
            self._receive_pending(pending, type_, payload, now)
        elif type_ != RST and self._may_answer(now):
            self._put(RST, sid, bytes([RstCode.UNKNOWN_SESSION]))

    def _may_answer(self, now: float) -> bool:
        if now < self._answered_at + ANSWER_INTERVAL_S:
            return False
        self._answered_at = now
        return True

    def _decode(self, payload: bytes) -> object:
        try:
            message = decode_dgram(payload)
        except RemoteProtocolError as exc:
            self._listener.on_problem("MalformedMessage", f"a datagram was refused: {exc}")
            return None
        self.unknown_datagrams += message is None
        return message

    # -- handshake

    def _receive_outside(self, payload: bytes, now: float) -> None:
        hello = self._decode(payload)
        if not isinstance(hello, Hello):
            return
        if hello.proto_max < PROTOCOL_VERSION:
            self._listener.on_problem(
                "VersionMismatch", f"the device speaks versions up to {hello.proto_max}, this gateway {PROTOCOL_VERSION}"
            )
            return
        if (why := self._refuses(hello.device_id)) is not None:
            self._listener.on_problem(ANOTHER_DEVICE, why)
            return
        if self._current is not None:
            if hello == self._current.hello:
                return
            self._end_away(self._current, now)
        self._pending = offer(hello, self.known, self._pending, self._rng)
        self._welcome(self._pending)

    def _welcome(self, pending: Pending) -> None:
        hello = pending.hello
        pending.stored_told = self.log.stored if pending.epoch == self.known.epoch else None
        welcome = Welcome(
            version=PROTOCOL_VERSION,
            sid=pending.sid,
            boot_id=pending.boot_id,
            echo_ms=hello.uptime_ms,
            mtu=min(hello.mtu, self._mtu),
            credit=self.log.window_bytes,
            ka_ms=round(self._keepalive_s * 1000),
            stored=pending.stored_told,
            gateway_id=self._gateway_id,
        )
        self._put(DGRAM, 0, encode_dgram(welcome))

    def _receive_pending(self, pending: Pending, type_: int, payload: bytes, now: float) -> None:
        """Only READY takes the offer; anything else means that READY was lost."""
        ready = self._decode(payload) if type_ == DGRAM else None
        if isinstance(ready, Ready):
            self._take_ready(pending, ready, now)
        elif type_ != RST and self._may_answer(now):
            self._welcome(pending)

    def _take_ready(self, pending: Pending, ready: Ready, now: float) -> None:
        if ready.next >= MAX_OFFSET:
            self._listener.on_problem("MalformedMessage", f"READY tells a log of {ready.next} bytes")
            return
        is_new_epoch = pending.epoch != self.known.epoch
        went_back = distance(ready.uptime_ms, pending.first_uptime_ms) < 0
        self._pending = None
        self._leave("the device began a new session", now)
        if went_back or (not is_new_epoch and ready.next < self.log.expected):
            ends = "its uptime went back" if went_back else f"its log ends at {ready.next}, and {self.log.expected} bytes of it came"
            self._listener.on_problem("SessionForgotten", f"it must forget its boot and its log: {ends}")
            self._put(RST, pending.sid, bytes([RstCode.FORGET]))
            return
        hello = pending.hello
        mtu = min(hello.mtu, self._mtu)
        control = ControlChannel(
            send_bytes=SEND_BYTES,
            window_bytes=MAX_CREDIT_BYTES,
            longest_bytes=MAX_MESSAGE_BYTES,
            peer_credit=hello.max_msg,
            rto=MeasuredRto(),
        )
        self._current = _Session(
            pending.sid, hello, ready, mtu, control, Liveness(self._keepalive_s, now), is_lossy=not hello.caps & Caps.RLOG
        )
        self.sessions += 1
        self.known.boot_id, self.known.epoch, self.known.uptime_ms = pending.boot_id, pending.epoch, ready.uptime_ms
        ring_bytes = MAX_CREDIT_BYTES if hello.tx_ring is None else hello.tx_ring
        self.log.join(min(ACK_FRAMES * mtu, max(ring_bytes // 4, 1)))
        if is_new_epoch:
            self.log.restart(ready.base)
        self._listener.on_joined(Joining(hello, ready, pending.is_new_boot, is_new_epoch), now)
        if not is_new_epoch and pending.stored_told is not None and ready.base - pending.stored_told >= HALF:
            self._jump(ready.base, GapReason.OVERWRITTEN)

    def _jump(self, offset: int, reason: GapReason) -> None:
        if self.log.expected < offset < MAX_OFFSET:
            self.log.jump(offset)
            self._listener.on_gap(offset, None, reason)

    # -- in session

    def _receive_inside(self, session: _Session, type_: int, flag: int, ch: int, off: int, payload: bytes, now: float) -> None:
        if type_ == DATA and ch == CH_LOG:
            if session.is_lossy and self.log.is_ahead(off):
                self._jump(unwrap(off, self.log.expected), GapReason.LOSSY_SENDER)
            self._receive_log(off, payload)
        elif type_ == DATA and ch == CH_CTRL:
            self._receive_control(session, flag, off, payload, now)
        elif type_ == ACK and ch == CH_CTRL and len(payload) == 2:
            session.control.tx.acknowledged(off, int.from_bytes(payload, "little"), rejects=bool(flag), now=now)
        elif type_ == DATA:
            session.channels.receive(ch, off, payload, now)
        elif type_ == ACK and len(payload) == 2:
            session.channels.acknowledged(ch, off, int.from_bytes(payload, "little"), rejects=bool(flag), now=now)
        elif type_ == SKIP and ch == CH_LOG and len(payload) == 5:
            end = self.log.skip(off)
            if end is not None:
                self._listener.on_gap(end, int.from_bytes(payload[:4], "little"), gap_reason(payload[4]))
        elif type_ == RST:
            self._leave(f"the device ended the session (code {payload[0] if payload else 0})", now)
        elif type_ == DGRAM:
            self._receive_dgram(session, self._decode(payload), now)

    def _receive_dgram(self, session: _Session, message: object, now: float) -> None:
        match message:
            case Pong(nonce=nonce) if nonce in (0, session.ping_nonce):
                if self.known.went_back(message.uptime_ms):
                    if nonce:  # 0 is not asked for: it may be an old one that came again
                        self._forget(session, "its uptime went back", now)
                    return
                self.known.saw(message.uptime_ms)
                self._listener.on_uptime(message.uptime_ms, now)
                if nonce == 0:
                    self._end_away(session, now)
                if session.is_told_away and session.liveness.away_until is None:
                    session.is_told_away = False
                    self._listener.on_away(None)
                if session.is_lossy and message.next is not None:
                    self._jump(message.next, GapReason.LOSSY_SENDER)
            case Ready() if _is_another(message, session.ready):
                self._forget(session, "it joined the same session twice", now)
            case _:
                pass

    def _receive_control(self, session: _Session, flag: int, off: int, payload: bytes, now: float) -> None:
        try:
            session.control.receive(flag, off, payload, now)
            while self._current is session and (data := session.control.take(now)) is not None:
                self._act_upon(session, decode_control(data), now)
        except RemoteProtocolError as exc:
            self._listener.on_problem("MalformedMessage", str(exc))
            if self._current is session:
                self.reset(f"it sent a message that breaks the protocol: {exc}", now)

    def _act_upon(self, session: _Session, message: ControlMessage, now: float) -> None:
        try:
            if isinstance(message, Notification) and message.method == Method.AWAY:
                self._begin_away(session, Away.from_map(message.body), now)
            else:
                self._listener.on_message(message, now)
        except NotUnderstood as exc:
            if not isinstance(message, Notification):
                raise  # a request would stay open for ever
            self._listener.on_problem("MalformedMessage", str(exc))

    def send(self, message: bytes) -> bool:
        """Queue a CTRL message; False when there is no room or no session."""
        return self._current is not None and self._current.control.send(message)

    def reset(self, why: str, now: float) -> None:
        """End the session because of what the device sent."""
        if self._current is not None:
            self._put(RST, self._current.sid, bytes([RstCode.PROTOCOL_ERROR]))
            self._leave(why, now)

    def _forget(self, session: _Session, why: str, now: float) -> None:
        self._put(RST, session.sid, bytes([RstCode.FORGET]))
        self._leave(why, now)

    def _leave(self, why: str, now: float) -> None:
        if self._current is not None:
            self.retransmits += self._current.control.tx.retransmits
            self._current = None
            self._listener.on_left(why, now)

    # -- AWAY

    def _begin_away(self, session: _Session, away: Away, now: float) -> None:
        session.liveness.go_away(away.duration_ms, now)
        session.is_told_away = True
        self._listener.on_away(away)

    def _end_away(self, session: _Session, now: float) -> None:
        if session.liveness.away_until is not None:
            session.liveness.come_back(now)
            session.control.tx.resume(now)
            session.channels.resume(now)

    # -- bytes out

    def stored(self, upto: int, now: float) -> None:
        """LOG bytes before upto, of the current epoch, are durable: only this makes ACKs and credit."""
        self.log.store(upto, now)

    def data_to_send(self, now: float) -> bytes:
        """What to write next, at most two frames; call again after it was written until is_drained."""
        out: list[bytes] = []
        lead, self.is_drained = b"\0" if self.is_drained else b"", False
        while len(out) < FRAMES_AT_ONCE and not self.is_drained:
            if (frame := self._next_frame(now)) is not None:
                out.append(frame)
        if not out:
            return b""
        self.tx_frames += len(out)
        if self._current is not None:
            self._current.liveness.sent_at = now
        return lead + b"".join(out)

    def _next_frame(self, now: float) -> bytes | None:
        """LINK before CTRL before ACK before conversations; without these an ACK of LOG is always the last."""
        if self._link:
            return self._link.popleft()
        session = self._current
        if session is None:
            self.is_drained = True
            return None
        if not session.control.is_quiet:
            if session.liveness.away_until is None:
                outgoing = session.control.poll(min(session.mtu, self._line_payload), now)
                if outgoing is not None:
                    return _stream_frame(session.sid, CH_CTRL, outgoing)
            if (ack := session.control.poll_ack(now)) is not None:
                return _ack_frame(session.sid, CH_CTRL, ack)
        if session.channels:
            return self._next_with_channels(session, now)
        self.is_drained = True
        return self._next_log_ack(session, now)

    def _next_log_ack(self, session: _Session, now: float) -> bytes | None:
        ack = self.log.poll_ack(now)
        return None if ack is None else _ack_frame(session.sid, CH_LOG, ack)

    def _next_with_channels(self, session: _Session, now: float) -> bytes | None:
        if (owed := session.channels.poll_ack(now)) is not None:
            return _ack_frame(session.sid, *owed)
        if (ack := self._next_log_ack(session, now)) is not None:
            return ack
        if session.liveness.away_until is None:
            waiting = session.channels.poll(min(session.mtu, self._line_payload), now)
            if waiting is not None:
                return _stream_frame(session.sid, *waiting)
        self.is_drained = True
        return None

    def _put(self, type_: int, sid: int, payload: bytes) -> None:
        frame = encode_frame(type_, 0, sid, CH_LINK, 0, payload)
        if frame not in self._link:
            self._link.append(frame)

    # -- time

    def next_deadline(self) -> float | None:
        """When to call handle_deadline (and then data_to_send), or None."""
        session = self._current
        text = self._deframer.next_deadline()
        if session is None:
            return text
        is_away = session.liveness.away_until is not None
        control = None if is_away else session.control.next_deadline()
        channels = session.channels.next_deadline(is_away=is_away) if session.channels else None
        return earliest(session.liveness.next_deadline(), self.log.next_deadline(), control, channels, text)

    def handle_deadline(self, now: float) -> None:
        for text in self._deframer.handle_deadline(now):
            self._listener.on_text(text)
        session = self._current
        if session is None:
            return
        self.log.handle_deadline(now)
        is_away = session.liveness.away_until is not None
        session.channels.handle_deadline(now, is_away=is_away)
        if not is_away:
            session.control.handle_deadline(now)
        if (why := session.liveness.why_dead(now)) is not None:
            self._leave(why, now)
        elif not is_away and session.control.is_stuck(now):
            self._leave("it does not acknowledge requests", now)
        elif (ping_at := session.liveness.ping_at()) is not None and now >= ping_at:
            session.liveness.pinged_at = now
            session.ping_nonce = self._rng.randint(1, MASK)
            self._put(DGRAM, session.sid, encode_dgram(Ping(session.ping_nonce)))


def _is_another(ready: Ready, first: Ready) -> bool:
    """Not a repetition of the first one: another boot took the same offer. Within a boot nothing of it goes back."""
    same = (ready.uptime_ms, ready.boot_off) == (first.uptime_ms, first.boot_off)
    return not same or ready.base < first.base or ready.next < first.next


def _ack_frame(sid: int, ch: int, ack: OutgoingAck) -> bytes:
    rejects, off, credit = ack
    return encode_frame(ACK, rejects, sid, ch, low(off), credit.to_bytes(2, "little"))


def _stream_frame(sid: int, ch: int, outgoing: Outgoing) -> bytes:
    type_, flag, off, payload = outgoing
    return encode_frame(type_, flag, sid, ch, low(off), payload)


def _payload_in(span_s: float, line_bytes_per_s: float | None) -> int:
    """How long a payload may be on this line; never less than what every device accepts."""
    if line_bytes_per_s is None:
        return MAX_CREDIT_BYTES
    return max(MIN_MTU, int(span_s * line_bytes_per_s) - HEADER_BYTES - FCS_BYTES - 2)

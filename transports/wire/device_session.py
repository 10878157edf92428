"""The device's end of a session: HELLO until a WELCOME fits, READY, then LOG and CTRL until silence or RST (SPEC.md, session, device).

Pure: bytes and `now` come in, bytes and calls of the application go out. A boot lives in one DeviceSession; a reset makes a new one, with
`retained()` of the old one where the ring is in RAM that a warm reset keeps. It refuses to make up a boot id: one is always granted.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from transports.errors import NotUnderstood, RemoteProtocolError
from transports.wire.control_channel import ControlChannel, earliest
from transports.wire.conversation_messages import Attach, Close, Exec, Winch
from transports.wire.datagrams import Hello, Ping, Pong, Ready, Welcome, decode_dgram, encode_dgram
from transports.wire.device_handshake import HelloRow, Names
from transports.wire.device_role import DeviceApplication as DeviceApplication
from transports.wire.device_role import DeviceConfig as DeviceConfig
from transports.wire.device_role import Retained as Retained
from transports.wire.device_talks import DeviceTalk, DeviceTalks
from transports.wire.framing import ACK, DATA, DGRAM, FCS_BYTES, HEADER_BYTES, RST, Deframer, Frame, encode_frame
from transports.wire.messages import Answer, Away, Notification, Request, decode_control, encode_control
from transports.wire.numbers import (
    CH_CTRL,
    CH_LINK,
    CH_LOG,
    KEY_TEXT,
    MAX_DATAGRAM_BYTES,
    PROTOCOL_VERSION,
    Body,
    Caps,
    Code,
    Method,
    ResetCause,
    RstCode,
)
from transports.wire.offsets import MASK
from transports.wire.send_stream import Overflow, SendStream, low
from transports.wire.timers import FixedRto

SILENCE_KEEPALIVES: Final = 3
AWAY_WAIT_S: Final = 0.2
"""How long a device waits for the ACK of its AWAY before it goes."""
FRAMES_AT_ONCE: Final = 2
MAX_TEXT_BYTES: Final = 16384
"""Text beside frames that waits to be sent; the oldest goes first, as on a console that nobody reads."""
MAX_LINK_FRAMES: Final = 8
MAX_TURNS: Final = 3
"""So many frames of conversations go in a row while LOG waits: a command that prints without end must not overflow the ring."""


@dataclass(slots=True)
class _Session:
    sid: int
    mtu: int
    keepalive_s: float
    control: ControlChannel
    ready: bytes
    heard_at: float
    talks: DeviceTalks
    turns: int = 0
    """Frames of conversations since the last one of LOG."""


class DeviceSession:
    """See the module. Call data_to_send until it is empty after every other call."""

    def __init__(
        self,
        config: DeviceConfig,
        application: DeviceApplication,
        now: float,
        *,
        retained: Retained | None = None,
        reset_cause: int = ResetCause.POWER,
        uptime_ms: int = 0,
    ) -> None:
        self.config = config
        self._names = Names(0, retained.epoch, retained.boot_id) if retained else Names()
        frame_s = 0.0 if config.line_bytes_per_s is None else (config.mtu + HEADER_BYTES + FCS_BYTES + 2) / config.line_bytes_per_s
        self._frame_s = frame_s
        self._lossy = not config.caps & Caps.RLOG
        self.log = retained.log if retained else self._new_log()
        self.log_dropped = 0
        """Lines that the application refused; told in PONG."""
        self._application = application
        self._born = now - uptime_ms / 1000
        self._reset_cause = reset_cause
        self._boot_off = self.log.next
        self._deframer = Deframer(config.mtu)
        self._session: _Session | None = None
        self._hellos = HelloRow(now)
        self._link: deque[bytes] = deque(maxlen=MAX_LINK_FRAMES)
        self._notifications: dict[object, Notification] = {}
        self._text = bytearray()
        self._wants_away: Away | None = None
        self._away_end: int | None = None
        self._gone_at: float | None = None
        self._gone = False
        self._idle = True

    def _new_log(self) -> SendStream:
        config = self.config
        rto = FixedRto(self._frame_s)
        return SendStream(config.ring_bytes, rto, keeps=True, lossy=self._lossy, overflow=config.overflow, offset=config.first_offset)

    # -- what the application asks

    @property
    def in_session(self) -> bool:
        return self._session is not None

    @property
    def boot_id(self) -> int:
        """0 until it was granted."""
        return self._names.boot_id

    @property
    def epoch(self) -> int:
        """The name of the ring's content; 0 until it has one."""
        return self._names.epoch

    @property
    def gone(self) -> bool:
        """After go_away and before back: the wire is dead in both directions."""
        return self._gone

    @property
    def rx_bad(self) -> int:
        return self._deframer.rx_bad

    def uptime_ms(self, now: float) -> int:
        return int((now - self._born) * 1000 + 0.5) & MASK

    def log_room_bytes(self) -> int:
        """How long a record may be now without being refused."""
        return max(self.log.room_bytes() - self._reserve_bytes(), 0)

    def write_log(self, record: bytes, *, is_start: bool = False) -> bool:
        """Append one whole record; False when the ring is full. A start record may use the reserve."""
        if not is_start and len(record) > self.log_room_bytes():
            return False
        return self.log.write(record)

    def _reserve_bytes(self) -> int:
        return self.config.reserve_bytes if self.log.overflow is Overflow.REFUSE else 0

    def notify(self, key: object, method: int, body: Body) -> None:
        """Tell a state once there is room; a newer state of the same key takes its place. LIST tells it all after a new session."""
        if self._session is not None:
            self._notifications[key] = Notification(method, body)

    def open_talk(self, request: Exec | Attach) -> DeviceTalk:
        """Begin a conversation, while a request is answered. Raises RemoteProtocolError when the request names a number that is in use."""
        assert self._session is not None
        return self._session.talks.open(request, buffer_bytes=self.config.talk_bytes, rto=lambda: FixedRto(self._frame_s))

    def _tell_close(self, close: Close) -> None:
        self.notify((Method.CLOSE, close.ch), Method.CLOSE, close.to_map())

    def write_text(self, data: bytes) -> None:
        """Bytes beside frames: boot messages, printf, a panic."""
        self._text += data
        del self._text[:-MAX_TEXT_BYTES]

    def go_away(self, reason: int, duration_ms: int, now: float, *, wake_zeros: int | None = None) -> None:
        """Say goodbye for a while; on_gone follows."""
        self._wants_away = Away(reason, duration_ms, wake_zeros)
        if self._session is None:
            self._go(now)

    def back(self, now: float) -> None:
        """Awake again with RAM intact."""
        self._gone = False
        session = self._session
        if session is None:
            self._hellos.restart(now)
            return
        session.heard_at = now
        session.control.tx.resume(now)
        session.talks.channels.resume(now)
        self.log.resume(now)
        self._put_dgram(encode_dgram(self._pong(0, now)))

    def retained(self) -> Retained:
        """What a warm reset leaves to the next DeviceSession; this one must not be used any more."""
        return Retained(self.log, self.epoch, self.boot_id or self._names.past_boot_id)

    # -- bytes in

    def receive_data(self, data: bytes, now: float) -> bytes:
        """Bytes from the wire, cut anywhere. Returns the text among them, which belongs to the application (its shell)."""
        if self._gone:
            return b""
        text = b""
        for item in self._deframer.feed(data, now):
            if isinstance(item, bytes):
                text += item
            else:
                self._receive_frame(item, now)
        self._serve(now)
        self._go_if_told(now)
        return text

    def _receive_frame(self, frame: Frame, now: float) -> None:
        type_, flag, sid, ch, off, payload = frame
        session = self._session
        if sid == 0:
            if type_ == DGRAM and ch == CH_LINK:
                self._receive_outside(payload, now)
        elif session is not None and sid == session.sid:
            session.heard_at = now
            self._receive_inside(session, type_, flag, ch, off, payload, now)
        if self._session is None:
            self._hellos.soon(now)

    def _receive_outside(self, payload: bytes, now: float) -> None:
        message = self._decode(payload)
        if not isinstance(message, Welcome):
            return
        session = self._session
        if session is None:
            if self._hellos.is_answered_by(message, self.uptime_ms(now)) and self._names.may_be_for_me(message):
                self._join(message, now)
        elif message.sid == session.sid:
            session.heard_at = now
            self._put_dgram(session.ready)

    def _receive_inside(self, session: _Session, type_: int, flag: int, ch: int, off: int, payload: bytes, now: float) -> None:
        if type_ == RST:
            self._forget_if_told(payload)
            self._leave(now)
        elif type_ == DGRAM:
            if isinstance(message := self._decode(payload), Ping):
                self._put_dgram(encode_dgram(self._pong(message.nonce, now)))
        elif type_ == ACK and len(payload) == 2:
            credit = int.from_bytes(payload, "little")
            if ch == CH_CTRL:
                session.control.tx.acknowledged(off, credit, rejects=bool(flag), now=now)
            elif ch == CH_LOG:
                self.log.acknowledged(off, credit, rejects=bool(flag), now=now)
            else:
                session.talks.channels.acknowledged(ch, off, credit, rejects=bool(flag), now=now)
        elif type_ == DATA and ch == CH_CTRL:
            try:
                session.control.receive(flag, off, payload, now)
            except RemoteProtocolError:
                self._reset_session(RstCode.PROTOCOL_ERROR, now)
        elif type_ == DATA:
            session.talks.channels.receive(ch, off, payload, now)

    def _decode(self, payload: bytes) -> object:
        try:
            return decode_dgram(payload)
        except RemoteProtocolError:
            return None

    def _join(self, welcome: Welcome, now: float) -> None:
        self._names.take(welcome.boot_id)
        config = self.config
        self.log.join(welcome.stored, welcome.credit)
        ready = Ready(self.uptime_ms(now), self.log.base, self.log.next, self._boot_off)
        control = ControlChannel(
            send_bytes=config.answer_bytes, window_bytes=config.max_msg, peer_credit=welcome.credit, rto=FixedRto(self._frame_s)
        )
        mtu = min(config.mtu, welcome.mtu)
        talks = DeviceTalks(self._tell_close)
        self._session = _Session(welcome.sid, mtu, welcome.ka_ms / 1000, control, encode_dgram(ready), now, talks)
        self._hellos.end()
        self._link.clear()
        self._put_dgram(self._session.ready)
        self._application.on_joined(now)

    def _forget_if_told(self, payload: bytes) -> None:
        if payload[:1] == bytes([RstCode.FORGET]):
            self._names.forget()

    def _leave(self, now: float) -> None:
        if self._session is not None:
            self._session.talks.end()
        self._session = None
        self._notifications.clear()
        self._link.clear()
        self._hellos.begin(now)
        if self._wants_away is not None or self._away_end is not None:
            self._go(now)

    def _reset_session(self, code: RstCode, now: float) -> None:
        session = self._session
        assert session is not None
        frame = encode_frame(RST, 0, session.sid, CH_LINK, 0, bytes([code]))
        self._leave(now)
        self._link.append(frame)

    # -- requests

    def _serve(self, now: float) -> None:
        """Answer requests in order, as long as the longest answer has room; the others stay unacknowledged."""
        while (session := self._session) is not None and self._wants_away is None and self._away_end is None:
            if session.control.room_bytes() < self.config.max_answer_bytes:
                return
            message = session.control.take(now)
            if message is None:
                return
            try:
                request = decode_control(message)
                if isinstance(request, Notification) and request.method == Method.CLOSE:
                    session.talks.closed(Close.from_map(request.body))
            except NotUnderstood:
                continue  # a notification: dropped
            except RemoteProtocolError:
                self._reset_session(RstCode.PROTOCOL_ERROR, now)
                return
            if isinstance(request, Request):
                self._answer(session, request, now)

    def _answer(self, session: _Session, request: Request, now: float) -> None:
        code: int
        body: Body
        try:
            if request.method == Method.WINCH and self.config.caps & Caps.EXEC:
                session.talks.resized(Winch.from_map(request.body))
                code, body = Code.OK, {}
            else:
                code, body = self._application.on_request(request.method, request.body, now)
        except RemoteProtocolError as exc:
            code, body = Code.INVALID, {KEY_TEXT: str(exc)}
        answer = encode_control(Answer(request.rid, code, body))
        if len(answer) > self.config.max_answer_bytes:
            answer = encode_control(Answer(request.rid, Code.TOO_BIG, {KEY_TEXT: f"answer of {len(answer)} bytes"}))
        session.control.send(answer)

    def _flush_notifications(self, session: _Session) -> None:
        for key in list(self._notifications):
            if not session.control.send(encode_control(self._notifications[key])):
                return
            del self._notifications[key]

    # -- bytes out

    def data_to_send(self, now: float, frames: int = FRAMES_AT_ONCE) -> bytes:
        """What to write next, at most so many frames; call again after it was written until it is empty."""
        if self._gone:
            return b""
        self._serve(now)
        out: list[bytes] = []
        if self._text:
            out.append(bytes(self._text))
            self._text.clear()
            self._idle = True
        for _ in range(frames):
            frame = self._next_frame(now)
            if frame is None:
                break
            if self._idle:
                out.append(b"\0")
                self._idle = False
            out.append(frame)
        if not out:
            self._idle = True
        return b"".join(out)

    def _next_frame(self, now: float) -> bytes | None:
        """LINK before CTRL before ACK before conversations before LOG, which has its turn."""
        session = self._session
        if self._link:
            return self._link.popleft()
        if session is None and self._hellos.is_due(now):
            return self._say_hello(now)
        if session is None:
            return None
        if self._away_end is None:
            self._flush_notifications(session)
            self._begin_away(session, now)
        control = session.control
        if (outgoing := control.poll(session.mtu, now)) is not None:
            return _stream_frame(session.sid, CH_CTRL, outgoing)
        if (ack := control.poll_ack(now)) is not None:
            rejects, off, credit = ack
            return encode_frame(ACK, rejects, session.sid, CH_CTRL, low(off), credit.to_bytes(2, "little"))
        if (owed := session.talks.channels.poll_ack(now)) is not None:
            ch, (rejects, off, credit) = owed
            return encode_frame(ACK, rejects, session.sid, ch, low(off), credit.to_bytes(2, "little"))
        if self._away_end is not None:
            return None
        if self.log.must_leave():
            self._leave(now)
            return None
        return self._next_in_turn(session, now)

    def _next_in_turn(self, session: _Session, now: float) -> bytes | None:
        is_logs_turn = session.turns >= MAX_TURNS
        if not is_logs_turn and (waiting := session.talks.channels.poll(session.mtu, now)) is not None:
            session.turns += 1
            return _stream_frame(session.sid, *waiting)
        if (outgoing := self.log.poll(session.mtu, now)) is not None:
            session.turns = 0
            return _stream_frame(session.sid, CH_LOG, outgoing)
        if is_logs_turn and (waiting := session.talks.channels.poll(session.mtu, now)) is not None:
            return _stream_frame(session.sid, *waiting)
        return None

    def _put_dgram(self, payload: bytes) -> None:
        assert len(payload) <= MAX_DATAGRAM_BYTES
        sid = self._session.sid if self._session is not None else 0
        frame = encode_frame(DGRAM, 0, sid, CH_LINK, 0, payload)
        if frame not in self._link:
            self._link.append(frame)

    def _pong(self, nonce: int, now: float) -> Pong:
        following = self.log.nxt if self._lossy else None
        return Pong(nonce, self.uptime_ms(now), self.rx_bad & MASK, self.log_dropped & MASK, following)

    # -- HELLO

    def _say_hello(self, now: float) -> bytes:
        config = self.config
        uptime_ms = self.uptime_ms(now)
        hello = Hello(
            proto_max=PROTOCOL_VERSION,
            level=config.level,
            device_id=config.device_id,
            boot_id=self.boot_id,
            uptime_ms=uptime_ms,
            mtu=config.mtu,
            max_msg=config.max_msg,
            caps=config.caps,
            tx_ring=min(config.ring_bytes, 0xFFFF),
            log_epoch=self._names.log_epoch(),
            reset_cause=self._reset_cause,
        )
        self._hellos.sent(uptime_ms, now)
        return encode_frame(DGRAM, 0, 0, CH_LINK, 0, encode_dgram(hello))

    # -- AWAY

    def _begin_away(self, session: _Session, now: float) -> None:
        away = self._wants_away
        if away is None or not session.control.send(encode_control(Notification(Method.AWAY, away.to_map()))):
            return
        self._away_end = session.control.tx.next
        self._gone_at = now + AWAY_WAIT_S

    def _go_if_told(self, now: float) -> bool:
        """Go once the AWAY is acknowledged or had its time."""
        session, end = self._session, self._away_end
        if session is None or end is None or (session.control.tx.una < end and (self._gone_at is None or now < self._gone_at)):
            return False
        self._go(now)
        return True

    def _go(self, now: float) -> None:
        self._wants_away = self._away_end = self._gone_at = None
        self._gone = True
        self._link.clear()
        self._application.on_gone(now)

    # -- time

    def next_deadline(self) -> float | None:
        """When to call handle_deadline (and then data_to_send), or None."""
        if self._gone:
            return None
        session = self._session
        if session is None:
            return earliest(self._hellos.next_deadline(), self._deframer.next_deadline())
        silence = session.heard_at + SILENCE_KEEPALIVES * session.keepalive_s if session.keepalive_s else None
        is_going = self._away_end is not None
        log = None if is_going else self.log.next_deadline()
        talks = session.talks.channels.next_deadline(is_away=is_going)
        return earliest(silence, log, talks, session.control.next_deadline(), self._gone_at, self._deframer.next_deadline())

    def handle_deadline(self, now: float) -> bytes:
        """Returns text that was held long enough to be shown, like receive_data."""
        if self._gone:
            return b""
        text = b"".join(self._deframer.handle_deadline(now))
        session = self._session
        if session is None:
            self._hellos.is_due(now)
            return text
        if self._away_end is None:
            self.log.handle_deadline(now)
        elif self._go_if_told(now):
            return text
        session.control.handle_deadline(now)
        session.talks.channels.handle_deadline(now, is_away=self._away_end is not None)
        is_silent = self._is_silent(session, now)
        if is_silent or session.control.is_stuck(now):
            self._leave(now)
        if is_silent:
            self._application.on_link_loss(now)
        return text

    @staticmethod
    def _is_silent(session: _Session, now: float) -> bool:
        return bool(session.keepalive_s) and now >= session.heard_at + SILENCE_KEEPALIVES * session.keepalive_s


def _stream_frame(sid: int, ch: int, outgoing: tuple[int, int, int, bytes]) -> bytes:
    type_, flag, off, payload = outgoing
    return encode_frame(type_, flag, sid, ch, low(off), payload)

"""The datagrams that make and keep a session: `[2, type, {..}]` in DGRAM frames of at most 64 bytes (SPEC.md, session).

Frozen values with `to_map` and `from_map`; optional keys that are absent are None. from_map raises RemoteProtocolError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from transports.errors import LocalProtocolError, RemoteProtocolError
from transports.wire.numbers import MAX_DATAGRAM_BYTES, MIN_MESSAGE_BYTES, MIN_MTU, Body, Datagram, put_optional
from transports.wire.profile import Fields, pack, unpack


@dataclass(frozen=True, slots=True)
class Hello:
    proto_max: int
    level: int
    device_id: bytes
    boot_id: int
    uptime_ms: int
    mtu: int = MIN_MTU
    max_msg: int = MIN_MESSAGE_BYTES
    caps: int = 0
    tx_ring: int | None = None
    """Bytes, at most 65535, which means so much or more."""
    log_epoch: int | None = None
    """Absent: the epoch is the boot_id of the WELCOME that answers."""
    reset_cause: int | None = None

    def to_map(self) -> Body:
        body: Body = {1: self.proto_max, 2: self.level, 3: self.device_id, 4: self.boot_id, 5: self.uptime_ms}
        body |= {6: self.mtu, 7: self.max_msg, 8: self.caps}
        put_optional(body, 9, self.tx_ring)
        put_optional(body, 10, self.log_epoch)
        put_optional(body, 11, self.reset_cause)
        return body

    @classmethod
    def from_map(cls, body: object) -> Hello:
        f = Fields(body, "HELLO")
        hello = cls(
            proto_max=f.uint(1, 8),
            level=f.uint(2, 8),
            device_id=f.binary(3, 4, 12),
            boot_id=f.uint(4),
            uptime_ms=f.uint(5),
            mtu=f.uint(6, 16, MIN_MTU),
            max_msg=f.uint(7, 16, MIN_MESSAGE_BYTES),
            caps=f.uint(8, 32, 0),
            tx_ring=f.opt_uint(9, 16),
            log_epoch=f.opt_uint(10),
            reset_cause=f.opt_uint(11, 8),
        )
        if hello.log_epoch == 0:
            raise RemoteProtocolError("HELLO: key 10 is 0: a log without an epoch is told by no key")
        if hello.mtu < MIN_MTU or hello.max_msg < MIN_MESSAGE_BYTES:
            raise RemoteProtocolError(
                f"HELLO: mtu {hello.mtu} and max_msg {hello.max_msg} must be at least {MIN_MTU} and {MIN_MESSAGE_BYTES}"
            )
        return hello


@dataclass(frozen=True, slots=True)
class Welcome:
    version: int
    sid: int
    boot_id: int
    echo_ms: int
    mtu: int
    credit: int
    ka_ms: int
    stored: int | None = None
    term: int | None = None
    gateway_id: int | None = None

    def to_map(self) -> Body:
        body: Body = {1: self.version, 2: self.sid, 3: self.boot_id, 4: self.echo_ms, 5: self.mtu, 6: self.credit, 7: self.ka_ms}
        put_optional(body, 8, self.stored)
        put_optional(body, 9, self.term)
        put_optional(body, 10, self.gateway_id)
        return body

    @classmethod
    def from_map(cls, body: object) -> Welcome:
        f = Fields(body, "WELCOME")
        welcome = cls(
            version=f.uint(1, 8),
            sid=f.uint(2, 8),
            boot_id=f.uint(3),
            echo_ms=f.uint(4),
            mtu=f.uint(5, 16, MIN_MTU),
            credit=f.uint(6, 16),
            ka_ms=f.uint(7, 16),
            stored=f.opt_uint(8, 64),
            term=f.opt_uint(9),
            gateway_id=f.opt_uint(10),
        )
        if welcome.sid == 0 or welcome.boot_id == 0 or welcome.mtu < MIN_MTU:
            raise RemoteProtocolError(f"WELCOME: sid {welcome.sid}, boot_id {welcome.boot_id} and mtu {welcome.mtu} cannot be used")
        return welcome


@dataclass(frozen=True, slots=True)
class Ready:
    uptime_ms: int
    base: int
    next: int
    boot_off: int

    def to_map(self) -> Body:
        return {1: self.uptime_ms, 2: self.base, 3: self.next, 4: self.boot_off}

    @classmethod
    def from_map(cls, body: object) -> Ready:
        f = Fields(body, "READY")
        ready = cls(f.uint(1), f.uint(2, 64), f.uint(3, 64), f.uint(4, 64))
        if not ready.base <= ready.next or ready.boot_off > ready.next:
            raise RemoteProtocolError(f"READY: base {ready.base}, boot {ready.boot_off} and next {ready.next} are out of order")
        return ready


@dataclass(frozen=True, slots=True)
class Solicit:
    def to_map(self) -> Body:
        return {}

    @classmethod
    def from_map(cls, body: object) -> Solicit:
        Fields(body, "SOLICIT")
        return cls()


@dataclass(frozen=True, slots=True)
class Ping:
    nonce: int
    unix_ms: int | None = None

    def to_map(self) -> Body:
        body: Body = {1: self.nonce}
        put_optional(body, 2, self.unix_ms)
        return body

    @classmethod
    def from_map(cls, body: object) -> Ping:
        f = Fields(body, "PING")
        return cls(f.uint(1), f.opt_uint(2, 64))


@dataclass(frozen=True, slots=True)
class Pong:
    nonce: int
    uptime_ms: int
    rx_bad: int | None = None
    log_dropped: int | None = None
    next: int | None = None

    def to_map(self) -> Body:
        body: Body = {1: self.nonce, 2: self.uptime_ms}
        put_optional(body, 3, self.rx_bad)
        put_optional(body, 4, self.log_dropped)
        put_optional(body, 5, self.next)
        return body

    @classmethod
    def from_map(cls, body: object) -> Pong:
        f = Fields(body, "PONG")
        return cls(f.uint(1), f.uint(2), f.opt_uint(3), f.opt_uint(4), f.opt_uint(5, 64))


DatagramMessage = Hello | Welcome | Ready | Solicit | Ping | Pong

_DATAGRAM_TYPES: Final[dict[int, type[DatagramMessage]]] = {
    Datagram.HELLO: Hello,
    Datagram.WELCOME: Welcome,
    Datagram.READY: Ready,
    Datagram.SOLICIT: Solicit,
    Datagram.PING: Ping,
    Datagram.PONG: Pong,
}
_DATAGRAM_NUMBERS: Final = {message: int(number) for number, message in _DATAGRAM_TYPES.items()}


def encode_dgram(message: DatagramMessage) -> bytes:
    """The payload of a DGRAM frame."""
    data = pack([2, _DATAGRAM_NUMBERS[type(message)], message.to_map()])
    if len(data) > MAX_DATAGRAM_BYTES:
        raise LocalProtocolError(f"a datagram of {len(data)} bytes exceeds {MAX_DATAGRAM_BYTES}")
    return data


def decode_dgram(data: bytes) -> DatagramMessage | None:
    """The message, or None for a type that we do not know (count and drop). Raises RemoteProtocolError."""
    match unpack(data):
        case [2, int(number), body]:
            message = _DATAGRAM_TYPES.get(number)
            return message.from_map(body) if message is not None else None
        case _:
            raise RemoteProtocolError("a datagram is [2, type, {..}]")

"""The messages of conversations: EXEC, ATTACH, WINCH and CLOSE (SPEC.md, conversations), as messages.py has the others."""

from __future__ import annotations

from dataclasses import dataclass

from transports.errors import RemoteProtocolError
from transports.wire.numbers import FIRST_CHANNEL, KEY_TEXT, LAST_CHANNEL, MAX_TEXT_CHARS, Body, put_optional
from transports.wire.offsets import MAX_OFFSET_BITS
from transports.wire.profile import Fields


@dataclass(frozen=True, slots=True)
class Exec:
    wid: int
    gen: int
    argv: tuple[str, ...]
    ch: int
    credit: int
    """What the gateway takes on each output before its first ACK."""
    is_tty: bool = False
    error_ch: int | None = None
    size: tuple[int, int] | None = None
    """(columns, rows) of the terminal."""

    def to_map(self) -> Body:
        body: Body = {1: self.wid, 2: list(self.argv)}
        put_optional(body, 3, self.is_tty or None)
        body[4] = self.ch
        put_optional(body, 5, self.error_ch)
        body[6] = self.credit
        if self.size is not None:
            body[7], body[8] = self.size
        body[9] = self.gen
        return body

    @classmethod
    def from_map(cls, body: object) -> Exec:
        f = Fields(body, "EXEC")
        argv, is_tty, ch = f.texts(2), f.flag(3, default=False), _channel(f, 4)
        error_ch = _channel(f, 5) if 5 in f else None
        if not argv:
            raise RemoteProtocolError("EXEC: key 2 names no command")
        if error_ch is not None and (is_tty or error_ch == ch):
            raise RemoteProtocolError("EXEC: key 5 is no channel of its own, or there is a terminal")
        size = (f.uint(7, 16), f.uint(8, 16)) if 7 in f else None
        return cls(f.uint(1), f.uint(9), argv, ch, f.uint(6, 16), is_tty, error_ch, size)


@dataclass(frozen=True, slots=True)
class Attach:
    wid: int
    gen: int
    ch: int

    def to_map(self) -> Body:
        return {1: self.wid, 4: self.ch, 9: self.gen}

    @classmethod
    def from_map(cls, body: object) -> Attach:
        f = Fields(body, "ATTACH")
        return cls(f.uint(1), f.uint(9), _channel(f, 4))


@dataclass(frozen=True, slots=True)
class CreditAnswer:
    """Of EXEC and ATTACH: what the device takes before its first ACK."""

    credit: int = 0

    def to_map(self) -> Body:
        return {6: self.credit}

    @classmethod
    def from_map(cls, body: object) -> CreditAnswer:
        return cls(Fields(body, "EXEC answer").uint(6, 16))


@dataclass(frozen=True, slots=True)
class Winch:
    ch: int
    columns: int
    rows: int

    def to_map(self) -> Body:
        return {4: self.ch, 7: self.columns, 8: self.rows}

    @classmethod
    def from_map(cls, body: object) -> Winch:
        f = Fields(body, "WINCH")
        return cls(_channel(f, 4), f.uint(7, 16), f.uint(8, 16))


@dataclass(frozen=True, slots=True)
class Close:
    ch: int
    off: int | None = None
    """Where the sender's direction ends; None: the conversation is over."""
    code: int = 0
    signal: int | None = None
    exit_code: int | None = None
    text: str = ""

    def to_map(self) -> Body:
        body: Body = {1: self.ch}
        put_optional(body, 2, self.off)
        put_optional(body, 3, self.code or None)
        put_optional(body, 4, self.signal)
        put_optional(body, 5, self.exit_code)
        put_optional(body, KEY_TEXT, self.text or None)
        return body

    @classmethod
    def from_map(cls, body: object) -> Close:
        f = Fields(body, "CLOSE")
        exit_code = f.sint(5) if 5 in f else None
        off, text = f.opt_uint(2, MAX_OFFSET_BITS), f.text(KEY_TEXT, MAX_TEXT_CHARS, "")
        return cls(_channel(f, 1), off, f.uint(3, 16, 0), f.opt_uint(4, 8), exit_code, text)


def _channel(fields: Fields, key: int) -> int:
    number = fields.uint(key, 8)
    if not FIRST_CHANNEL <= number <= LAST_CHANNEL:
        raise RemoteProtocolError(f"key {key} is channel {number}, conversations have {FIRST_CHANNEL} to {LAST_CHANNEL}")
    return number

"""Telnet's wire (RFC 854), the part that a byte pipe needs: bytes, and the commands between them. Pure.

IAC (FF) begins a command; an FF of the data is sent twice. Only what binary mode leaves is here: no line ends are changed.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from transports.errors import RemoteProtocolError

MAX_SUBNEGOTIATION_BYTES: Final = 256
"""Those of RFC 2217 have at most 5; a signature is a line of text."""

IAC: Final = b"\xff"
_IAC, _SB, _SE = 255, 250, 240


class Verb(enum.IntEnum):
    """Of a negotiation about an option: who will use it, and who asks for it."""

    WILL = 251
    WONT = 252
    DO = 253
    DONT = 254


_VERBS: Final = frozenset(Verb)


@dataclass(frozen=True, slots=True)
class Negotiation:
    verb: Verb
    option: int


@dataclass(frozen=True, slots=True)
class Subnegotiation:
    option: int
    data: bytes


Command = Negotiation | Subnegotiation


class TelnetReader:
    """Received bytes, cut anywhere, into data and commands."""

    def __init__(self) -> None:
        self._half = b""
        """The beginning of a command."""

    def feed(self, received: bytes) -> tuple[bytes, list[Command]]:
        """Raises RemoteProtocolError for what is no telnet."""
        received, self._half = self._half + received, b""
        data, at = bytearray(), 0
        commands: list[Command] = []
        while (iac := received.find(_IAC, at)) >= 0:
            data += received[at:iac]
            end, found = _parse(received, iac)
            if end is None:
                self._half = received[iac:]
                return bytes(data), commands
            if isinstance(found, bytes):
                data += found
            elif found is not None:
                commands.append(found)
            at = end
        return bytes(data + received[at:]), commands


def _parse(received: bytes, iac: int) -> tuple[int | None, Command | bytes | None]:
    """Where the command at iac ends (None: it is not whole yet), and what it is (None: nothing to us)."""
    code = received[iac + 1] if iac + 1 < len(received) else None
    if code is None:
        return None, None
    if code == _IAC:
        return iac + 2, IAC
    if code in _VERBS:
        return (iac + 3, Negotiation(Verb(code), received[iac + 2])) if iac + 2 < len(received) else (None, None)
    if code == _SB:
        return _parse_subnegotiation(received, iac + 2)
    return iac + 2, None


def _parse_subnegotiation(received: bytes, start: int) -> tuple[int | None, Subnegotiation | None]:
    at = start
    while (iac := received.find(_IAC, at)) >= 0 and iac + 1 < len(received):
        code = received[iac + 1]
        if code == _SE:
            body = received[start:iac].replace(IAC * 2, IAC)
            return iac + 2, Subnegotiation(body[0], body[1:]) if body else None
        if code != _IAC:
            raise RemoteProtocolError(f"telnet: command {code} inside a subnegotiation")
        at = iac + 2
    if len(received) - start > MAX_SUBNEGOTIATION_BYTES:
        raise RemoteProtocolError(f"telnet: a subnegotiation exceeds {MAX_SUBNEGOTIATION_BYTES} bytes")
    return None, None


def escape(data: bytes) -> bytes:
    """As it is sent."""
    return data.replace(IAC, IAC * 2)


def cuts_a_pair(escaped: bytes, sent: int) -> bool:
    """Only sent bytes of escaped went out, and the last of them is the first half of a doubled FF."""
    beginning = escaped[:sent]
    return (len(beginning) - len(beginning.rstrip(IAC))) % 2 == 1


def encode(command: Command) -> bytes:
    match command:
        case Negotiation(verb, option):
            return bytes((_IAC, verb, option))
        case Subnegotiation(option, data):
            return bytes((_IAC, _SB)) + escape(bytes((option,)) + data) + bytes((_IAC, _SE))

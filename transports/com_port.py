"""A serial port at the far end of a telnet connection (RFC 2217), the client's side of the conversation. Pure.

It asks for a pipe that passes every byte and for the port's settings, and is ready when the server has said that they hold. It purges
nothing: what waits at the server is the device's boot text. What the server tells of modem lines and errors later is not asked for.
"""

from __future__ import annotations

import enum
import struct
from typing import Final

from transports.baud import check_achieved
from transports.errors import LinkError, RemoteProtocolError
from transports.modem_lines import DTR, RTS
from transports.telnet import Command, Negotiation, Subnegotiation, TelnetReader, Verb, encode


class Option(enum.IntEnum):
    BINARY = 0
    SUPPRESS_GO_AHEAD = 3
    COM_PORT = 44


class _Ask(enum.IntEnum):
    """What the client asks of the port; the server answers with the number plus ANSWER and the value that holds."""

    BAUD = 1
    DATA_SIZE = 2
    PARITY = 3
    STOP_SIZE = 4
    CONTROL = 5


_ANSWER: Final = 100
_NO_PARITY, _ONE_STOP_BIT = 1, 1
_NO_FLOW_CONTROL, _RTSCTS = 1, 3
_DTR_ON, _DTR_OFF, _RTS_ON, _RTS_OFF = 8, 9, 11, 12
_OURS: Final = (Option.COM_PORT, Option.BINARY, Option.SUPPRESS_GO_AHEAD)
"""What we do."""
_THEIRS: Final = (Option.BINARY, Option.SUPPRESS_GO_AHEAD)
"""What the server is asked to do."""
_SETTINGS: Final = {_Ask.DATA_SIZE: 8, _Ask.PARITY: _NO_PARITY, _Ask.STOP_SIZE: _ONE_STOP_BIT}
_BAUD: Final = struct.Struct(">I")


class ComPort:
    """receive_data() and data_to_send() in turns until it is ready, and after it for what the server may still say."""

    def __init__(self, name: str, baud: int, *, is_rtscts: bool, lines: int | None) -> None:
        """lines: what DTR and RTS are set to; None: they are left as the server has them."""
        self._name = name
        self._baud = baud
        self._is_rtscts = is_rtscts
        self._lines = lines
        self._reader = TelnetReader()
        self._out = bytearray()
        self._refused: set[Negotiation] = set()
        self._waits_for: set[str] = {"COM-PORT-OPTION", "BINARY both ways", "BINARY"}
        for option in _OURS:
            self._say(Negotiation(Verb.WILL, option))
        for option in _THEIRS:
            self._say(Negotiation(Verb.DO, option))

    @property
    def is_ready(self) -> bool:
        return not self._waits_for

    @property
    def waits_for(self) -> str:
        """What the server has not answered, for people."""
        return ", ".join(sorted(self._waits_for))

    def data_to_send(self) -> bytes:
        out, self._out = bytes(self._out), bytearray()
        return out

    def receive_data(self, received: bytes) -> bytes:
        """The device's bytes in it. Raises LinkError when the server refuses what is needed, RemoteProtocolError for what is no telnet."""
        data, commands = self._reader.feed(received)
        for command in commands:
            if isinstance(command, Negotiation):
                self._negotiate(command)
            elif command.option == Option.COM_PORT:
                self._take_answer(command.data)
        return data

    def set_lines(self, lines: int) -> None:
        """DTR, then RTS: from lines that rest the ESP circuit sees no reset in between."""
        self._ask(_Ask.CONTROL, _DTR_ON if lines & DTR else _DTR_OFF)
        self._ask(_Ask.CONTROL, _RTS_ON if lines & RTS else _RTS_OFF)

    # -- telnet options

    def _negotiate(self, told: Negotiation) -> None:
        match told:
            case Negotiation(Verb.DO, Option.COM_PORT) if "COM-PORT-OPTION" in self._waits_for:
                self._waits_for.discard("COM-PORT-OPTION")
                self._set_port()
            case Negotiation(Verb.DONT, Option.COM_PORT):
                raise LinkError(f"{self._name}: the server does not speak RFC 2217; for a plain port take `link: {{socket: ...}}`")
            case Negotiation(Verb.DO, Option.BINARY):
                self._waits_for.discard("BINARY")
            case Negotiation(Verb.WILL, Option.BINARY):
                self._waits_for.discard("BINARY both ways")
            case Negotiation(Verb.DONT | Verb.WONT, Option.BINARY):
                raise LinkError(f"{self._name}: the server would change bytes: it refuses binary transmission")
            case Negotiation(Verb.DO, option) if option not in _OURS:
                self._refuse(Negotiation(Verb.WONT, option))
            case Negotiation(Verb.WILL, option) if option not in _THEIRS:
                self._refuse(Negotiation(Verb.DONT, option))

    def _refuse(self, refusal: Negotiation) -> None:
        """Once: a server that insists gets no second answer, or two programs would talk for ever."""
        if refusal not in self._refused:
            self._refused.add(refusal)
            self._say(refusal)

    # -- the port

    def _set_port(self) -> None:
        self._ask_and_wait(_Ask.BAUD, _BAUD.pack(self._baud))
        for ask, value in _SETTINGS.items():
            self._ask_and_wait(ask, bytes((value,)))
        self._ask(_Ask.CONTROL, _RTSCTS if self._is_rtscts else _NO_FLOW_CONTROL)
        if self._is_rtscts:  # servers answer CONTROL in many ways, and it is worth a refusal only where it was asked for
            self._waits_for.add(_Ask.CONTROL.name)
        if self._lines is not None:
            self.set_lines(self._lines)

    def _take_answer(self, data: bytes) -> None:
        code = data[0] - _ANSWER if data else 0
        if code not in _Ask.__members__.values():
            return
        ask, value = _Ask(code), data[1:]
        if ask is _Ask.CONTROL:
            if value == bytes((_RTSCTS,)):
                self._waits_for.discard(ask.name)
            elif self._is_rtscts and value == bytes((_NO_FLOW_CONTROL,)):
                raise LinkError(f"{self._name}: the port has no RTS/CTS; leave flowControl out")
            return
        if ask is _Ask.BAUD:
            if len(value) != _BAUD.size:
                raise RemoteProtocolError(f"the answer to BAUD has {len(value)} bytes, not {_BAUD.size}")
            check_achieved(self._name, self._baud, _BAUD.unpack(value)[0])
        elif value != bytes((_SETTINGS[ask],)):
            raise LinkError(f"{self._name}: the port cannot be set to 8N1: {ask.name} is {value.hex()}")
        self._waits_for.discard(ask.name)

    def _ask_and_wait(self, ask: _Ask, value: bytes) -> None:
        self._waits_for.add(ask.name)
        self._say(Subnegotiation(Option.COM_PORT, bytes((ask,)) + value))

    def _ask(self, ask: _Ask, value: int) -> None:
        self._say(Subnegotiation(Option.COM_PORT, bytes((ask, value))))

    def _say(self, command: Command) -> None:
        self._out += encode(command)

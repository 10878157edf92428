"""An FT232R: the chip between a USB bus and the pins of a UART, as Linux's ftdi_sio drives it. Pure: packets, pins and `now`.

It says what the host did to it, in order, and does to the host what a test wants: bytes with line errors, modem lines, no progress at
all. Not modelled: the size of its FIFOs, the time that bytes take on the wire, what its EEPROM holds. The numbers are those of the
kernel's ftdi_sio.h.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from guest.usb_description import Alternate, Description, Endpoint, Speed
from guest.usb_device import UsbDevice
from guest.usbredir import IN, Setup

OUT_ENDPOINT: Final = 0x02
IN_ENDPOINT: Final = 0x81
PACKET_BYTES: Final = 64
STATUS_BYTES: Final = 2
"""Every packet to the host begins with modem and line status."""
DATA_BYTES: Final = PACKET_BYTES - STATUS_BYTES
FIFO_BYTES: Final = 65536
"""A real one holds 256: an emulated guest reads too seldom for that."""
DEFAULT_LATENCY_MS: Final = 16
CLOCK_HZ: Final = 48_000_000
_EIGHTHS: Final = (0, 4, 2, 1, 3, 5, 6, 7)
"""What the three coded bits of the divisor's fraction mean."""
_ALWAYS_SET: Final = 0x01
_IDLE: Final = 0x60
"""Transmitter holding register and shift register are empty."""
_BREAK: Final = 0x4000
_RTS_CTS: Final = 0x01


class LineError(enum.IntFlag):
    """Bits of the line status; they hold for every byte of their packet."""

    NONE = 0
    OVERRUN = 0x02
    PARITY = 0x04
    FRAMING = 0x08
    BREAK = 0x10


class ModemInput(enum.IntFlag):
    """Pins that the far end drives; bits of the modem status."""

    NONE = 0
    CTS = 0x10
    DSR = 0x20
    RI = 0x40
    DCD = 0x80


class Request(enum.IntEnum):
    RESET = 0
    MODEM = 1
    FLOW = 2
    BAUD = 3
    DATA = 4
    GET_MODEM = 5
    LATENCY = 9
    GET_LATENCY = 10
    EEPROM = 0x90


@dataclass(frozen=True, slots=True)
class Lines:
    """The host has set DTR and RTS; True is active."""

    dtr: bool
    rts: bool


@dataclass(frozen=True, slots=True)
class Baud:
    """The host has set the rate that its divisor makes."""

    rate: float


@dataclass(frozen=True, slots=True)
class Break:
    """The host has begun or ended a break."""

    is_on: bool


@dataclass(frozen=True, slots=True)
class Latency:
    """The host has set its latency timer."""

    ms: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The host has reset the chip, as the driver does when the port is opened for the first time."""


Happening = Lines | Baud | Break | Latency | Opened


def description(serial: str, product: str = "FT232R USB UART") -> Description:
    """High speed, unlike a real one: the guest's bus has no other. serial "" is an adapter without one."""
    alternate = Alternate((Endpoint(IN_ENDPOINT, PACKET_BYTES), Endpoint(OUT_ENDPOINT, PACKET_BYTES)), name=product)
    return Description(
        vendor_id=0x0403,
        product_id=0x6001,
        version=0x0600,
        manufacturer="FTDI",
        product=product,
        serial=serial,
        speed=Speed.HIGH,
        alternates=(alternate,),
    )


class Ft232(UsbDevice):
    """when_output gets the bytes that leave its TXD pin, when_lines DTR and RTS whenever they are set."""

    def __init__(self, described: Description) -> None:
        super().__init__(described)
        self.happened: list[Happening] = []
        self.when_output: Callable[[bytes], None] = lambda data: None
        self.when_lines: Callable[[Lines], None] = lambda lines: None
        self.lines = Lines(dtr=False, rts=False)
        self.baud = 9600.0
        self.latency_ms = DEFAULT_LATENCY_MS
        self._is_stuck = False
        self._modem = ModemInput.CTS | ModemInput.DSR | ModemInput.DCD
        self._has_flow_control = False
        self._has_output = False
        self._data_format = 8
        self._received: deque[tuple[bytes, LineError]] = deque()
        self._flush = False
        self._packet_due = 0.0

    # -- the pins

    def put(self, data: bytes, errors: LineError = LineError.NONE) -> None:
        """Bytes that came on RXD; errors are told with each packet that has some of them. What the host never takes is lost."""
        if not data:
            return
        if self._waiting_bytes() + len(data) > FIFO_BYTES:
            errors |= LineError.OVERRUN
            self._received.clear()
        self._received.append((data, errors))
        self.changed()

    def _waiting_bytes(self) -> int:
        return sum(len(data) for data, _ in self._received)

    def set_modem(self, inputs: ModemInput) -> None:
        """The host hears at once."""
        self._modem = inputs
        self._flush = True
        self.changed()

    @property
    def is_stuck(self) -> bool:
        """It takes no more output: NAK for ever."""
        return self._is_stuck

    @is_stuck.setter
    def is_stuck(self, is_stuck: bool) -> None:
        self._is_stuck = is_stuck
        self.changed()

    # -- the bus

    def vendor_request(self, setup: Setup, data: bytes) -> bytes | None:
        value = setup.value
        match setup.request:
            case Request.RESET:
                self._reset(value)
            case Request.MODEM:
                self._set_lines(value)
            case Request.FLOW:
                self._has_flow_control = bool(setup.index >> 8 & _RTS_CTS)
            case Request.BAUD:
                self.baud = baud_of(value, setup.index)
                self.happened.append(Baud(self.baud))
            case Request.DATA:
                self._set_format(value)
            case Request.LATENCY:
                self.latency_ms = value & 0xFF
                self.happened.append(Latency(self.latency_ms))
                self.changed()
            case Request.GET_MODEM:
                return self._status(LineError.NONE)
            case Request.GET_LATENCY:
                return bytes([self.latency_ms])
            case Request.EEPROM:
                return bytes(2)
        return bytes(setup.length) if setup.request_type & IN else b""

    def _reset(self, what: int) -> None:
        """0 is everything but rate and format, 1 purges what was received, 2 what is to be sent (which waits in the host)."""
        if what in (0, 1):
            self._received.clear()
        if what == 0:
            self._has_flow_control = False
            self.lines = Lines(dtr=False, rts=False)
            self.happened.append(Opened())

    def _set_lines(self, value: int) -> None:
        """The low byte has DTR and RTS, the high one which of them are meant."""
        mask, bits = value >> 8, value & 0xFF
        dtr = bool(bits & 1) if mask & 1 else self.lines.dtr
        rts = bool(bits & 2) if mask & 2 else self.lines.rts
        self.lines = Lines(dtr, rts)
        self.happened.append(self.lines)
        self.when_lines(self.lines)

    def _set_format(self, value: int) -> None:
        was_break, is_break = bool(self._data_format & _BREAK), bool(value & _BREAK)
        self._data_format = value
        if was_break != is_break:
            self.happened.append(Break(is_break))

    def packet_out(self, endpoint: int, data: bytes, now: float) -> bool:
        is_held = self._has_flow_control and not self._modem & ModemInput.CTS
        self._has_output = self._is_stuck or is_held
        if not self._has_output and data:
            self.when_output(data)
        return not self._has_output

    def packet_in(self, endpoint: int, now: float) -> bytes | None:
        """A full packet at once, another one when the latency timer runs out, even without data."""
        is_full = self._waiting_bytes() >= DATA_BYTES
        if not is_full and not self._flush and now < self._packet_due:
            return None
        packet = bytearray()
        errors = self._received[0][1] if self._received else LineError.NONE
        while self._received and self._received[0][1] == errors and len(packet) < DATA_BYTES:
            data, _ = self._received.popleft()
            room = DATA_BYTES - len(packet)
            packet += data[:room]
            if data[room:]:
                self._received.appendleft((data[room:], errors))
        self._flush = False
        self._packet_due = now + self.latency_ms / 1000
        return self._status(errors) + bytes(packet)

    def next_deadline(self) -> float | None:
        return self._packet_due

    def unplugged(self) -> None:
        """It lives from the bus."""
        self._received.clear()
        self._has_output = self._has_flow_control = False
        self.lines = Lines(dtr=False, rts=False)
        self.latency_ms = DEFAULT_LATENCY_MS

    def _status(self, errors: LineError) -> bytes:
        return bytes([_ALWAYS_SET | self._modem, errors | (0 if self._has_output else _IDLE)])


def baud_of(value: int, index: int) -> float:
    """The rate that a divisor makes: 14 bits, and three that code eighths; 0 and 1 stand for the two highest rates."""
    if not index & 1 and value in (0, 1):
        return CLOCK_HZ / (16 + 8 * value)
    return CLOCK_HZ / 16 / ((value & 0x3FFF) + _EIGHTHS[value >> 14 | (index & 1) << 2] / 8)

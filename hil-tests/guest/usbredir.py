"""The usbredir protocol, device's side: what QEMU's usb-redir says becomes requests, what the device does becomes bytes. No I/O.

Of the protocol's version 0.7 what control and bulk transfers need; QEMU asks for nothing else of a device without other endpoints.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from guest.usb_description import BULK, Alternate, Description, Endpoint

MAX_PACKET_BYTES: Final = 1 << 20
"""Of the body: QEMU splits transfers at 20 KiB."""
CONTROL_PACKET_BYTES: Final = 64
IN: Final = 0x80
"""Bit of an endpoint's address."""

_HEADER: Final = struct.Struct("<IIQ")
_HELLO_HEADER: Final = struct.Struct("<III")
"""The 64-bit ids are only agreed by the first packet, which has a short one."""
_CONTROL: Final = struct.Struct("<BBBBHHH")
_BULK: Final = struct.Struct("<BBHIH")
_SLOTS: Final = 32
"""Of interfaces, and of endpoints: 16 out, then 16 in."""
_CONTROL_TYPE: Final = 0
_NO_ENDPOINT: Final = 255
_CAPABILITIES: Final = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6
"""Version of the device, packet sizes of endpoints, 64-bit ids, 32-bit lengths of bulk transfers."""


class _Type(enum.IntEnum):
    HELLO = 0
    DEVICE_CONNECT = 1
    RESET = 3
    INTERFACE_INFO = 4
    ENDPOINT_INFO = 5
    SET_CONFIGURATION = 6
    GET_CONFIGURATION = 7
    CONFIGURATION_STATUS = 8
    SET_ALTERNATE = 9
    GET_ALTERNATE = 10
    ALTERNATE_STATUS = 11
    CANCEL = 21
    CONTROL = 100
    BULK = 101


class Status(enum.IntEnum):
    OK = 0
    CANCELLED = 1
    STALL = 4
    BABBLE = 6


@dataclass(frozen=True, slots=True)
class Hello:
    """QEMU is there, or has a new device object behind the same socket: introduce the device."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Of the bus: the device is as after plugging in."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The eight bytes that begin a control transfer."""

    request_type: int
    request: int
    value: int
    index: int
    length: int


@dataclass(frozen=True, slots=True)
class Control:
    id: int
    setup: Setup
    data: bytes


@dataclass(frozen=True, slots=True)
class Bulk:
    """One transfer; data of an OUT, room of an IN."""

    id: int
    endpoint: int
    data: bytes
    room: int


@dataclass(frozen=True, slots=True)
class Cancel:
    id: int


@dataclass(frozen=True, slots=True)
class SetConfiguration:
    id: int
    number: int


@dataclass(frozen=True, slots=True)
class GetConfiguration:
    id: int


@dataclass(frozen=True, slots=True)
class SetAlternate:
    id: int
    interface: int
    number: int


@dataclass(frozen=True, slots=True)
class GetAlternate:
    id: int
    interface: int


Request = Hello | Reset | Control | Bulk | Cancel | SetConfiguration | GetConfiguration | SetAlternate | GetAlternate


class Requests:
    """Bytes in, requests out. Raises ValueError for a packet that no QEMU sends."""

    def __init__(self) -> None:
        self._received = bytearray()

    def receive_data(self, data: bytes) -> Iterator[Request]:
        self._received += data
        while (packet := self._take()) is not None:
            kind, ident, body = packet
            if (request := _decode(kind, ident, body)) is not None:
                yield request

    def _take(self) -> tuple[int, int, bytes] | None:
        if len(self._received) < _HEADER.size:
            return None
        header = _HELLO_HEADER if self._received[0] == _Type.HELLO else _HEADER
        kind, length, ident = header.unpack_from(self._received)
        if length > MAX_PACKET_BYTES:
            raise ValueError(f"packet of {length} bytes exceeds {MAX_PACKET_BYTES}")
        end = header.size + length
        if len(self._received) < end:
            return None
        body = bytes(self._received[header.size : end])
        del self._received[:end]
        return kind, ident, body


def _decode(kind: int, ident: int, body: bytes) -> Request | None:
    match kind:
        case _Type.HELLO:
            return Hello()
        case _Type.RESET:
            return Reset()
        case _Type.CONTROL:
            _, request, request_type, _, value, index, length = _CONTROL.unpack_from(body)
            return Control(ident, Setup(request_type, request, value, index, length), body[_CONTROL.size :])
        case _Type.BULK:
            endpoint, _, low, _, high = _BULK.unpack_from(body)
            return Bulk(ident, endpoint, body[_BULK.size :], high << 16 | low)
        case _Type.CANCEL:
            return Cancel(ident)
        case _Type.SET_CONFIGURATION:
            return SetConfiguration(ident, body[0])
        case _Type.GET_CONFIGURATION:
            return GetConfiguration(ident)
        case _Type.SET_ALTERNATE:
            return SetAlternate(ident, body[0], body[1])
        case _Type.GET_ALTERNATE:
            return GetAlternate(ident, body[0])
        case _:
            return None  # acknowledgements, filters: nothing to do


# -- what the device says


def hello() -> bytes:
    body = b"wirelet".ljust(64, b"\0") + struct.pack("<I", _CAPABILITIES)
    return _HELLO_HEADER.pack(_Type.HELLO, len(body), 0) + body


def connect(description: Description) -> bytes:
    """The device appears in the guest; after interface() for its first setting."""
    version = (description.vendor_id, description.product_id, description.version)
    return _packet(_Type.DEVICE_CONNECT, 0, struct.pack("<BBBBHHH", description.speed, 0, 0, 0, *version))


def interface(alternate: Alternate) -> bytes:
    """What is there now: at first, and before the answer to a SetAlternate."""
    rest = bytes(_SLOTS - 1)
    classes = b"".join(bytes([code]) + rest for code in (0, *alternate.triple))
    types = bytearray([_NO_ENDPOINT] * _SLOTS)
    sizes = [0] * _SLOTS
    for endpoint in (Endpoint(0, CONTROL_PACKET_BYTES), Endpoint(IN, CONTROL_PACKET_BYTES), *alternate.endpoints):
        slot = (endpoint.address & IN) >> 3 | endpoint.address & 0x0F
        types[slot] = BULK if endpoint.address & 0x0F else _CONTROL_TYPE
        sizes[slot] = endpoint.packet_bytes
    endpoints = bytes(types) + bytes(2 * _SLOTS) + struct.pack(f"<{_SLOTS}H", *sizes)
    return _packet(_Type.INTERFACE_INFO, 0, struct.pack("<I", 1) + classes) + _packet(_Type.ENDPOINT_INFO, 0, endpoints)


def answer_control(control: Control, answer: bytes | None) -> bytes:
    """None is a stall."""
    setup = control.setup
    status = Status.STALL if answer is None else Status.OK
    data = (answer or b"")[: setup.length] if setup.request_type & IN else b""
    length = len(data) if setup.request_type & IN else len(control.data) if status is Status.OK else 0
    head = _CONTROL.pack(setup.request_type & IN, setup.request, setup.request_type, status, setup.value, setup.index, length)
    return _packet(_Type.CONTROL, control.id, head + data)


def answer_bulk(ident: int, endpoint: int, status: Status, length: int, data: bytes = b"") -> bytes:
    """length: how much was moved; data: what of an IN."""
    return _packet(_Type.BULK, ident, _BULK.pack(endpoint, status, length & 0xFFFF, 0, length >> 16) + data)


def answer_configuration(ident: int, number: int) -> bytes:
    return _packet(_Type.CONFIGURATION_STATUS, ident, bytes([Status.OK, number]))


def answer_alternate(ident: int, interface_number: int, number: int, status: Status = Status.OK) -> bytes:
    return _packet(_Type.ALTERNATE_STATUS, ident, bytes([status, interface_number, number]))


def _packet(kind: _Type, ident: int, body: bytes) -> bytes:
    return _HEADER.pack(kind, len(body), ident) + body

"""What a USB device says of itself: one configuration, one interface, its alternate settings, bulk endpoints. Descriptors as bytes."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Final

BULK: Final = 2
CONFIGURATION: Final = 1
"""The number of the only one, which the host sets."""
_USB_2: Final = 0x0200
_ENGLISH: Final = bytes([4, 3, 9, 4])
_ATTRIBUTES: Final = 0xA0
"""Bus-powered, may wake the host, as an FT232R says."""
_HALF_MA: Final = 45
_CONTROL_PACKET_BYTES: Final = 64


class _Kind(enum.IntEnum):
    DEVICE = 1
    CONFIGURATION = 2
    STRING = 3
    INTERFACE = 4
    ENDPOINT = 5
    QUALIFIER = 6


class Speed(enum.IntEnum):
    """Numbers of usbredir."""

    FULL = 1
    HIGH = 2


@dataclass(frozen=True, slots=True)
class Endpoint:
    address: int
    packet_bytes: int


@dataclass(frozen=True, slots=True)
class Alternate:
    """One setting of the interface. triple: class, subclass, protocol."""

    endpoints: tuple[Endpoint, ...]
    triple: tuple[int, int, int] = (0xFF, 0xFF, 0xFF)
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """An empty text has no descriptor: serial "" is a device without serial number."""

    vendor_id: int
    product_id: int
    version: int
    manufacturer: str
    product: str
    serial: str
    speed: Speed
    alternates: tuple[Alternate, ...]

    def descriptor(self, kind: int, number: int) -> bytes | None:
        """What GET_DESCRIPTOR asks for; None when there is no such."""
        match kind:
            case _Kind.DEVICE:
                return self._device()
            case _Kind.CONFIGURATION if number == 0:
                return self._configuration()
            case _Kind.STRING:
                return self._string(number)
            case _Kind.QUALIFIER if self.speed is Speed.HIGH:
                return struct.pack("<BBHBBBBBB", 10, _Kind.QUALIFIER, _USB_2, 0, 0, 0, _CONTROL_PACKET_BYTES, 1, 0)
            case _:
                return None

    def _strings(self) -> list[str]:
        texts = [self.manufacturer, self.product, self.serial, *(alternate.name for alternate in self.alternates)]
        return [text for text in texts if text]

    def _index(self, text: str) -> int:
        return self._strings().index(text) + 1 if text else 0

    def _string(self, number: int) -> bytes | None:
        strings = self._strings()
        if number == 0:
            return _ENGLISH
        if number > len(strings):
            return None
        text = strings[number - 1].encode("utf-16-le")
        return bytes([2 + len(text), _Kind.STRING]) + text

    def _device(self) -> bytes:
        head = struct.pack("<BBHBBBB", 18, _Kind.DEVICE, _USB_2, 0, 0, 0, _CONTROL_PACKET_BYTES)
        names = (self._index(text) for text in (self.manufacturer, self.product, self.serial))
        return head + struct.pack("<HHHBBBB", self.vendor_id, self.product_id, self.version, *names, 1)

    def _configuration(self) -> bytes:
        body = bytearray()
        for number, alternate in enumerate(self.alternates):
            name = self._index(alternate.name)
            body += struct.pack("<9B", 9, _Kind.INTERFACE, 0, number, len(alternate.endpoints), *alternate.triple, name)
            for endpoint in alternate.endpoints:
                body += struct.pack("<BBBBHB", 7, _Kind.ENDPOINT, endpoint.address, BULK, endpoint.packet_bytes, 0)
        return struct.pack("<BBHBBBBB", 9, _Kind.CONFIGURATION, 9 + len(body), 1, CONFIGURATION, 0, _ATTRIBUTES, _HALF_MA) + bytes(body)

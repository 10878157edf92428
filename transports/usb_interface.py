"""Which interface of a USB device speaks the protocol, and by which endpoints: chosen from descriptors. Pure.

SPEC.md 10.2: class FF, subclass 57, protocol 01 (hexadecimal), the string `wirelet/1`, one bulk endpoint in each direction. The class FF is
the vendor's own, so other devices may have the same three numbers; the string tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

TRIPLE: Final = (0xFF, 0x57, 0x01)
STRING: Final = "wirelet/1"

_IN: Final = 0x80
"""In bEndpointAddress."""
_TRANSFER_TYPE: Final = 0x03
"""In bmAttributes."""
_BULK: Final = 0x02
_PACKET_BYTES: Final = 0x07FF
"""In wMaxPacketSize; the bits above are of isochronous endpoints."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """bEndpointAddress, bmAttributes and wMaxPacketSize."""

    address: int
    attributes: int
    max_packet: int

    @property
    def is_in(self) -> bool:
        return bool(self.address & _IN)

    @property
    def is_bulk(self) -> bool:
        return self.attributes & _TRANSFER_TYPE == _BULK

    @property
    def packet_bytes(self) -> int:
        return self.max_packet & _PACKET_BYTES


@dataclass(frozen=True, slots=True)
class Setting:
    """One alternate setting of an interface, as its descriptors tell it."""

    interface: int
    alternate: int
    triple: tuple[int, int, int]
    string_index: int
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class BulkInterface:
    """What to claim and where to read and write."""

    number: int
    alternate: int
    into_host: Endpoint
    out_of_host: Endpoint


def choose(settings: Iterable[Setting], string: Callable[[int], str], number: int | None = None) -> BulkInterface | str:
    """The interface of the device, or why there is none. number: only that one counts; string reads a string of the device by its index.

    Alternate settings of an interface are tried in their order: the first that fits is it.
    """
    alike = [setting for setting in settings if setting.triple == TRIPLE]
    if number is not None:
        alike = [setting for setting in alike if setting.interface == number]
    if not alike:
        return f"the device has no interface {'' if number is None else f'{number} '}of class ff, subclass 57, protocol 01"
    chosen: dict[int, BulkInterface] = {}
    refusals: dict[int, str] = {}
    for setting in alike:
        found = _bulk(setting, string)
        if isinstance(found, BulkInterface):
            chosen.setdefault(setting.interface, found)
        else:
            refusals.setdefault(setting.interface, found)
    if len(chosen) == 1:
        return next(iter(chosen.values()))
    if chosen:
        return f"the device has the interface {STRING} {len(chosen)} times: as {', '.join(map(str, chosen))}; say which by `interface`"
    return next(iter(refusals.values()))


def _bulk(setting: Setting, string: Callable[[int], str]) -> BulkInterface | str:
    bulk = [endpoint for endpoint in setting.endpoints if endpoint.is_bulk and endpoint.packet_bytes]
    into_host = [endpoint for endpoint in bulk if endpoint.is_in]
    out_of_host = [endpoint for endpoint in bulk if not endpoint.is_in]
    if len(into_host) != 1 or len(out_of_host) != 1:
        return f"interface {setting.interface} has {len(into_host)} bulk IN and {len(out_of_host)} bulk OUT endpoints, not one of each"
    said = string(setting.string_index) if setting.string_index else ""
    if said != STRING:
        return f"interface {setting.interface} is {said!r}, not {STRING!r}"
    return BulkInterface(setting.interface, setting.alternate, into_host[0], out_of_host[0])

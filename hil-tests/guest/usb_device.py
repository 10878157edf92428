"""A USB device as its firmware sees the bus: packets, not transfers. Pure: `now` comes in, `changed` says that it may be asked again."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Final

from guest.usb_description import Alternate, Description
from guest.usbredir import IN, Setup

KIND: Final = 0x60
"""Bits of a request's type: 0 there is a standard one."""
RECIPIENT: Final = 0x1F
TO_ENDPOINT: Final = 2
ENDPOINT_HALT: Final = 0


class Standard(enum.IntEnum):
    """Requests of USB itself, those that are answered here."""

    GET_STATUS = 0
    CLEAR_FEATURE = 1
    SET_FEATURE = 3
    GET_DESCRIPTOR = 6


class UsbDevice:
    """Subclasses say what it does."""

    def __init__(self, description: Description) -> None:
        self.description = description
        self.alternate = 0
        self.stalled: set[int] = set()
        """Endpoints that answer with a stall until the host clears them."""
        self.is_plugged = False
        """Set by the plug, as changed is."""
        self.changed: Callable[[], None] = lambda: None

    @property
    def setting(self) -> Alternate:
        return self.description.alternates[self.alternate]

    def packet_bytes(self, endpoint: int) -> int:
        """0 when the present setting has no such endpoint."""
        return next((found.packet_bytes for found in self.setting.endpoints if found.address == endpoint), 0)

    def stall(self, endpoint: int) -> None:
        self.stalled.add(endpoint)
        self.changed()

    # -- for a subclass

    def vendor_request(self, setup: Setup, data: bytes) -> bytes | None:
        """The answer, b"" for one without data, None for a stall."""
        return None

    def packet_out(self, endpoint: int, data: bytes, now: float) -> bool:
        """Take a packet; False is a NAK, and it comes again after changed()."""
        return True

    def packet_in(self, endpoint: int, now: float) -> bytes | None:
        """The next packet, shorter than the endpoint's size to end a transfer; None is a NAK, until changed() or the deadline."""
        return None

    def next_deadline(self) -> float | None:
        """When packet_in may have something without changed()."""
        return None

    def unplugged(self) -> None:
        """What waits for the host is lost."""

    # -- for the plug

    def choose(self, alternate: int) -> None:
        """Another setting; halts are over."""
        self.alternate = alternate
        self.stalled.clear()

    def control(self, setup: Setup, data: bytes) -> bytes | None:
        """As vendor_request, for every request but those for configuration and alternate setting."""
        if setup.request_type & KIND:
            return self.vendor_request(setup, data)
        is_to_endpoint = setup.request_type & RECIPIENT == TO_ENDPOINT
        endpoint = setup.index & 0xFF
        match setup.request:
            case Standard.GET_DESCRIPTOR:
                return self.description.descriptor(setup.value >> 8, setup.value & 0xFF)
            case Standard.GET_STATUS:
                return bytes([is_to_endpoint and endpoint in self.stalled, 0])
            case Standard.CLEAR_FEATURE if is_to_endpoint and setup.value == ENDPOINT_HALT:
                self.stalled.discard(endpoint)
            case Standard.SET_FEATURE if is_to_endpoint and setup.value == ENDPOINT_HALT:
                self.stall(endpoint)
            case _ if setup.request_type & IN:
                return None
        self.changed()
        return b""

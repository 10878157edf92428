"""A USB device that never waits: it gives what it is asked for and swallows what it gets. For measuring what moves the bytes."""

from __future__ import annotations

from guest.usb_device import UsbDevice
from guest.wirelet_usb import PACKET_BYTES, description


class Tireless(UsbDevice):
    """has_output: it talks without end; else it is silent."""

    def __init__(self, serial: str, *, has_output: bool) -> None:
        super().__init__(description(serial))
        self._packet = bytes(PACKET_BYTES) if has_output else None

    def packet_in(self, endpoint: int, now: float) -> bytes | None:
        return self._packet

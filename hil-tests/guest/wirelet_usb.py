"""A USB device with the interface of SPEC.md 10.2, and a second setting that returns every byte. Pure: packets, bytes and `now`.

Setting 0 is ff/57/01 `wirelet/1`; what arrives goes to when_output, what put() gets goes to the host. Setting 1 is ff/00/00 `loopback`.
With loops_back setting 0 returns every byte, too, for links that take no other interface.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from guest.usb_description import Alternate, Description, Endpoint, Speed
from guest.usb_device import UsbDevice

OUT_ENDPOINT: Final = 0x01
IN_ENDPOINT: Final = 0x81
PACKET_BYTES: Final = 512
BUFFER_BYTES: Final = 65536
"""What waits for the host; more is not taken."""
TEST_VENDOR: Final = 0x1209
TEST_PRODUCT: Final = 0x0001
"""pid.codes keeps it for tests."""
LOOPBACK: Final = 1


def description(serial: str) -> Description:
    endpoints = (Endpoint(OUT_ENDPOINT, PACKET_BYTES), Endpoint(IN_ENDPOINT, PACKET_BYTES))
    return Description(
        vendor_id=TEST_VENDOR,
        product_id=TEST_PRODUCT,
        version=0x0100,
        manufacturer="Wirelet",
        product="bulk board",
        serial=serial,
        speed=Speed.HIGH,
        alternates=(Alternate(endpoints, (0xFF, 0x57, 0x01), "wirelet/1"), Alternate(endpoints, (0xFF, 0, 0), "loopback")),
    )


class WireletUsb(UsbDevice):
    """when_room is called when put() may go on."""

    def __init__(self, serial: str, *, loops_back: bool = False) -> None:
        super().__init__(description(serial))
        self.when_output: Callable[[bytes], None] = lambda data: None
        self.when_room: Callable[[], None] = lambda: None
        self.is_stuck = False
        """It takes nothing: NAK for ever. Call changed() after setting it back."""
        self.is_mute = False
        """It gives nothing."""
        self.sends_zero_packets = True
        """After a burst that ended on a full packet, as it must."""
        self.zero_packets = 0
        """Received so far."""
        self._loops_back = loops_back
        self._to_host = bytearray()
        self._owes_zero_packet = False

    def put(self, data: bytes) -> None:
        """One burst to the host; lost when it does not listen to this."""
        if self.is_plugged and not self._is_loop:
            self._queue(data)

    def _queue(self, data: bytes) -> None:
        self._to_host += data
        self.changed()

    @property
    def _is_loop(self) -> bool:
        return self._loops_back or self.alternate == LOOPBACK

    @property
    def has_room(self) -> bool:
        return len(self._to_host) < BUFFER_BYTES

    def packet_out(self, endpoint: int, data: bytes, now: float) -> bool:
        if self.is_stuck or (self._is_loop and not self.has_room):
            return False
        if not data:
            self.zero_packets += 1
        elif self._is_loop:
            self._queue(data)
        else:
            self.when_output(data)
        return True

    def packet_in(self, endpoint: int, now: float) -> bytes | None:
        if self.is_mute or not (self._to_host or self._owes_zero_packet):
            return None
        packet = bytes(self._to_host[:PACKET_BYTES])
        had_room = self.has_room
        del self._to_host[:PACKET_BYTES]
        self._owes_zero_packet = self.sends_zero_packets and len(packet) == PACKET_BYTES and not self._to_host
        if not had_room and self.has_room:
            self.changed()  # an OUT may wait for it
            self.when_room()
        return packet

    def choose(self, alternate: int) -> None:
        super().choose(alternate)
        self._forget()

    def unplugged(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._to_host.clear()
        self._owes_zero_packet = False
        self.when_room()

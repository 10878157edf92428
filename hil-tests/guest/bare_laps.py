"""What pyusb alone carries, in the guest: the measure for Wirelet's link. It imports no part of Wirelet, which changes pyusb's libusb."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import usb.backend.libusb1
import usb.core
import usb.util

WARM_UP_BYTES: Final = 1 << 20
"""Not measured: code is loaded, and buffers between threads fill."""
FIRST_IN: Final = 0x80
TIMEOUT_MS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Lap:
    """Seconds of the clock and of the processor."""

    took_s: float
    cpu_s: float

    @classmethod
    def now(cls) -> Lap:
        return cls(time.monotonic(), time.process_time())

    def to_now(self) -> Lap:
        """From this one, which was now once."""
        end = Lap.now()
        return Lap(end.took_s - self.took_s, end.cpu_s - self.cpu_s)


def bare_lap(serial: str, total_bytes: int, is_in: bool, piece_bytes: int) -> Lap:
    """So many bytes from or to a device that never waits."""
    backend = usb.backend.libusb1.get_backend(find_library=lambda _: "libusb-1.0.so.0")
    device = usb.core.find(backend=backend, custom_match=lambda found: found.serial_number == serial)
    interface = device.get_active_configuration()[(0, 0)]
    endpoint = next(end for end in interface if (end.bEndpointAddress >= FIRST_IN) == is_in)
    piece = bytes(piece_bytes)
    usb.util.claim_interface(device, 0)

    def move(wanted_bytes: int) -> None:
        moved_bytes = 0
        while moved_bytes < wanted_bytes:
            moved_bytes += len(endpoint.read(piece_bytes, TIMEOUT_MS)) if is_in else endpoint.write(piece, TIMEOUT_MS)

    move(WARM_UP_BYTES)
    begin = Lap.now()
    move(total_bytes)
    lap = begin.to_now()
    usb.util.dispose_resources(device)
    return lap

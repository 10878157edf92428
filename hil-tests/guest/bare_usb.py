"""A bulk device of the guest as a test holds it: pyusb and nothing else, the measure for every link over USB."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import usb.backend.libusb1
import usb.core
import usb.util

TIMEOUT_MS: Final = 20_000
"""Of a transfer. The guest is slow; what is there comes at once."""
IN: Final = 0x80


class BareUsb:
    """The first interface of the device with this serial number, claimed."""

    def __init__(self, serial: str, alternate: int = 0) -> None:
        backend = usb.backend.libusb1.get_backend(find_library=lambda _: "libusb-1.0.so.0")
        self._device = usb.core.find(backend=backend, custom_match=lambda device: _serial(device) == serial)
        if self._device is None:
            raise LookupError(f"no USB device {serial}")
        configuration = self._device.get_active_configuration()
        usb.util.claim_interface(self._device, 0)
        if len(list(configuration)) > 1:
            self._device.set_interface_altsetting(0, alternate)
        interface = configuration[(0, alternate)]
        self._out = next(endpoint for endpoint in interface if not endpoint.bEndpointAddress & IN)
        self._in = next(endpoint for endpoint in interface if endpoint.bEndpointAddress & IN)
        self._interface = interface

    def facts(self) -> tuple[int, int, int, str]:
        """Class, subclass, protocol and the interface's string."""
        found = self._interface
        return (
            found.bInterfaceClass,
            found.bInterfaceSubClass,
            found.bInterfaceProtocol,
            usb.util.get_string(self._device, found.iInterface),
        )

    def write(self, data: bytes, timeout_ms: int = TIMEOUT_MS) -> int:
        """One transfer, as it is: nothing is added after a full packet. Raises OSError, for a time-out TimeoutError."""
        with _travelling():
            return int(self._out.write(data, timeout_ms))

    def read(self, room: int, timeout_ms: int = TIMEOUT_MS) -> bytes:
        """One transfer. Raises as write does."""
        with _travelling():
            return bytes(self._in.read(room, timeout_ms))

    def clear_halts(self) -> None:
        """Of both endpoints."""
        self._device.clear_halt(self._out)
        self._device.clear_halt(self._in)

    def loop_s(self, size: int, count: int) -> float:
        """Seconds for so many round trips of so many bytes, each compared."""
        packet = self._out.wMaxPacketSize
        started = time.monotonic()
        for _ in range(count):
            sent = os.urandom(size)
            self.write(sent)
            if size % packet == 0:
                self.write(b"")
            received = b""
            while len(received) < size:
                received += self.read((size - len(received) + packet - 1) // packet * packet)
            if received != sent:
                raise ValueError(f"{len(sent)} bytes came back as {len(received)} others")
        return time.monotonic() - started

    def close(self) -> None:
        usb.util.dispose_resources(self._device)


@contextmanager
def _travelling() -> Iterator[None]:
    """pyusb's own error loses its number when it is pickled."""
    try:
        yield
    except usb.core.USBError as error:
        raise OSError(error.errno, str(error)) from error


def _serial(device: Any) -> str:
    try:
        return str(device.serial_number)
    except (usb.core.USBError, ValueError):  # it has none, or it is going
        return ""

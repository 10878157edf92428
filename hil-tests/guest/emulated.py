"""A USB device of our own in a port of the guest. The device lives in an event loop in a thread of the test's process."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final, TypeVar

from anyio.from_thread import BlockingPortal
from guest.machine import REDIRECTED_BUS, REDIRECTED_SLOT, Guest
from guest.usb_device import UsbDevice
from guest.usb_plug import UsbPlug

T = TypeVar("T")
_numbers: Final = itertools.count()


class Emulated:
    """Not plugged in at first. portal leads to the loop; the device is touched only there."""

    def __init__(self, guest: Guest, portal: BlockingPortal, device: UsbDevice) -> None:
        self._guest = guest
        self._portal = portal
        self._device = device
        self._id = f"redirected-{next(_numbers)}"
        self._plug = UsbPlug(device, guest.add_socket(self._id))
        self._port = guest.take_port()
        self.path_id = f"pci-0000:00:{REDIRECTED_SLOT:02x}.0-usb-0:{self._port}:1.0"
        """Where its interface is, as udev's ID_PATH says it."""
        properties = {"driver": "usb-redir", "id": self._id, "chardev": self._id, "bus": REDIRECTED_BUS, "port": str(self._port)}
        guest.qmp.execute_when_free("device_add", properties)

    def plug(self) -> None:
        """Into the same port as before. Returns before the guest has seen it."""
        self._portal.call(self._plug.plug)

    def unplug(self) -> None:
        self._portal.call(self._plug.unplug)

    def stall(self, endpoint: int) -> None:
        """It answers with a stall until the host clears that."""
        self._on_loop(self._device.stall, endpoint)

    def remove(self) -> None:
        """For good; QEMU removes the socket with it."""
        self.unplug()
        self._guest.qmp.execute("device_del", {"id": self._id})
        self._guest.free_port(self._port)

    def _on_loop(self, function: Callable[..., T], *args: object) -> T:
        return self._portal.call(lambda: function(*args))

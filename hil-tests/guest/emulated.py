"""A USB device of our own in a port of the guest. The device lives in an event loop in a thread of the test's process."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from anyio.from_thread import BlockingPortal
from guest.machine import REDIRECTED_BUS, REDIRECTED_SLOT, Guest
from guest.usb_device import UsbDevice
from guest.usb_plug import UsbPlug

T = TypeVar("T")
CLEAR_S: Final = 30.0
LOOK_S: Final = 0.02
_numbers: Final = itertools.count()


class Emulated:
    """Not plugged in at first. portal leads to the loop; the device is touched only there."""

    def __init__(self, guest: Guest, portal: BlockingPortal, device: UsbDevice) -> None:
        self._guest = guest
        self._portal = portal
        self._device = device
        self._id = f"redirected-{next(_numbers)}"
        self._port = guest.take_port()
        self.path_id = f"pci-0000:00:{REDIRECTED_SLOT:02x}.0-usb-0:{self._port}:1.0"
        """Where its interface is, as udev's ID_PATH says it."""
        self._plug = UsbPlug(device, self._add())

    def plug(self) -> None:
        """Into the same port as before. Returns before the guest has seen it."""
        self._portal.call(self._plug.plug)

    def unplug(self) -> None:
        self._portal.call(self._plug.unplug)

    def take_out(self) -> None:
        """As unplug(), but QEMU pulls it: the computer's end of the cable."""
        self._guest.qmp.execute("device_del", {"id": self._id})

    def put_in(self) -> None:
        """After take_out."""
        self._add()
        self.plug()

    def await_cleared(self, endpoint: int) -> None:
        """Until the host has cleared the stall. Raises TimeoutError."""
        deadline = time.monotonic() + CLEAR_S
        while self._on_loop(lambda: endpoint in self._device.stalled):
            if time.monotonic() > deadline:
                raise TimeoutError(f"the host did not clear the stall of endpoint {endpoint:02x}")
            time.sleep(LOOK_S)

    def stall(self, endpoint: int) -> None:
        """It answers with a stall until the host clears that."""
        self._on_loop(self._device.stall, endpoint)

    def remove(self) -> None:
        """For good; QEMU removes the socket with it."""
        self.unplug()
        self._guest.qmp.execute("device_del", {"id": self._id})
        self._guest.free_port(self._port)

    def _add(self) -> Path:
        """The device in QEMU, with a socket for what it redirects."""
        path = self._guest.add_socket(self._id)
        properties = {"driver": "usb-redir", "id": self._id, "chardev": self._id, "bus": REDIRECTED_BUS, "port": str(self._port)}
        self._guest.qmp.execute_when_free("device_add", properties)
        return path

    def _on_loop(self, function: Callable[..., T], *args: object) -> T:
        return self._portal.call(lambda: function(*args))

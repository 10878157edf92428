"""QEMU's own FTDI adapter (an FT232BM) in the guest, driven by the real ftdi_sio; its far end is a unix socket of this machine.

Who connects to the socket plugs it in, who closes it or dies pulls it out. It can be pulled by QMP too. Its modem lines are invented by
QEMU and every baud rate works: where these matter take `ft232`.
A far end that stops reading freezes the whole guest.
"""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Final

from guest.inside import await_no_path, await_path
from guest.machine import SERIAL_BUS, Guest
from guest.qmp import QmpError

NO_SERIAL: Final = "0001"
"""Left out, QEMU would make one of the port."""
_numbers: Final = itertools.count()


class UsbSerial:
    """One adapter, in the guest from now on but for its far end. serial None: what every such adapter says, which is none."""

    def __init__(self, guest: Guest, serial: str | None, port: str | None = None) -> None:
        self.serial = serial
        self.by_id = f"/dev/serial/by-id/usb-QEMU_QEMU_USB_SERIAL_{serial}-if00-port0"
        """Its stable path in the guest."""
        self._guest = guest
        self._id = f"usb-serial-{next(_numbers)}"
        self.socket: Path = guest.add_socket(self._id)
        """Where the far end connects."""
        self.plug(port)

    def plug(self, port: str | None = None) -> None:
        """Into a USB port, the next free one if none is named. It shows when the far end is connected."""
        properties = {"driver": "usb-serial", "id": self._id, "chardev": self._id, "serial": self.serial or NO_SERIAL, "bus": SERIAL_BUS}
        if port is not None:
            properties["port"] = port
        self._guest.qmp.execute_when_free("device_add", properties)

    def unplug(self) -> None:
        """Out of the USB port; the far end stays connected to the adapter and hears nothing of it."""
        self._guest.qmp.execute("device_del", {"id": self._id})

    def await_plugged(self) -> str:
        """The tty that it became."""
        return self._guest.call(await_path, self.by_id)

    def await_unplugged(self) -> None:
        self._guest.call(await_no_path, self.by_id)

    def remove(self) -> None:
        """For good."""
        with contextlib.suppress(QmpError):  # it is out
            self.unplug()
        self._guest.remove_socket(self._id)

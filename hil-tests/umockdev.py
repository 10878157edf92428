"""Devices that exist only for the programs under test: libumockdev through ctypes, without GObject introspection.

A program sees them if it was started with environment(): the preload library shows it another /sys and /dev and brings it the uevents. So
a test with hotplug is a child process of its own:

    with Testbed() as bed:
        bed.add_from_string(text(host()))
        bed.plug(board)                           # a usb_tree.UsbDevice: `add` for each part, parents first
        bed.unplug(board)                         # `remove` for each part, children first, and the files are gone
        bed.plug(board.moved(devnum=6))           # as after a reset

Nobody's rules run: a listener of the kernel and one of udev both see the properties that the record has (usb_tree.text takes more of them),
and no event passes a filter by tag. A real udevd starts here, but its workers take events from each other; it is for the guest.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from usb_tree import Properties, UsbDevice, text

LIBRARY: Final = "libumockdev.so.0"
GOBJECT: Final = "libgobject-2.0.so.0"
PRELOAD: Final = "libumockdev-preload.so.0"


class _GError(ctypes.Structure):
    _fields_ = (("domain", ctypes.c_uint32), ("code", ctypes.c_int), ("message", ctypes.c_char_p))


class Testbed:
    """The /sys and /dev that this process and its children see. Raises RuntimeError in a process that was not started for it."""

    __test__ = False

    def __init__(self) -> None:
        # Not umockdev_in_mock_environment(): it guesses from the link count of /sys, which is another in containers.
        if PRELOAD not in os.environ.get("LD_PRELOAD", ""):
            raise RuntimeError(f"start this process with LD_PRELOAD={PRELOAD}: umockdev.environment()")
        self._library, self._gobject = ctypes.CDLL(LIBRARY), ctypes.CDLL(GOBJECT)
        for library, signatures in ((self._library, _SIGNATURES), (self._gobject, _GOBJECT_SIGNATURES)):
            for name, arguments, result in signatures:
                function = getattr(library, name)
                function.argtypes, function.restype = arguments, result
        self._bed = self._library.umockdev_testbed_new()
        self._handlers: list[object] = []
        """Kept for as long as the library may call them."""
        self._used: dict[str, str] = {}
        """The ptys of ttys that were unplugged: the library would make each name only once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def plug(self, device: UsbDevice, more: Mapping[str, Properties] | None = None) -> None:
        """Add all parts of device; more has properties by device path that udev would have found."""
        records = device.records()
        for number, record in enumerate(records):
            if record.node in self._used:
                (self.root / "dev" / record.node).symlink_to(self._used[record.node])
                records[number] = replace(record, node="")
        self.add_from_string(text(records, more))

    def unplug(self, device: UsbDevice) -> None:
        """Emit `remove` for each part, then take them out of /sys and /dev."""
        for record in reversed(device.records()):
            node = self.root / "dev" / record.node
            if node.is_symlink():
                self._used[record.node] = os.readlink(node)
            if record.node:
                node.unlink()
            self.uevent(f"/sys{record.path}", "remove")
        self.remove_device(device.syspath)

    def let_ioctls_through(self, node: str) -> None:
        """Programs set the real tty behind /dev/node; without this every ioctl is refused, for nobody has recorded any."""
        handler = self._gobject.g_object_new(self._library.umockdev_ioctl_base_get_type(), None)
        self._handlers.append(_HANDLE_IOCTL(self._execute))
        self._gobject.g_signal_connect_data(handler, b"handle-ioctl", self._handlers[-1], None, None, 0)
        self._library.umockdev_testbed_attach_ioctl(self._bed, f"/dev/{node}".encode(), handler, None)

    def _execute(self, _handler: int, client: int, _data: int) -> int:
        """In a thread of the library's: let the program that asks do it itself."""
        number = ctypes.c_int()
        result = self._library.umockdev_ioctl_client_execute(client, ctypes.byref(number))
        self._library.umockdev_ioctl_client_complete(client, result, number.value)
        return 1

    def add_from_string(self, umockdev: str) -> None:
        """Add the devices of a .umockdev text and emit `add` for each. Raises ValueError with the library's words for a wrong text."""
        error = ctypes.POINTER(_GError)()
        if not self._library.umockdev_testbed_add_from_string(self._bed, umockdev.encode(), ctypes.byref(error)):
            raise ValueError(error.contents.message.decode())

    def uevent(self, syspath: str, action: str) -> None:
        """Emit add, remove, change, bind or unbind for a device that is there; the files stay as they are."""
        self._library.umockdev_testbed_uevent(self._bed, syspath.encode(), action.encode())

    def remove_device(self, syspath: str) -> None:
        """Take a device and what is below it out of /sys, without an event."""
        self._library.umockdev_testbed_remove_device(self._bed, syspath.encode())
        # 0.17.16 leaves links behind and dies when a device of that name comes back.
        for pattern in ("bus/*/devices/*", "class/*/*"):
            for link in (self.root / "sys").glob(pattern):
                if not link.exists():
                    link.unlink()

    def set_attribute(self, syspath: str, name: str, value: str) -> None:
        self._library.umockdev_testbed_set_attribute(self._bed, syspath.encode(), name.encode(), value.encode())

    def set_property(self, syspath: str, name: str, value: str) -> None:
        """What the device's next uevent says."""
        self._library.umockdev_testbed_set_property(self._bed, syspath.encode(), name.encode(), value.encode())

    @property
    def root(self) -> Path:
        """The folder in which the sys and dev of the programs really are."""
        return Path(os.fsdecode(self._library.umockdev_testbed_get_root_dir(self._bed)))

    def close(self) -> None:
        """Remove everything again."""
        if self._bed:
            self._gobject.g_object_unref(self._bed)
            self._bed = None


_SIGNATURES: Final = (
    ("umockdev_testbed_new", (), ctypes.c_void_p),
    ("umockdev_testbed_add_from_string", (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p), ctypes.c_int),
    ("umockdev_testbed_uevent", (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p), None),
    ("umockdev_testbed_remove_device", (ctypes.c_void_p, ctypes.c_char_p), None),
    ("umockdev_testbed_set_attribute", (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p), None),
    ("umockdev_testbed_set_property", (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p), None),
    ("umockdev_testbed_get_root_dir", (ctypes.c_void_p,), ctypes.c_char_p),
    ("umockdev_testbed_attach_ioctl", (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p), ctypes.c_int),
    ("umockdev_ioctl_base_get_type", (), ctypes.c_size_t),
    ("umockdev_ioctl_client_execute", (ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)), ctypes.c_int),
    ("umockdev_ioctl_client_complete", (ctypes.c_void_p, ctypes.c_long, ctypes.c_int), None),
)
_HANDLE_IOCTL: Final = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_GOBJECT_SIGNATURES: Final = (
    ("g_object_unref", (ctypes.c_void_p,), None),
    ("g_object_new", (ctypes.c_size_t, ctypes.c_void_p), ctypes.c_void_p),
    (
        "g_signal_connect_data",
        (ctypes.c_void_p, ctypes.c_char_p, _HANDLE_IOCTL, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),
        ctypes.c_ulong,
    ),
)


def environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment in which a process can have a Testbed."""
    preload = ":".join(filter(None, (PRELOAD, given.get("LD_PRELOAD"))))
    return {**given, "LD_PRELOAD": preload}

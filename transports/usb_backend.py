"""libusb, given one device to know, as a backend of pyusb. The only file that needs libusb itself; everything blocks.

pyusb looks for devices among all of them, which reads files that wait for a device's lock: one that hangs would hold up all others. Here a
device is opened by its node and wrapped, in a libusb context of its own. So no other is touched, no transfer waits for another device's,
and a refusal has the system's own error number.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from typing import Any, Final

import usb.backend.libusb1

from transports.usb import BulkPipe, open_error, pipe_of

_LIBRARY: Final = "libusb-1.0.so.0"
_NO_DEVICE_DISCOVERY: Final = 2
"""In enum libusb_option."""


def open_pipe(node: str, name: str, number: int | None = None) -> BulkPipe:
    """The interface of the device at a node of /dev/bus/usb, claimed; number: that one only.

    Raises LinkNotFound, LinkBusy, LinkPermissionDenied, LinkTimeout or LinkError, which begin with name.
    """
    try:
        backend = OneDevice(node)
        try:
            return pipe_of(backend, name, number)
        except BaseException:
            backend.close()
            raise
    except OSError as error:
        raise open_error(node, name, error) from error


def _load() -> Any:
    """pyusb's libusb. Raises ImportError when this machine has none."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise ImportError("there is no libusb: apt-get install libusb-1.0-0") from error
    if not hasattr(library, "libusb_wrap_sys_device"):
        raise ImportError("this libusb is older than 1.0.23, which cannot be given a device")
    library.libusb_set_option(None, _NO_DEVICE_DISCOVERY)  # of every context that comes
    backend = usb.backend.libusb1.get_backend(find_library=lambda _: _LIBRARY)
    backend.lib.libusb_wrap_sys_device.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.POINTER(ctypes.c_void_p)]
    backend.lib.libusb_get_device.argtypes = [ctypes.c_void_p]
    backend.lib.libusb_get_device.restype = ctypes.c_void_p
    return backend


_pyusb: Final = _load()
_libusb: Final = _pyusb.lib
_check: Final = usb.backend.libusb1._check
"""Makes a USBError of what libusb returned; a test holds pyusb to it."""


class OneDevice:
    """pyusb's libusb with a context of its own, which knows the device at one node and has it open already.

    It is what pyusb calls a backend, and the device and the handle that such a backend gives out.
    """

    def __init__(self, node: str) -> None:
        """Raises OSError."""
        self.devid: int | None = None
        self.handle = ctypes.c_void_p()
        self._context = ctypes.c_void_p()
        self._file = os.open(node, os.O_RDWR | os.O_CLOEXEC)
        try:
            _check(_libusb.libusb_init(ctypes.byref(self._context)))
            _check(_libusb.libusb_wrap_sys_device(self._context, self._file, ctypes.byref(self.handle)))
            self.devid = _libusb.libusb_get_device(self.handle)
        except BaseException:
            self.close()
            raise

    def __getattr__(self, name: str) -> Any:
        """All that pyusb asks of a backend beside the rest here."""
        return getattr(_pyusb, name)

    def enumerate_devices(self) -> Iterator[OneDevice]:
        yield self

    def open_device(self, device: OneDevice) -> OneDevice:
        return self

    def close_device(self, handle: OneDevice) -> None:
        self.close()

    def close(self) -> None:
        """Idempotent. Nobody may be in a transfer."""
        if self.handle:
            _libusb.libusb_close(self.handle)
            self.handle = ctypes.c_void_p()
        if self._context:
            _libusb.libusb_exit(self._context)
            self._context = ctypes.c_void_p()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def bulk_read(self, handle: OneDevice, endpoint: int, interface: int, buffer: Any, timeout_ms: int) -> int:
        """How much came. pyusb would forget that before a stall; here it is told first, and the next transfer tells the stall.

        Not so for bulk_write: what a controller says of a transfer that a stall ended is not always true (QEMU's EHCI: all was sent).
        """
        address, length = buffer.buffer_info()
        data, came = ctypes.cast(address, ctypes.POINTER(ctypes.c_ubyte)), ctypes.c_int()
        code = _libusb.libusb_bulk_transfer(self.handle, endpoint, data, length, ctypes.byref(came), timeout_ms)
        return came.value or int(_check(code))

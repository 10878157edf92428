"""libusb, given one device to know, as a backend of pyusb. The only file that needs libusb itself; everything blocks.

pyusb looks for devices among all of them, which reads files that wait for a device's lock: one that hangs would hold up all others. Here a
device is opened by its node and wrapped, in a libusb context of its own. So no other is touched, no transfer waits for another device's,
and a refusal has the system's own error number.
"""

from __future__ import annotations

import ctypes
import errno
import os
from array import array
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import usb.backend.libusb1

from transports.usb import BulkPipe, open_error, pipe_of

_LIBRARY: Final = "libusb-1.0.so.0"
_NO_DEVICE_DISCOVERY: Final = 2
"""In enum libusb_option."""
_BULK: Final = 2
"""In enum libusb_transfer_type."""
_ERRORS: Final[Mapping[int, int]] = MappingProxyType(
    {1: errno.EIO, 2: errno.ETIMEDOUT, 3: errno.EIO, 4: errno.EPIPE, 5: errno.ENODEV, 6: errno.EOVERFLOW}
)
"""Of enum libusb_transfer_status. In pyusb's table a stall is EIO; 3, cancelled but not by us, is an interface that was taken."""
_INTERRUPTED: Final = -10
"""In enum libusb_error: a signal came."""
_Struct: Final = usb.backend.libusb1._libusb_transfer
_Ended: Final = usb.backend.libusb1._libusb_transfer_cb_fn_p


class _TimeVal(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("microseconds", ctypes.c_long))


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
    backend.lib.libusb_cancel_transfer.argtypes = [ctypes.POINTER(_Struct)]
    backend.lib.libusb_interrupt_event_handler.argtypes = [ctypes.c_void_p]
    backend.lib.libusb_handle_events_timeout_completed.argtypes = [ctypes.c_void_p, ctypes.POINTER(_TimeVal), ctypes.c_void_p]
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
        self._transfers: list[BulkTransfer] = []
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
        """Idempotent. No transfer may be under way."""
        while self._transfers:
            self._transfers.pop().free()
        if self.handle:
            _libusb.libusb_close(self.handle)
            self.handle = ctypes.c_void_p()
        if self._context:
            _libusb.libusb_exit(self._context)
            self._context = ctypes.c_void_p()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def transfer(self, endpoint: int, timeout_ms: int) -> BulkTransfer:
        """Its memory lasts until close."""
        transfer = BulkTransfer(self.handle, endpoint, timeout_ms)
        self._transfers.append(transfer)
        return transfer

    def handle_events(self, patience_s: float) -> None:
        """Until transfers have ended, wake was called or patience is over. Raises OSError."""
        patience = _TimeVal(int(patience_s), int(patience_s % 1 * 1e6))
        code = _libusb.libusb_handle_events_timeout_completed(self._context, ctypes.byref(patience), None)
        if code != _INTERRUPTED:
            _check(code)

    def wake(self) -> None:
        """From another thread, not after close has begun."""
        _libusb.libusb_interrupt_event_handler(self._context)


class BulkTransfer:
    """See transports.usb_lane.Transfer."""

    def __init__(self, handle: ctypes.c_void_p, endpoint: int, timeout_ms: int) -> None:
        self.is_over = True
        self._struct = _libusb.libusb_alloc_transfer(0)
        if not self._struct:
            raise MemoryError
        self._ended = _Ended(self._end)  # libusb keeps no reference
        self._buffer: array[int] | None = None
        fields = self._struct.contents
        fields.dev_handle = handle
        fields.endpoint, fields.type, fields.timeout = endpoint, _BULK, timeout_ms
        fields.callback = self._ended

    @property
    def count(self) -> int:
        return int(self._struct.contents.actual_length)

    @property
    def error(self) -> int:
        return _ERRORS.get(self._struct.contents.status, 0)

    def begin(self, buffer: array[int], length: int) -> None:
        self._buffer = buffer  # as long as libusb has its address
        self._struct.contents.buffer, self._struct.contents.length = buffer.buffer_info()[0], length
        _check(_libusb.libusb_submit_transfer(self._struct))

    def cancel(self) -> None:
        _libusb.libusb_cancel_transfer(self._struct)  # refused: it has ended, or the device is gone and it ends

    def free(self) -> None:
        _libusb.libusb_free_transfer(self._struct)

    def _end(self, _: object) -> None:
        self._buffer = None
        self.is_over = True

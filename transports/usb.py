"""The bulk interface of one USB device, through pyusb. Everything here blocks; it is for threads.

What a kernel driver held goes back to it at the end. A stall is cleared and gone on after, some times. It resets nothing and sets no
configuration: both would take the device's other interfaces from whoever uses them. It knows no event loop and looks for no device.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import usb.core
import usb.util

from transports.errors import LinkBusy, LinkError, LinkLost, LinkNotFound, LinkPermissionDenied, LinkTimeout
from transports.permission import who_may
from transports.usb_errno import Meaning, meaning_of
from transports.usb_interface import BulkInterface, Endpoint, Setting, choose

TRANSFER_TIMEOUT_MS: Final = 250
"""Of one attempt: how long a device that violates the rule of empty packets delays its bytes, and a hung close waits."""
MAX_STALLS: Final = 5
"""Of one endpoint in a row; then the device wants to be left alone, or opened anew."""
SETTLE_S: Final = 1.0
"""A device that has just come is there before the kernel has configured it."""
SETTLE_LOOK_S: Final = 0.02


def pipe_of(backend: Any, name: str, number: int | None = None) -> BulkPipe:
    """The interface of the one device that a backend of pyusb has, claimed; number: that one only. Raises OSError and LinkError."""
    device = usb.core.find(backend=backend)
    try:
        interface = choose(_settled_settings(device, name), lambda index: _string(device, index), number)
        if isinstance(interface, str):
            raise LinkError(f"{name}: {interface}")
        return BulkPipe(device, name, interface)
    except BaseException:
        usb.util.dispose_resources(device)
        raise


class BulkPipe:
    """One claimed interface. read may run in one thread and write in another; release when both have ended, after interrupt."""

    def __init__(self, device: Any, name: str, interface: BulkInterface) -> None:
        """Claims. Raises OSError."""
        self._device = device
        self._name = name
        self._interface = interface
        self._stalls = {interface.into_host.address: 0, interface.out_of_host.address: 0}
        self._had_driver = device.is_kernel_driver_active(interface.number)
        if self._had_driver:
            device.detach_kernel_driver(interface.number)
        try:
            usb.util.claim_interface(device, interface.number)
            if interface.alternate:
                device.set_interface_altsetting(interface.number, interface.alternate)
        except OSError:
            self._give_back()
            raise

    @property
    def out_packet_bytes(self) -> int:
        return self._interface.out_of_host.packet_bytes

    def read(self, buffer: array[int]) -> int:
        """How much of the buffer one transfer filled; 0 after a time-out, an empty packet and a stall that was cleared. Raises LinkLost.

        The buffer's length is a multiple of every packet size: TRANSFER_BYTES.
        """
        endpoint = self._interface.into_host.address
        try:
            count = int(self._device.read(endpoint, buffer, TRANSFER_TIMEOUT_MS))
        except usb.core.USBError as error:
            self._go_on_after(error, endpoint)
            return 0
        self._stalls[endpoint] = 0
        return count

    def write(self, data: memoryview) -> int | None:
        """How many bytes the device took of one transfer; None when it took nothing, not even an empty one. Raises LinkLost.

        A transfer that a stall ended counts as not begun: repeated, some of its bytes may come twice, which frames can stand.
        """
        endpoint = self._interface.out_of_host.address
        buffer = array("B")
        buffer.frombytes(data)
        try:
            written: int = self._device.write(endpoint, buffer, TRANSFER_TIMEOUT_MS)
        except usb.core.USBError as error:
            self._go_on_after(error, endpoint)
            return None
        self._stalls[endpoint] = 0
        return written

    def interrupt(self) -> None:
        """From another thread: the kernel ends the transfers under way. One that begins just now ends by its time-out."""
        with suppress(usb.core.USBError):  # unplugged: then they have ended
            usb.util.release_interface(self._device, self._interface.number)

    def release(self) -> None:
        """Give everything back. Never raises."""
        self.interrupt()
        self._give_back()
        usb.util.dispose_resources(self._device)

    def _give_back(self) -> None:
        if self._had_driver:
            with suppress(usb.core.USBError):
                self._device.attach_kernel_driver(self._interface.number)

    def _go_on_after(self, error: usb.core.USBError, endpoint: int) -> None:
        """Return when the transfer may be tried again. Raises LinkLost."""
        meaning = meaning_of(error.errno)
        if meaning is Meaning.NOTHING_YET:
            return
        if meaning is Meaning.STALLED and self._stalls[endpoint] < MAX_STALLS:
            self._stalls[endpoint] += 1
            try:
                self._device.clear_halt(endpoint)
            except usb.core.USBError as refusal:
                meaning, error = meaning_of(refusal.errno), refusal
            else:
                return
        why = meaning.value if meaning is not Meaning.UNKNOWN else str(error.strerror)
        raise LinkLost(f"{self._name}: {why}") from error


# -- private


def _settled_settings(device: Any, name: str) -> list[Setting]:
    deadline = time.monotonic() + SETTLE_S
    while True:
        try:
            return list(_settings(device.get_active_configuration()))
        except usb.core.USBError as error:
            if error.errno is not None:  # pyusb's word for "not configured" has none
                raise
            if time.monotonic() > deadline:
                raise LinkNotFound(f"{name}: the kernel has not configured the device") from error
        time.sleep(SETTLE_LOOK_S)


def _settings(configuration: Any) -> Iterator[Setting]:
    for each in configuration:
        triple = (each.bInterfaceClass, each.bInterfaceSubClass, each.bInterfaceProtocol)
        endpoints = tuple(Endpoint(end.bEndpointAddress, end.bmAttributes, end.wMaxPacketSize) for end in each)
        yield Setting(each.bInterfaceNumber, each.bAlternateSetting, triple, each.iInterface, endpoints)


def _string(device: Any, index: int) -> str:
    try:
        return usb.util.get_string(device, index) or ""
    except ValueError:  # "no langid": of a device that is open, so no matter of permission as pyusb guesses
        return ""


def open_error(node: str, name: str, error: OSError) -> LinkError:
    match meaning_of(error.errno):
        case Meaning.FORBIDDEN:
            return LinkPermissionDenied(f"{name}: no permission to open the device{who_may(node)}")
        case Meaning.BUSY:
            return LinkBusy(f"{name}: another process or kernel driver holds the interface")
        case Meaning.GONE:
            return LinkNotFound(f"{name}: the device is gone")
        case Meaning.NOTHING_YET:
            return LinkTimeout(f"{name}: the device does not answer")
        case _:
            return LinkError(f"{name}: {error.strerror or error}")

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
from transports.usb_lane import Lane

READ_TIMEOUT_MS: Final = 250
"""How long a device that violates the rule of empty packets delays its bytes. A transfer to the device has no time-out: the next one would
begin before the rest of it."""
READS_AT_ONCE: Final = 1
"""With a second one waiting behind it bytes were lost in the guest (ADR 0010)."""
WRITES_AT_ONCE: Final = 2
"""One moves while the next is made. More only take the kernel's memory for usbfs."""
LAST_S: Final = 1.0
"""The kernel ends cancelled transfers at once; a loss is told after that at the latest."""
WAIT_S: Final = 60.0
"""A look at nothing, as wake always ends it."""
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
        return BulkPipe(backend, device, name, interface)
    except BaseException:
        usb.util.dispose_resources(device)
        raise


class BulkPipe:
    """One claimed interface, for one thread: begin transfers, wait, and look at what has ended. Only wake is for others."""

    def __init__(self, backend: Any, device: Any, name: str, interface: BulkInterface) -> None:
        """Claims. Raises OSError."""
        self._backend = backend
        self._device = device
        self._name = name
        self._interface = interface
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
        self._written: list[array[int]] = []
        """Buffers to write from again: a new one for each transfer would cost more than the transfer."""
        self._into_host = self._lane(name, interface.into_host, READS_AT_ONCE, READ_TIMEOUT_MS, repeats=False)
        self._out_of_host = self._lane(name, interface.out_of_host, WRITES_AT_ONCE, 0, repeats=True)

    @property
    def out_packet_bytes(self) -> int:
        return self._interface.out_of_host.packet_bytes

    @property
    def can_read(self) -> bool:
        """begin_read may be called."""
        return self._into_host.has_room

    @property
    def can_write(self) -> bool:
        """begin_write may be called."""
        return self._out_of_host.has_room

    def begin_read(self, buffer: array[int]) -> None:
        """The buffer comes back by received. Its length is a multiple of every packet size: TRANSFER_BYTES. Raises LinkLost."""
        self._into_host.begin(buffer, len(buffer))

    def begin_write(self, data: memoryview) -> None:
        """The system has taken it when this returns. Raises LinkLost."""
        buffer = self._written.pop() if self._written else array("B")
        if len(buffer) < len(data):
            buffer = array("B", bytes(len(data)))
        memoryview(buffer)[: len(data)] = data
        self._out_of_host.begin(buffer, len(data))

    def wait(self) -> None:
        """Until a transfer has ended or somebody called wake, even before. Raises LinkLost."""
        try:
            self._backend.handle_events(WAIT_S)
        except OSError as error:
            raise LinkLost(f"{self._name}: the system does not tell what its transfers do: {error.strerror or error}") from error

    def received(self) -> Iterator[tuple[array[int], int]]:
        """Buffers that were read into and how much; 0 after a time-out, an empty packet and a stall. Raises LinkLost after the last one."""
        return self._into_host.ended()

    def look_at_written(self) -> None:
        """Make room, and repeat what a stall ended. Raises LinkLost."""
        self._written += [buffer for buffer, _ in self._out_of_host.ended()]

    def last(self) -> Iterator[tuple[array[int], int]]:
        """After a loss: end everything, and give what came before. Nothing when the kernel does not let go."""
        self._end(time.monotonic() + LAST_S)
        if not self._into_host.is_moving:
            yield from self._into_host.rest()

    def wake(self) -> None:
        """From another thread, not after release has begun: wait returns. It does not block."""
        self._backend.wake()

    def release(self) -> None:
        """Give everything back; no thread is in another method. Hangs as long as the kernel keeps a transfer. Raises nothing."""
        self._end(float("inf"))
        with suppress(usb.core.USBError):  # unplugged
            usb.util.release_interface(self._device, self._interface.number)
        self._give_back()
        usb.util.dispose_resources(self._device)

    def _lane(self, name: str, endpoint: Endpoint, at_once: int, timeout_ms: int, *, repeats: bool) -> Lane:
        transfers = [self._backend.transfer(endpoint.address, timeout_ms) for _ in range(at_once)]
        return Lane(name, transfers, lambda: self._device.clear_halt(endpoint.address), repeats=repeats)

    def _end(self, deadline: float) -> None:
        lanes = (self._out_of_host, self._into_host)
        for lane in lanes:
            lane.cancel()
        while any(lane.is_moving for lane in lanes) and (left_s := deadline - time.monotonic()) > 0:
            try:
                self._backend.handle_events(min(left_s, LAST_S))
            except OSError:  # a transfer that may still move keeps its memory, whatever is told of it
                time.sleep(min(left_s, SETTLE_LOOK_S))

    def _give_back(self) -> None:
        if self._had_driver:
            with suppress(usb.core.USBError):
                self._device.attach_kernel_driver(self._interface.number)


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

"""A USB device without a bus: what pyusb asks of libusb, answered by a device in this process.

It speaks pyusb's backend interface (usb.backend.IBackend), blocks as libusb does and fails with its error numbers. It is for errors and
their order; what a real stack does is asked in the guest.
"""

from __future__ import annotations

import errno
import math
import threading
import time
from array import array
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

import usb.backend
import usb.core

from transports.usb_interface import Endpoint, Setting

IN: Final = 0x81
OUT: Final = 0x02
PACKET_BYTES: Final = 512
WIRELET: Final = Setting(0, 0, (0xFF, 0x57, 0x01), 4, (Endpoint(IN, 2, PACKET_BYTES), Endpoint(OUT, 2, PACKET_BYTES)))
FIFO_BYTES: Final = 1 << 17
"""What the device takes before anybody reads it there."""
HEAR_S: Final = 10.0


def usb_error(number: int) -> usb.core.USBError:
    kind = usb.core.USBTimeoutError if number == errno.ETIMEDOUT else usb.core.USBError
    return kind(errno.errorcode[number], -1, number)


@dataclass(eq=False)
class FakeDevice:
    """The device's side. Its attributes may be changed while it is used."""

    settings: tuple[Setting, ...] = (WIRELET,)
    strings: dict[int, str] = field(default_factory=lambda: {4: "wirelet/1"})
    deaf_events: int = 0
    """How often libusb cannot say what has ended."""
    is_configured: bool = True
    kernel_drivers: set[int] = field(default_factory=set)
    """Interfaces that a kernel driver holds."""
    claimed: set[int] = field(default_factory=set)
    stalls: dict[int, int] = field(default_factory=dict)
    """Endpoint -> how often it stalls; each ends when its halt is cleared."""
    gone: int = 0
    """The error number of everything from now on."""
    log: list[str] = field(default_factory=list)
    """Requests other than transfers, in their order."""
    out_transfers: list[bytes] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    halted: set[int] = field(default_factory=set)
    begun: int = 0
    """How many transfers."""
    to_host: deque[bytes] = field(default_factory=deque)
    from_host: bytearray = field(default_factory=bytearray)

    def say(self, data: bytes, *, ends: bool = True) -> None:
        """In packets; ends: with an empty one if the last is full."""
        with self.changed:
            self.to_host += [data[at : at + PACKET_BYTES] for at in range(0, len(data), PACKET_BYTES)]
            if ends and len(data) % PACKET_BYTES == 0:
                self.to_host.append(b"")
            self.changed.notify_all()

    def hear(self) -> bytes:
        """What the host has sent, as soon as there is any."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.from_host, HEAR_S):
                raise TimeoutError("the host said nothing")
            heard = bytes(self.from_host)
            self.from_host.clear()
            self.changed.notify_all()
            return heard

    def await_said(self) -> None:
        """Until the host has taken all of it."""
        with self.changed:
            if not self.changed.wait_for(lambda: not self.to_host, HEAR_S):
                raise TimeoutError("the host does not read")

    def await_full(self) -> None:
        """Until it takes no more."""
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.from_host) >= FIFO_BYTES, HEAR_S):
                raise TimeoutError("the host sent too little")

    def unplug(self, number: int = errno.ENODEV) -> None:
        with self.changed:
            self.gone = number
            self.changed.notify_all()

    def stall(self, endpoint: int, times: int = 1) -> None:
        with self.changed:
            self.stalls[endpoint] = times
            self.changed.notify_all()


class FakeLibusb(usb.backend.IBackend):  # type: ignore[misc]  # pyusb has no types
    """One process's libusb with one device."""

    def __init__(self, device: FakeDevice) -> None:
        super().__init__()
        self._device = device
        self._mine: set[int] = set()
        self._transfers: list[FakeTransfer] = []
        self._is_woken = False

    def enumerate_devices(self) -> Any:
        return iter([self._device])

    def get_device_descriptor(self, dev: Any) -> Any:
        return _Descriptor(bDescriptorType=1, iManufacturer=1, iProduct=2, iSerialNumber=3, bNumConfigurations=1)

    def get_configuration_descriptor(self, dev: Any, config: int) -> Any:
        if config:
            raise IndexError
        return _Descriptor(bNumInterfaces=len({each.interface for each in self._device.settings}), bConfigurationValue=1)

    def get_interface_descriptor(self, dev: Any, intf: int, alt: int, config: int) -> Any:
        setting = self._settings(intf)[alt]
        kind, subclass, protocol = setting.triple
        return _Descriptor(
            bInterfaceNumber=setting.interface,
            bAlternateSetting=setting.alternate,
            bNumEndpoints=len(setting.endpoints),
            bInterfaceClass=kind,
            bInterfaceSubClass=subclass,
            bInterfaceProtocol=protocol,
            iInterface=setting.string_index,
        )

    def get_endpoint_descriptor(self, dev: Any, ep: int, intf: int, alt: int, config: int) -> Any:
        endpoint = self._settings(intf)[alt].endpoints[ep]
        return _Descriptor(bEndpointAddress=endpoint.address, bmAttributes=endpoint.attributes, wMaxPacketSize=endpoint.max_packet)

    def _settings(self, index: int) -> list[Setting]:
        numbers = sorted({each.interface for each in self._device.settings})
        return [each for each in self._device.settings if each.interface == numbers[index]]

    def open_device(self, dev: Any) -> FakeDevice:
        self._check()
        return self._device

    def close_device(self, dev_handle: Any) -> None:
        with self._device.changed:
            self._device.claimed -= self._mine
        self._device.log.append("close")

    def get_configuration(self, dev_handle: Any) -> int:
        return int(self._device.is_configured)

    def ctrl_transfer(self, dev_handle: Any, request_type: int, request: int, value: int, index: int, data: Any, timeout: int) -> int:
        self._check()
        number = value & 0xFF
        text = bytes([9, 4]) if number == 0 else self._device.strings.get(number, "").encode("utf-16-le")
        if not self._device.strings or (number and not text):
            raise usb_error(errno.EPIPE)
        answer = bytes([2 + len(text), 3]) + text
        data[: len(answer)] = array("B", answer)
        return len(answer)

    def set_interface_altsetting(self, dev_handle: Any, intf: int, altsetting: int) -> None:
        self._note(f"alternate {intf} {altsetting}")

    def claim_interface(self, dev_handle: Any, intf: int) -> None:
        self._note(f"claim {intf}")
        with self._device.changed:
            if intf in self._device.claimed | self._device.kernel_drivers:
                raise usb_error(errno.EBUSY)
            self._device.claimed.add(intf)
            self._mine.add(intf)

    def release_interface(self, dev_handle: Any, intf: int) -> None:
        self._note(f"release {intf}")
        with self._device.changed:
            self._device.claimed.discard(intf)
            self._mine.discard(intf)
            self._device.changed.notify_all()

    def is_kernel_driver_active(self, dev_handle: Any, intf: int) -> bool:
        return intf in self._device.kernel_drivers

    def detach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        self._note(f"detach {intf}")
        self._device.kernel_drivers.discard(intf)

    def attach_kernel_driver(self, dev_handle: Any, intf: int) -> None:
        self._note(f"attach {intf}")
        self._device.kernel_drivers.add(intf)

    def clear_halt(self, dev_handle: Any, ep: int) -> None:
        self._note(f"clear {ep:02x}")
        with self._device.changed:
            if any(each.endpoint == ep and not each.is_over for each in self._transfers):
                raise AssertionError("a halt was cleared under a transfer that waits")
            self._device.halted.discard(ep)

    # -- transfers, as transports.usb_backend has them

    def transfer(self, endpoint: int, timeout_ms: int) -> FakeTransfer:
        made = FakeTransfer(self._device, self._mine, endpoint, timeout_ms)
        self._transfers.append(made)
        return made

    def handle_events(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        with self._device.changed:
            if self._device.deaf_events:
                self._device.deaf_events -= 1
                raise usb_error(errno.EIO)
            while not (self._have_ended() or self._is_woken or time.monotonic() >= deadline):
                ends = [deadline, *(each.deadline for each in self._transfers if not each.is_over)]
                self._device.changed.wait(max(0.0, min(ends) - time.monotonic()))
            self._is_woken = False

    def wake(self) -> None:
        with self._device.changed:
            self._is_woken = True
            self._device.changed.notify_all()

    def _have_ended(self) -> bool:
        under_way = sorted((each for each in self._transfers if not each.is_over), key=lambda each: each.begun_as)
        moving: set[int] = set()
        for each in under_way:
            each.go_on(is_first=each.endpoint not in moving)
            if not each.is_over:
                moving.add(each.endpoint)
        return any(each.is_over for each in under_way)

    def _note(self, request: str) -> None:
        self._check()
        self._device.log.append(request)

    def _check(self) -> None:
        if self._device.gone:
            raise usb_error(self._device.gone)


class FakeTransfer:
    """As a host controller moves it: the first of its endpoint only, and none behind a halt."""

    def __init__(self, device: FakeDevice, claimed: set[int], endpoint: int, timeout_ms: int) -> None:
        self.endpoint = endpoint
        self.is_over = True
        self.count = 0
        self.error = 0
        self.deadline = math.inf
        self.begun_as = 0
        self._device = device
        self._claimed = claimed
        self._timeout_ms = timeout_ms
        self._buffer = array("B")
        self._length = 0
        self._is_cancelled = False

    def begin(self, buffer: array[int], length: int) -> None:
        device = self._device
        with device.changed:
            if device.gone:
                raise usb_error(device.gone)
            self.begun_as = device.begun = device.begun + 1
            self.deadline = time.monotonic() + self._timeout_ms / 1000 if self._timeout_ms else math.inf
            self._buffer, self._length = buffer, length
            self.count, self.error, self._is_cancelled, self.is_over = 0, 0, False, False

    def cancel(self) -> None:
        with self._device.changed:
            self._is_cancelled = True

    def go_on(self, *, is_first: bool) -> None:
        if self._device.gone or self._is_cancelled or not self._claimed:
            self._end(self._device.gone or errno.EIO)
        elif is_first and self.endpoint not in self._device.halted:
            if self._is_stalling():
                self._end(errno.EPIPE)
            elif self._read() if self.endpoint == IN else self._write():
                self._end(0)
        if not self.is_over and time.monotonic() >= self.deadline:
            self._end(errno.ETIMEDOUT)

    def _end(self, number: int) -> None:
        self.error = number
        self.is_over = True
        if self.endpoint == OUT and not number:
            self._device.out_transfers.append(bytes(self._buffer[: self._length]))

    def _is_stalling(self) -> bool:
        device = self._device
        if not device.stalls.get(self.endpoint, 0):
            return False
        device.stalls[self.endpoint] -= 1
        device.halted.add(self.endpoint)
        return True

    def _read(self) -> bool:
        """Fill the buffer until it is full or a packet is short."""
        device = self._device
        while device.to_host and self.count < self._length:
            packet = device.to_host.popleft()
            self._buffer[self.count : self.count + len(packet)] = array("B", packet)
            self.count += len(packet)
            device.changed.notify_all()
            if len(packet) < PACKET_BYTES:
                return True
        return self.count == self._length

    def _write(self) -> bool:
        device = self._device
        while self.count < self._length and len(device.from_host) < FIFO_BYTES:
            packet = bytes(self._buffer[self.count : min(self._length, self.count + PACKET_BYTES)])
            device.from_host += packet
            self.count += len(packet)
            device.changed.notify_all()
        return self.count == self._length


class _Descriptor:
    """Every field that pyusb copies, 0 where it was not given."""

    extra_descriptors: tuple[int, ...] = ()

    def __init__(self, **fields: int) -> None:
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> int:
        return 0

"""udev through pyudev: the only file that knows it. Blocks; every call is for a thread, and one at a time.

Events come through a socket with a bounded buffer. When it overflows the kernel says so once, and what was lost is found by a look. The
buffer is a limit, not memory that is taken.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyudev

from transports.discovery.facts import Kind, PortFacts, UdevRecord, facts_of
from transports.discovery.sysfs import usb_attributes

RECEIVE_BUFFER_BYTES: Final = 128 << 20
"""As udevd itself and systemd take it, where the rights allow."""
MAX_EVENTS: Final = 1000
"""Of one reading; the rest is the next one's, so that no storm of events keeps others from what is known."""
CONTROL: Final = Path("/run/udev/control")
"""There while udevd runs: without it nobody sends events, and no device is ever told to be settled."""
_SERIAL_TTYS: Final = "tty[A-Z]*"
"""Consoles have a number there."""
_GONE: Final = "remove"
_THERE: Final = ("add", "change", "bind", "online")


@dataclass(frozen=True, slots=True)
class Plugged:
    port: PortFacts


@dataclass(frozen=True, slots=True)
class Unplugged:
    key: str
    instance: int


@dataclass(frozen=True, slots=True)
class Heard:
    """What one reading brought."""

    events: list[Plugged | Unplugged]
    has_lost: bool
    """The buffer overflowed: there were more."""


class Udev:
    """One connection to udev. Raises OSError, or ImportError without libudev, when it is made."""

    def __init__(self, receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES) -> None:
        self.had_daemon = CONTROL.exists()
        """Udevd ran when this was made."""
        self._context = pyudev.Context()
        self._monitor = pyudev.Monitor.from_netlink(self._context)
        self._monitor.filter_by(Kind.TTY.value)
        self._monitor.filter_by(Kind.USB.value, "usb_device")
        self._socket = socket.socket(fileno=os.dup(self._monitor.fileno()))
        self._size(receive_buffer_bytes)
        self._monitor.start()

    def fileno(self) -> int:
        """Readable when there is something to hear, or something was lost."""
        return self._socket.fileno()

    def hear(self) -> Heard:
        """The events that wait; does not wait for any."""
        events: list[Plugged | Unplugged] = []
        has_lost = self._lost()
        for _ in range(MAX_EVENTS):
            try:
                device = self._monitor.poll(timeout=0)
            except OSError:  # pyudev's word for an overflow while it reads; the socket knows which error it was
                has_lost = self._lost() or has_lost
                continue
            if device is None:
                break
            event = _event(device)
            if event is not None:
                events.append(event)
        return Heard(events, has_lost)

    def look(self) -> list[PortFacts]:
        """All ports that are there and settled: udev's rules have run for them."""
        return [port for device in self._devices() if (port := _port(device)) is not None]

    def close(self) -> None:
        self._socket.close()

    def _devices(self) -> Iterator[Any]:
        must_be_settled = CONTROL.exists()
        ttys = self._context.list_devices(subsystem=Kind.TTY.value, sys_name=_SERIAL_TTYS)
        whole = self._context.list_devices(subsystem=Kind.USB.value, DEVTYPE="usb_device")
        for devices in (ttys, whole):
            for device in devices:
                if device.is_initialized or not must_be_settled:
                    yield device

    def _lost(self) -> bool:
        """Reading the error takes it off the socket."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ENOBUFS

    def _size(self, wanted_bytes: int) -> None:
        """As much as the rights allow: above the system's limit it takes CAP_NET_ADMIN."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted_bytes)
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < wanted_bytes:
            with suppress(OSError):
                self._monitor.set_receive_buffer_size(wanted_bytes)


def _event(device: Any) -> Plugged | Unplugged | None:
    if device.action == _GONE:
        usec = device.properties.get("USEC_INITIALIZED", "")
        return Unplugged(device.device_path, int(usec) if usec.isascii() and usec.isdigit() else 0)
    if device.action not in _THERE:
        return None
    port = _port(device)
    return None if port is None else Plugged(port)


def _port(device: Any) -> PortFacts | None:
    properties = _properties(device)
    attributes: dict[str, str] = {}
    if device.subsystem == Kind.TTY.value:
        attributes |= _attributes(device, ("type", "console"))
        adapter = device.find_parent("usb-serial")
        if adapter is not None:
            attributes |= _attributes(adapter, ("port_number",))
    if "ID_VENDOR_ID" not in properties:  # the rules did not run here: the kernel's files, with their locks
        interface = device.find_parent(Kind.USB.value, "usb_interface")
        if interface is not None and interface.driver is not None:
            attributes["driver"] = interface.driver
        whole = device if device.subsystem == Kind.USB.value else device.find_parent(Kind.USB.value, "usb_device")
        if whole is not None:
            attributes |= usb_attributes(Path(whole.sys_path))
    return facts_of(UdevRecord(device.device_path, device.subsystem or "", device.device_node or "", properties, attributes))


def _properties(device: Any) -> dict[str, str]:
    """Without those that are no UTF-8: a rule of somebody's may have written them."""
    found = {}
    for name in device.properties:
        with suppress(UnicodeDecodeError):
            found[name] = device.properties[name]
    return found


def _attributes(device: Any, names: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in names:
        with suppress(KeyError, UnicodeDecodeError):
            found[name] = device.attributes.asstring(name)
    return found

"""What names a port across unplug, reset and a restart of the machine: the ladder. Pure.

1. A real USB serial number, with the interface of a chip that has several: it goes wherever the adapter goes.
2. The place: host controller, hub ports, interface, port of the chip. It stays when another board is plugged in there.
3. The hardware address of an on-board UART.

What a board says of itself in HELLO is the rung above all of them, but only whoever speaks its protocol can climb it. The name of a node
is on no rung: the same board is /dev/ttyUSB0 today and /dev/ttyUSB1 tomorrow.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from transports.discovery.facts import PortFacts


class Rung(enum.Enum):
    SERIAL = "serial"
    PLACE = "place"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class PortIdentity:
    """text is for people and for comparing: the same port has the same."""

    rung: Rung
    text: str


def identity_of(port: PortFacts) -> PortIdentity:
    """The highest rung that the port reaches by itself. Two ports may share one: `match.rule_for` looks at all there are."""
    if port.hub_port is None:
        return PortIdentity(Rung.PLATFORM, _with_port(port.platform or port.id_path or port.key, port))
    interface = f" interface {port.interface}" if port.interface is not None else ""
    if port.real_serial is not None:
        return PortIdentity(Rung.SERIAL, _with_port(f"{port.vid_pid or 'USB'} {port.real_serial}{interface}", port))
    return PortIdentity(Rung.PLACE, _with_port(f"port {place_of(port) or port.hub_port}{interface}", port))


def place_of(port: PortFacts) -> str | None:
    """udev's name of the USB port, without the interface: pci-0000:00:14.0-usb-0:1.3. It holds where bus numbers change at a boot."""
    if port.id_path is None or port.hub_port is None:
        return None
    if port.interface is None:
        return port.id_path
    head, colon, last = port.id_path.rpartition(":")
    configuration, dot, interface = last.partition(".")
    is_interface = bool(colon and dot) and configuration.isdigit() and interface.isdigit()
    return head if is_interface else port.id_path


def describe(port: PortFacts) -> str:
    """One port for a person, without the node's name."""
    if port.hub_port is None:
        console = ", the kernel's console" * port.is_console
        return f"{_with_port(f'UART {port.platform or port.id_path}', port)}{console}"
    words = [port.vid_pid or "unknown USB device"]
    if port.product:
        words.append(port.product)
    words.append(f"with serial {port.real_serial}" if port.real_serial is not None else "without a serial number")
    words.append(f"at port {port.hub_port}")
    if port.interface:
        words.append(f"interface {port.interface}")
    return _with_port(" ".join(words), port)


def _with_port(text: str, port: PortFacts) -> str:
    return text if port.port_number is None else f"{text} port {port.port_number}"

"""What is known of one port of this machine: a tty or a whole USB device, as udev and the kernel tell it. Pure.

It refuses to open, to guess and to remember: a port that is plugged in elsewhere is another port. The node's name (`/dev/ttyUSB0`) is how
to open it now and nothing else: it is no identity and stands in no text for others.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from transports.discovery.serials import is_fake_serial

MAX_TEXT: Final = 126
"""Characters of a USB string descriptor; what is longer is not from a device."""

_DEVICES: Final = "/devices/"
_HUB_PORT: Final = re.compile(r"\d+-\d+(?:\.\d+)*")
_INTERFACE: Final = re.compile(r"(?P<device>\d+-\d+(?:\.\d+)*):\d+\.(?P<number>\d+)")
_HEX4: Final = re.compile(r"[0-9a-fA-F]{4}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BULK_INTERFACE: Final = ":ff5701:"
"""SPEC.md 10.2, in udev's words."""
_NO_UART: Final = "0"
"""The `type` of a serial port that a PC's tables promise and the board does not have."""


class Kind(enum.Enum):
    """The subsystem, in udev's words."""

    TTY = "tty"
    USB = "usb"


@dataclass(frozen=True, slots=True)
class UdevRecord:
    """One device as a shell read it. attributes are sysfs files of it or of its parents, by what they say: see `facts_of`."""

    path: str
    """Below /sys: `/devices/...`."""
    subsystem: str
    node: str
    properties: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PortFacts:
    """One port. What nobody tells is None."""

    key: str
    """The path below /sys: names the port for as long as it is there, and perhaps another one after it."""
    kind: Kind
    node: str
    instance: int = 0
    """Differs when something was plugged in anew at the same key; 0 where udev does not say."""
    vid: str | None = None
    """Four hexadecimal digits in lower case, as pid."""
    pid: str | None = None
    serial: str | None = None
    """As the chip says it, which may be what every such chip says."""
    hub_port: str | None = None
    """Bus and hub ports: 1-1.3."""
    interface: int | None = None
    port_number: int | None = None
    """Of a chip with several ports on one interface, from 0."""
    id_path: str | None = None
    """udev's name of the place, which begins at the host controller: pci-0000:00:14.0-usb-0:1.3:1.0."""
    platform: str | None = None
    """The hardware of an on-board UART: platform/soc/fe201000.serial."""
    is_console: bool = False
    """The kernel writes its own messages there."""
    driver: str | None = None
    has_bulk_interface: bool = False
    """A whole USB device with Wirelet's own interface, as far as udev tells; transports/usb_interface.py looks closer."""
    manufacturer: str | None = None
    product: str | None = None

    @property
    def real_serial(self) -> str | None:
        """The serial number, if it tells this unit from others."""
        return None if is_fake_serial(self.serial or "") else self.serial

    @property
    def vid_pid(self) -> str | None:
        return None if self.vid is None or self.pid is None else f"{self.vid}:{self.pid}"


def facts_of(record: UdevRecord) -> PortFacts | None:
    """What the record says of a port; None when it is none: a console, a hub's interface, a UART that is not there.

    Properties win over attributes: udev's rules may mend what a chip says, and no lock of the USB device stands before them. Attributes
    are `vid`, `pid`, `serial`, `manufacturer`, `product`, `driver`, `port_number`, `type` and `console`.
    """
    if record.subsystem == Kind.USB.value:
        return _usb_device(record)
    if record.subsystem != Kind.TTY.value or not record.node or not record.path.startswith(_DEVICES):
        return None
    segments = record.path.split("/")
    if "virtual" in segments or record.attributes.get("type") == _NO_UART:
        return None
    hub_port = _hub_port(segments)
    if hub_port is None:
        hardware, number = _hardware(segments)
        return PortFacts(
            record.path,
            Kind.TTY,
            record.node,
            _instance(record),
            port_number=number,
            id_path=record.properties.get("ID_PATH"),
            platform=hardware,
            is_console=record.attributes.get("console") == "Y",
            driver=record.attributes.get("driver"),
        )
    return _of_usb(record, Kind.TTY, hub_port)


def _usb_device(record: UdevRecord) -> PortFacts | None:
    """A whole USB device, but no hub: nobody's workload runs on one."""
    hub_port = record.path.rpartition("/")[2]
    if not _HUB_PORT.fullmatch(hub_port) or record.properties.get("DEVTYPE", "usb_device") != "usb_device":
        return None
    if record.properties.get("TYPE", "").startswith("9/"):
        return None
    return _of_usb(record, Kind.USB, hub_port)


def _of_usb(record: UdevRecord, kind: Kind, hub_port: str) -> PortFacts:
    properties, attributes = record.properties, record.attributes
    is_told = kind is Kind.USB or properties.get("ID_BUS") == "usb"  # else the vendor is that of a PCI card between

    def told(name: str, attribute: str) -> str | None:
        return _text((properties.get(name) if is_told else None) or attributes.get(attribute))

    return PortFacts(
        record.path,
        kind,
        record.node,
        _instance(record),
        vid=_hex4(told("ID_VENDOR_ID", "vid")),
        pid=_hex4(told("ID_MODEL_ID", "pid")),
        serial=told("ID_USB_SERIAL_SHORT", "serial") or told("ID_SERIAL_SHORT", "serial"),
        hub_port=hub_port,
        interface=_interface(record.path, hub_port) if kind is Kind.TTY else None,
        port_number=_number(attributes.get("port_number")),
        id_path=_text(properties.get("ID_PATH")),
        driver=told("ID_USB_DRIVER", "driver"),
        has_bulk_interface=kind is Kind.USB and _BULK_INTERFACE in properties.get("ID_USB_INTERFACES", ""),
        manufacturer=_words(told("ID_VENDOR", "manufacturer")),
        product=_words(told("ID_MODEL", "product")),
    )


def _hub_port(segments: list[str]) -> str | None:
    """The innermost USB device in a path."""
    return next((segment for segment in reversed(segments) if _HUB_PORT.fullmatch(segment)), None)


def _interface(path: str, hub_port: str) -> int | None:
    for segment in reversed(path.split("/")):
        found = _INTERFACE.fullmatch(segment)
        if found and found["device"] == hub_port:
            return int(found["number"])
    return None


def _hardware(segments: list[str]) -> tuple[str, int | None]:
    """Where an on-board UART is, and which port of it. Since Linux 6.5 two levels of the serial core stand between: `X:0` and `X:0.1`."""
    inner = segments[2:-2]  # behind /devices, before tty/NAME
    number = None
    if len(inner) >= 3 and re.fullmatch(rf"{re.escape(inner[-2])}\.\d+", inner[-1]) and inner[-2].startswith(f"{inner[-3]}:"):
        number = int(inner[-1].rpartition(".")[2])
        inner = inner[:-2]
    return "/".join(inner), number


def _instance(record: UdevRecord) -> int:
    return _number(record.properties.get("USEC_INITIALIZED")) or 0


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _hex4(text: str | None) -> str | None:
    return text.lower() if text is not None and _HEX4.fullmatch(text) else None


def _text(text: str | None) -> str | None:
    """Whatever a chip says, on one line and bounded."""
    cleaned = _CONTROL.sub(" ", text or "").strip()[:MAX_TEXT]
    return cleaned or None


def _words(text: str | None) -> str | None:
    """udev writes a space as _."""
    return None if text is None else text.replace("_", " ")

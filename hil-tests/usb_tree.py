"""USB devices, their ttys and on-board UARTs as umockdev records: what the kernel says of them in sysfs, and nothing that udev adds.

A device hangs below a PCI host and a root hub, without which udev's path_id has nothing to say. Paths, names and attributes are those of
real boards. Pure text; hil-tests/umockdev.py makes programs see it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

HOST: Final = "/devices/pci0000:00/0000:00:14.0"
ROOT_HUB: Final = f"{HOST}/usb1"
USB_MAJOR: Final = 189
TTY_MAJORS: Final = {"ttyUSB": 188, "ttyACM": 166, "ttyAMA": 204, "ttyS": 4}
_ENDPOINTS: Final = bytes.fromhex("07058102400000 07050202400000")
"""Bulk IN 1 and bulk OUT 2. usb_id overlooks an interface that nothing follows."""

Properties = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface of a USB device: class, subclass, protocol; the driver bound to it and the ttys it has."""

    triple: tuple[int, int, int]
    driver: str = ""
    ttys: tuple[str, ...] = ()
    """Kernel names. Several on one interface are the ports of one chip, told apart by port_number only."""


@dataclass(frozen=True, slots=True)
class UsbDevice:
    """A device as it enumerates. The same board plugged in again has another devnum, and mostly other tty names."""

    vendor: int
    product: int
    interfaces: tuple[Interface, ...]
    manufacturer: str = ""
    product_name: str = ""
    serial: str | None = None
    port: str = "2"
    """Where it hangs below the root hub: `2`, or `2.3` behind a hub."""
    devnum: int = 5

    def moved(self, *, port: str | None = None, devnum: int | None = None, ttys: Sequence[str] | None = None) -> UsbDevice:
        """The same board elsewhere: in another port, enumerated again, with other tty names (one for each that it has)."""
        interfaces = self.interfaces
        if ttys is not None:
            names = iter(ttys)
            interfaces = tuple(replace(each, ttys=tuple(next(names) for _ in each.ttys)) for each in interfaces)
        return replace(self, interfaces=interfaces, port=port or self.port, devnum=devnum or self.devnum)

    @property
    def path(self) -> str:
        hubs = self.port.split(".")[:-1]
        below = "".join(f"/1-{'.'.join(hubs[: depth + 1])}" for depth in range(len(hubs)))
        return f"{ROOT_HUB}{below}/1-{self.port}"

    @property
    def syspath(self) -> str:
        return f"/sys{self.path}"

    @property
    def node(self) -> str:
        return f"bus/usb/001/{self.devnum:03}"

    @property
    def paths(self) -> list[str]:
        """Device paths of all its parts, parents first: the order of `add`; `remove` goes backwards."""
        return [record.path for record in self.records()]

    @property
    def tty_syspaths(self) -> dict[str, str]:
        return {record.path.rsplit("/", 1)[1]: f"/sys{record.path}" for record in self.records() if record.subsystem == "tty"}

    def records(self) -> list[Record]:
        found = [self._device()]
        for number, interface in enumerate(self.interfaces):
            found.append(self._interface(number, interface))
            for port_number, tty in enumerate(interface.ttys):
                found += self._tty(found[0].path, number, interface, port_number, tty)
        return found

    def _device(self) -> Record:
        strings = {"manufacturer": self.manufacturer, "product": self.product_name, "serial": self.serial or ""}
        return Record(
            self.path,
            "usb",
            properties={
                "DEVTYPE": "usb_device",
                "DEVNAME": f"/dev/{self.node}",
                "MAJOR": str(USB_MAJOR),
                "MINOR": str(self.devnum - 1),
                "BUSNUM": "001",
                "DEVNUM": f"{self.devnum:03}",
                "DRIVER": "usb",
                "PRODUCT": f"{self.vendor:x}/{self.product:x}/100",
                "TYPE": "0/0/0",
            },
            attributes={
                "idVendor": f"{self.vendor:04x}",
                "idProduct": f"{self.product:04x}",
                "bcdDevice": "0100",
                "busnum": "1",
                "devnum": str(self.devnum),
                "devpath": self.port,
                "speed": "12",
                **{name: text for name, text in strings.items() if text},
            },
            binaries={"descriptors": descriptors(self.vendor, self.product, self.interfaces)},
            node=self.node,
        )

    def _interface(self, number: int, interface: Interface) -> Record:
        a, b, c = interface.triple
        driver = {"DRIVER": interface.driver} if interface.driver else {}
        return Record(
            f"{self.path}/1-{self.port}:1.{number}",
            "usb",
            properties={
                "DEVTYPE": "usb_interface",
                "PRODUCT": f"{self.vendor:x}/{self.product:x}/100",
                "TYPE": "0/0/0",
                "INTERFACE": f"{a}/{b}/{c}",
                "MODALIAS": f"usb:v{self.vendor:04X}p{self.product:04X}d0100dc00dsc00dp00ic{a:02X}isc{b:02X}ip{c:02X}in{number:02X}",
                **driver,
            },
            attributes={
                "bInterfaceNumber": f"{number:02}",
                "bInterfaceClass": f"{a:02x}",
                "bInterfaceSubClass": f"{b:02x}",
                "bInterfaceProtocol": f"{c:02x}",
            },
            links={"driver": f"bus/usb/drivers/{interface.driver}"} if interface.driver else {},
        )

    def _tty(self, device: str, number: int, interface: Interface, port_number: int, tty: str) -> Iterable[Record]:
        holder = f"{device}/1-{self.port}:1.{number}"
        if not tty.startswith("ttyACM"):
            holder = f"{holder}/{tty}"
            latency = {"latency_timer": "16"} if interface.driver == "ftdi_sio" else {}
            yield Record(
                holder,
                "usb-serial",
                properties={"DRIVER": interface.driver},
                attributes={"port_number": str(port_number), **latency},
                links={"driver": f"bus/usb-serial/drivers/{interface.driver}"},
            )
        yield _tty_record(holder, tty)


@dataclass(frozen=True, slots=True)
class Uart:
    """An on-board UART of a Raspberry Pi or alike: no USB and no PCI above it, only the platform or the AMBA bus."""

    tty: str = "ttyAMA0"
    address: str = "fe201000"
    bus: str = "amba"
    driver: str = "uart-pl011"
    type: str = "32"
    """The kernel's number for the kind of UART; 0 is none."""
    is_console: bool = False

    @property
    def path(self) -> str:
        return f"/devices/platform/soc/{self.address}.serial"

    @property
    def tty_syspaths(self) -> dict[str, str]:
        return {self.tty: f"/sys{self.path}/tty/{self.tty}"}

    def records(self) -> list[Record]:
        port = {"type": self.type, "line": "0", "console": "Y" if self.is_console else "N"}
        return [
            Record("/devices/platform/soc", "platform", properties={"DRIVER": "simple-pm-bus", "OF_NAME": "soc"}),
            Record(self.path, self.bus, properties={"DRIVER": self.driver}, links={"driver": f"bus/{self.bus}/drivers/{self.driver}"}),
            _tty_record(self.path, self.tty, port),
        ]


@dataclass(frozen=True, slots=True)
class Record:
    """One device of a .umockdev file."""

    path: str
    subsystem: str
    properties: Properties = field(default_factory=dict)
    attributes: Properties = field(default_factory=dict)
    binaries: Mapping[str, bytes] = field(default_factory=dict)
    links: Properties = field(default_factory=dict)
    """Target from /sys without a slash in front, or from the device itself where it begins with a dot."""
    node: str = ""

    def text(self, more: Properties | None = None) -> str:
        """As umockdev reads it, with more properties if given: those that udev has found out, for programs that ask udev."""
        up = "../" * (self.path.count("/"))
        lines = [
            f"P: {self.path}",
            *([f"N: {self.node}"] if self.node else []),
            *(f"E: {key}={value}" for key, value in {**self.properties, **(more or {}), "SUBSYSTEM": self.subsystem}.items()),
            *(f"A: {key}={value}" for key, value in self.attributes.items()),
            *(f"H: {key}={value.hex().upper()}" for key, value in self.binaries.items()),
            *(f"L: {key}={value if value.startswith('.') else up + value}" for key, value in self.links.items()),
        ]
        return "\n".join([*lines, "", ""])


def host() -> list[Record]:
    """The PCI host controller and its root hub, without which no device can be added."""
    hub = Interface((9, 0, 0), "hub")
    return [
        Record(
            HOST,
            "pci",
            properties={"DRIVER": "xhci_hcd", "PCI_CLASS": "C0330", "PCI_ID": "8086:A36D", "PCI_SLOT_NAME": HOST.rsplit("/", 1)[1]},
            attributes={"vendor": "0x8086", "device": "0xa36d"},
        ),
        Record(
            ROOT_HUB,
            "usb",
            properties={
                "DEVTYPE": "usb_device",
                "DEVNAME": "/dev/bus/usb/001/001",
                "MAJOR": str(USB_MAJOR),
                "MINOR": "0",
                "BUSNUM": "001",
                "DEVNUM": "001",
                "DRIVER": "usb",
                "PRODUCT": "1d6b/2/601",
                "TYPE": "9/0/1",
            },
            attributes={"idVendor": "1d6b", "idProduct": "0002", "bcdDevice": "0601", "busnum": "1", "devnum": "1", "speed": "480"},
            binaries={"descriptors": descriptors(0x1D6B, 0x0002, (hub,))},
            node="bus/usb/001/001",
        ),
    ]


def text(records: Iterable[Record], more: Mapping[str, Properties] | None = None) -> str:
    """Records as one .umockdev text. more has further properties by device path."""
    return "".join(record.text((more or {}).get(record.path)) for record in records)


def descriptors(vendor: int, product: int, interfaces: Sequence[Interface]) -> bytes:
    """Device, configuration, interface and endpoint descriptors, as sysfs has them in one file."""
    device = struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0, 0, 0, 64, vendor, product, 0x0100, 1, 2, 3, 1)
    body = b"".join(
        struct.pack("<9B", 9, 4, number, 0, 2, *interface.triple, 0) + _ENDPOINTS for number, interface in enumerate(interfaces)
    )
    return device + struct.pack("<BBHBBBBB", 9, 2, 9 + len(body), len(interfaces), 1, 0, 0x80, 50) + body


def _tty_record(holder: str, tty: str, attributes: Properties | None = None) -> Record:
    name = tty.rstrip("0123456789")
    return Record(
        f"{holder}/tty/{tty}",
        "tty",
        properties={
            "DEVNAME": f"/dev/{tty}",
            "MAJOR": str(TTY_MAJORS[name]),
            "MINOR": str(int(tty[len(name) :] or 0) + 64 * (name == "ttyAMA")),
        },
        attributes=attributes or {},
        links={"device": f"../../../{holder.rsplit('/', 1)[1]}"},
        node=tty,
    )

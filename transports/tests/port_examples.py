"""Ports as udev tells them, from real boards: what a test of discovery plugs in."""

from __future__ import annotations

from typing import Final

from transports.discovery.facts import PortFacts, UdevRecord, facts_of

HOST: Final = "/devices/pci0000:00/0000:00:14.0/usb1"
HOST_ID_PATH: Final = "pci-0000:00:14.0-usb-0"


def usb_serial_record(
    name: str = "ttyUSB0",
    hub_port: str = "1-1.3",
    *,
    vid_pid: str = "0403:6001",
    serial: str | None = "A5069RR4",
    interface: int = 0,
    port_number: int = 0,
    usec: int = 1000,
    product: str = "FT232R_USB_UART",
    driver: str = "ftdi_sio",
) -> UdevRecord:
    """An adapter with the kernel's usb-serial drivers: one level more in sysfs than cdc_acm."""
    hubs = hub_port.partition("-")[2].split(".")
    chain = "/".join(f"1-{'.'.join(hubs[: depth + 1])}" for depth in range(len(hubs)))
    vid, _, pid = vid_pid.partition(":")
    properties = {
        "ID_BUS": "usb",
        "ID_VENDOR_ID": vid,
        "ID_MODEL_ID": pid,
        "ID_MODEL": product,
        "ID_USB_DRIVER": driver,
        "ID_USB_INTERFACE_NUM": f"{interface:02x}",
        "ID_PATH": f"{HOST_ID_PATH}:{'.'.join(hubs)}:1.{interface}",
        "USEC_INITIALIZED": str(usec),
    }
    if serial is not None:
        properties["ID_SERIAL_SHORT"] = serial
    is_acm = driver == "cdc_acm"
    inner = f"{hub_port}:1.{interface}" + ("" if is_acm else f"/{name}")
    attributes = {} if is_acm else {"port_number": str(port_number)}
    return UdevRecord(f"{HOST}/{chain}/{inner}/tty/{name}", "tty", f"/dev/{name}", properties, attributes)


def adapter(name: str = "ttyUSB0", hub_port: str = "1-1.3", **changes: object) -> PortFacts:
    port = facts_of(usb_serial_record(name, hub_port, **changes))  # type: ignore[arg-type]  # the keywords of a record
    assert port is not None
    return port


def uart(path: str = "platform/soc/fe201000.serial", name: str = "ttyAMA0") -> PortFacts:
    port = facts_of(
        UdevRecord(f"/devices/{path}/tty/{name}", "tty", f"/dev/{name}", {"ID_PATH": "platform-fe201000.serial"}, {"type": "32"})
    )
    assert port is not None
    return port


def bulk_board(hub_port: str = "1-1.5", serial: str = "240ac4123456", interfaces: str = ":ff5701:") -> PortFacts:
    """A board that is a USB device itself."""
    chain = f"{HOST}/{hub_port.partition('.')[0]}/{hub_port}"
    properties = {
        "DEVTYPE": "usb_device",
        "ID_VENDOR_ID": "303a",
        "ID_MODEL_ID": "4001",
        "ID_MODEL": "Native_board",
        "ID_SERIAL_SHORT": serial,
        "ID_USB_INTERFACES": interfaces,
    }
    port = facts_of(UdevRecord(chain, "usb", "/dev/bus/usb/001/007", properties))
    assert port is not None
    return port

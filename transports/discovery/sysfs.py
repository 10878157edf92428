"""A port as the kernel's own files tell it, without udev: what an open tty is, and all ports there are. Blocks; for a thread.

Reading a USB device's serial number waits for the device's lock, which a driver that hangs may hold for half a minute.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from transports.discovery.facts import Kind, PortFacts, UdevRecord, facts_of

MAX_FILE_BYTES: Final = 4096
"""A sysfs file is a page at most."""
_HUB_CLASS: Final = "09"
_DEVICE_FILES: Final = {"vid": "idVendor", "pid": "idProduct", "serial": "serial", "manufacturer": "manufacturer", "product": "product"}


def port_of_device(number: int, sys: Path = Path("/sys")) -> PortFacts | None:
    """What the character device with that st_rdev is; None for what is no port, such as a pty."""
    with suppress(OSError):
        return _port((sys / "dev/char" / f"{os.major(number)}:{os.minor(number)}").resolve(strict=True), sys)
    return None


def all_ports() -> list[PortFacts]:
    """Every tty that is a port, and every USB device that is no hub."""
    return [*ttys_of(Path("/sys")), *usb_devices_of(Path("/sys"))]


def ttys_of(sys: Path) -> list[PortFacts]:
    """The same of a sysfs that is mounted elsewhere."""
    found = []
    for name in _names(sys / "class/tty"):
        with suppress(OSError):  # unplugged while it was looked at
            port = _port((sys / "class/tty" / name).resolve(strict=True), sys)
            if port is not None:
                found.append(port)
    return found


def usb_devices_of(sys: Path) -> list[PortFacts]:
    """USB devices of a sysfs that is mounted elsewhere."""
    found = []
    for name in _entries(sys / "bus/usb/devices"):
        with suppress(OSError, ValueError):  # unplugged while it was looked at
            device = (sys / "bus/usb/devices" / name).resolve(strict=True)
            if (device / "bInterfaceNumber").exists() or _read(device / "bDeviceClass") == _HUB_CLASS:
                continue
            node = f"/dev/bus/usb/{int(_read(device / 'busnum') or ''):03}/{int(_read(device / 'devnum') or ''):03}"
            port = facts_of(UdevRecord(f"/{device.relative_to(sys.resolve())}", Kind.USB.value, node, {}, usb_attributes(device)))
            if port is not None:
                found.append(port)
    return found


def usb_attributes(device: Path) -> dict[str, str]:
    """The files of the folder of a USB device, by the names of facts.UdevRecord."""
    return {name: text for name, file in _DEVICE_FILES.items() if (text := _read(device / file)) is not None}


def _port(folder: Path, sys: Path) -> PortFacts | None:
    path = f"/{folder.relative_to(sys.resolve())}"
    attributes = {name: text for name in ("type", "console") if (text := _read(folder / name)) is not None}
    above = list(_above(folder, sys))
    for parent in above:
        if "driver" not in attributes and (parent / "bInterfaceNumber").exists():
            attributes["driver"] = os.path.basename(os.path.realpath(parent / "driver"))
        if "port_number" not in attributes and (number := _read(parent / "port_number")) is not None:
            attributes["port_number"] = number
        if (parent / "idVendor").exists():
            attributes |= usb_attributes(parent)
            break
    return facts_of(UdevRecord(path, Kind.TTY.value, f"/dev/{folder.name}", {}, attributes))


def _above(folder: Path, sys: Path) -> Iterator[Path]:
    for parent in folder.parents:
        if parent == sys or parent == sys / "devices":
            return
        yield parent


def _names(folder: Path) -> list[str]:
    """Consoles have numbers behind `tty`, ports have letters."""
    return [name for name in _entries(folder) if name.startswith("tty") and name[3:4].isalpha()]


def _entries(folder: Path) -> list[str]:
    with suppress(OSError):
        return sorted(os.listdir(folder))
    return []


def _read(file: Path) -> str | None:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_FILE_BYTES).decode(errors="replace").strip()
    except OSError:
        return None

"""How the hubs above boards switch the power of their ports: uhubctl cycles one board alone only where the hub can. Root may ask a hub.

A hub says it in a descriptor that sysfs does not show; it is asked for by usbfs, which changes nothing.
"""

from __future__ import annotations

import ctypes
import enum
import fcntl
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.doctor.finding import Finding

BY_HUB: Final = "uhubctl"
_HUB_CLASS: Final = "09"
_SUPER_SPEED: Final = "03"
"""bDeviceProtocol of the half of a hub that is USB 3."""
_FROM_DEVICE_BY_CLASS: Final = 0xA0
_GET_DESCRIPTOR: Final = 6
_DESCRIPTOR, _DESCRIPTOR_OF_USB3 = 0x29, 0x2A
_CHARACTERISTICS_AT: Final = 3
_SWITCHING_BITS: Final = 0b11
MAX_DESCRIPTOR_BYTES: Final = 71
"""With 255 ports."""
DEADLINE_MS: Final = 1000


class Switching(enum.Enum):
    """USB 2.0, table 11-13."""

    GANGED = "switches the power of all its ports together"
    INDIVIDUAL = "switches the power of each port"
    NONE = "cannot switch the power of its ports"


@dataclass(frozen=True, slots=True)
class Hub:
    """name as uhubctl has it after -l: 1-2.4"""

    name: str
    switching: Switching


def switching_of(descriptor: bytes) -> Switching:
    """Raises ValueError for what is no descriptor of a hub."""
    if len(descriptor) <= _CHARACTERISTICS_AT or descriptor[1] not in (_DESCRIPTOR, _DESCRIPTOR_OF_USB3):
        raise ValueError(f"no hub descriptor: {descriptor.hex()}")
    match descriptor[_CHARACTERISTICS_AT] & _SWITCHING_BITS:
        case 0b00:
            return Switching.GANGED
        case 0b01:
            return Switching.INDIVIDUAL
        case _:
            return Switching.NONE


def of_hubs(hubs: Mapping[str, Hub], cycled: Collection[str]) -> Iterator[Finding]:
    """hubs: the hub that each device hangs on. cycled: the devices whose power is cycled by uhubctl. Pure."""
    on_hub = defaultdict(list)
    for device, hub in hubs.items():
        on_hub[hub.name].append(device)
    for device in cycled:
        found = hubs.get(device)
        if found is None or found.switching is Switching.INDIVIDUAL:
            continue
        others = [other for other in on_hub[found.name] if other != device]
        hit = f", those of {', '.join(others)} too" if others and found.switching is Switching.GANGED else ""
        problem = f"its power hook has {BY_HUB}, but USB hub {found.name} {found.switching.value}{hit}"
        yield Finding(device, problem, f"use a hub that `{BY_HUB}` lists with ppps, or a relay as hook", reason="GangedPower")


def hubs_of(nodes: Mapping[str, str], sys: Path) -> dict[str, Hub]:
    """By device, as far as this user may ask. nodes: device -> its node in /dev. Blocks."""
    found = {}
    for device, node in nodes.items():
        with suppress(OSError, ValueError):  # no USB device, unplugged, or no right to ask
            number = os.stat(node).st_rdev
            folder = _hub_above((sys / "dev/char" / f"{os.major(number)}:{os.minor(number)}").resolve(strict=True))
            if folder is not None:
                found[device] = Hub(folder.name, switching_of(_descriptor(folder)))
    return found


def _hub_above(folder: Path) -> Path | None:
    """Of the USB device that folder is, or is a part of."""
    devices = [each for each in (folder, *folder.parents) if (each / "idVendor").exists()]
    hub = devices[1] if len(devices) > 1 else None
    return hub if hub is not None and _text(hub / "bDeviceClass") == _HUB_CLASS else None


class _ControlTransfer(ctypes.Structure):
    """struct usbdevfs_ctrltransfer"""

    _fields_ = (
        ("request_type", ctypes.c_uint8),
        ("request", ctypes.c_uint8),
        ("value", ctypes.c_uint16),
        ("index", ctypes.c_uint16),
        ("length", ctypes.c_uint16),
        ("timeout_ms", ctypes.c_uint32),
        ("data", ctypes.c_void_p),
    )


_USBDEVFS_CONTROL: Final = 0xC0000000 | ctypes.sizeof(_ControlTransfer) << 16 | ord("U") << 8


def _descriptor(hub: Path) -> bytes:
    kind = _DESCRIPTOR_OF_USB3 if _text(hub / "bDeviceProtocol") == _SUPER_SPEED else _DESCRIPTOR
    answer = ctypes.create_string_buffer(MAX_DESCRIPTOR_BYTES)
    ask = _ControlTransfer(
        _FROM_DEVICE_BY_CLASS, _GET_DESCRIPTOR, kind << 8, 0, MAX_DESCRIPTOR_BYTES, DEADLINE_MS, ctypes.addressof(answer)
    )
    node = f"/dev/bus/usb/{int(_text(hub / 'busnum')):03}/{int(_text(hub / 'devnum')):03}"
    descriptor = os.open(node, os.O_RDWR | os.O_CLOEXEC)
    try:
        count = fcntl.ioctl(descriptor, _USBDEVFS_CONTROL, ask)
    finally:
        os.close(descriptor)
    return answer.raw[:count]


def _text(file: Path) -> str:
    return file.read_text().strip()

"""Tells of devices as udevd does: messages of libudev's own format, on the real netlink socket of this network namespace.

For programs that listen to udev, in a namespace of their own (`unshare --net --mount`): only root may send, and whoever listens in the
machine's own namespace would take them for true. The devices need not exist. The format is src/libsystemd/sd-device/device-monitor.c.
"""

from __future__ import annotations

import itertools
import socket
import struct
from types import TracebackType
from typing import Final, Self

NETLINK_KOBJECT_UEVENT: Final = 15
UDEV_GROUP: Final = 2
MAGIC: Final = 0xFEEDCAFE
_HEADER: Final = struct.Struct("=8sIIII4I")


class UdevEvents:
    """A udevd that only talks."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT)
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()

    def tell(self, action: str, path: str, subsystem: str = "tty", **properties: str) -> None:
        """One event. Listeners whose buffer is full lose it, and the kernel tells them so."""
        told = {"ACTION": action, "DEVPATH": path, "SUBSYSTEM": subsystem, "SEQNUM": str(next(self._numbers)), **properties}
        body = b"".join(f"{key}={value}".encode() + b"\0" for key, value in told.items())
        big_endian = (socket.htonl(MAGIC), socket.htonl(_murmur2(subsystem.encode())))
        header = _HEADER.pack(b"libudev", big_endian[0], _HEADER.size, _HEADER.size, len(body), big_endian[1], 0, 0, 0)
        self._socket.sendto(header + body, (0, UDEV_GROUP))


def _murmur2(text: bytes) -> int:
    """MurmurHash2 with seed 0: the kernel's filter for a subsystem compares it."""
    factor, mask = 0x5BD1E995, 0xFFFFFFFF
    value = len(text)
    whole = len(text) // 4 * 4
    for (word,) in struct.iter_unpack("<I", text[:whole]):
        mixed = word * factor & mask
        mixed = (mixed ^ (mixed >> 24)) * factor & mask
        value = (value * factor & mask) ^ mixed
    if rest := text[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * factor & mask
    value = (value ^ (value >> 13)) * factor & mask
    return value ^ (value >> 15)

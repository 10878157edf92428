"""udev's database, as `udevadm info --export-db` writes it: the ports and USB devices in it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

OWN_INTERFACE: Final = ":ff5701:"
"""firmware-protocol/SPEC.md 10.2, as it is written in ID_USB_INTERFACES."""
_USB_TTY: Final = re.compile(r".*/tty/(?:ttyUSB|ttyACM)\d+")
_UART: Final = re.compile(r".*/[0-9a-f]+\.serial(?:/.*)?/tty/tty\w+")
"""A UART that the device tree names by its address; newer kernels have more folders in between."""


@dataclass(frozen=True, slots=True)
class Device:
    """One device with a node in /dev."""

    path: str
    """Below /sys."""
    node: str
    """With /dev/ in front."""
    links: tuple[str, ...] = ()
    """All that lead to it or would, were they not another's. Without /dev/ in front."""
    properties: Mapping[str, str] = field(default_factory=dict)

    @property
    def tags(self) -> list[str]:
        """The current ones; udev before 247 only had those."""
        return self.properties.get("CURRENT_TAGS", self.properties.get("TAGS", "")).strip(":").split(":")

    @property
    def chip(self) -> str:
        return self.properties.get("WIRELET_CHIP", "")

    @property
    def is_uart(self) -> bool:
        return self.properties.get("SUBSYSTEM") == "tty" and _UART.fullmatch(self.path) is not None

    @property
    def is_usb_tty(self) -> bool:
        return self.properties.get("SUBSYSTEM") == "tty" and _USB_TTY.fullmatch(self.path) is not None

    @property
    def is_usb_device(self) -> bool:
        return self.properties.get("DEVTYPE") == "usb_device"

    @property
    def is_port(self) -> bool:
        """Something that a gateway may be told to open."""
        return self.is_uart or self.is_usb_tty or (self.is_usb_device and OWN_INTERFACE in self.properties.get("ID_USB_INTERFACES", ""))

    @property
    def names(self) -> list[str]:
        """What Wirelet's rules call it, below /dev."""
        return sorted(link for link in self.links if link.startswith("wirelet/"))


def parse(text: str) -> list[Device]:
    """Every device that has a node. What is not understood is passed over: the format grows."""
    devices = []
    for paragraph in text.split("\n\n"):
        lines = [line.partition(": ")[::2] for line in paragraph.splitlines()]
        only = {key: value for key, value in lines if key in ("P", "N")}
        if "P" in only and "N" in only:
            properties = dict(value.partition("=")[::2] for key, value in lines if key == "E")
            links = tuple(value for key, value in lines if key == "S")
            devices.append(Device(only["P"], f"/dev/{only['N']}", links, properties))
    return devices

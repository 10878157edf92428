"""What may stand below `match:` of a link on a port of this machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Final

from transports.discovery.facts import Kind
from transports.discovery.match import MatchRule
from transports.discovery.serials import is_fake_serial
from transports.driver import BadOption

MAX_NUMBER: Final = 255
"""Interfaces and ports of a chip are numbered in a byte."""
_VID_PID: Final = re.compile(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{4}")
_NODE: Final = re.compile(r"/dev/|tty")


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchOptions:
    """Everything that is given must hold, and one port only may be left."""

    usb_serial: str | None = None
    vid_pids: tuple[str, ...] = ()
    """Any of them."""
    port: str | None = None
    """1-1.3, or udev's ID_PATH."""
    interface: int | None = None
    port_number: int | None = None
    platform: str | None = None
    """An on-board UART: fe201000.serial."""

    def __post_init__(self) -> None:
        if not any((self.usb_serial, self.vid_pids, self.port, self.platform)):
            raise ValueError(f"needs one of: usbSerial, vidPids, port, platform; {_HOW}")
        if self.usb_serial is not None and is_fake_serial(self.usb_serial.strip()):
            raise BadOption("usb_serial", f"{self.usb_serial!r} is what many chips say; match by port, and vidPids")
        check_vid_pids("vid_pids", self.vid_pids)
        if self.platform is not None and (self.usb_serial or self.vid_pids or self.port):
            raise BadOption("platform", "is of a UART without USB: usbSerial, vidPids and port cannot hold with it")
        for name in ("port", "platform"):
            place = getattr(self, name)
            if place is not None and (not place or _NODE.search(place)):
                raise BadOption(name, f"must be a place, such as 1-1.3 or fe201000.serial, not {place!r}; a path of /dev stands in `path`")
        for name in ("interface", "port_number"):
            number = getattr(self, name)
            if number is not None and not 0 <= number <= MAX_NUMBER:
                raise BadOption(name, f"must be 0 to {MAX_NUMBER}, not {number}")

    def rule(self, boot_modes: tuple[str, ...] = (), kind: Kind = Kind.TTY) -> MatchRule:
        """boot_modes: further VID:PIDs of the same board."""
        given = {each.name: getattr(self, each.name) for each in fields(self)} | {"vid_pids": _lower(self.vid_pids)}
        return MatchRule(kind=kind, boot_modes=_lower(boot_modes), **given)


def written(rule: MatchRule) -> dict[str, object]:
    """The rule as `match:` in the file."""
    values = {
        "usbSerial": rule.usb_serial,
        "vidPids": list(rule.vid_pids) or None,
        "port": rule.port,
        "interface": rule.interface,
        "portNumber": rule.port_number,
        "platform": rule.platform,
    }
    return {key: value for key, value in values.items() if value is not None}


_HOW: Final = "`wirelet get devices --all -o yaml` writes it for what is plugged in"


def check_vid_pids(option: str, vid_pids: tuple[str, ...]) -> None:
    """Raises BadOption."""
    for vid_pid in vid_pids:
        if not _VID_PID.fullmatch(vid_pid):
            raise BadOption(option, f"must be four hexadecimal digits twice, such as 0403:6001, not {vid_pid!r}")


def _lower(vid_pids: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(vid_pid.lower() for vid_pid in vid_pids)

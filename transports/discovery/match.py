"""Which port a configured device means: its rule against the ports that are there. Pure.

A rule must find exactly one port. None found and several found are told with what was looked for and what is there, so that a person can
mend the rule or the plug; nothing is ever chosen by chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from transports.discovery.facts import Kind, PortFacts
from transports.discovery.identity import describe, place_of

MAX_TOLD: Final = 5
"""Ports that one message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchRule:
    """Everything that is given must hold. vid_pids: any of them; boot_modes: further ones of the same board, which it has for a while."""

    kind: Kind = Kind.TTY
    usb_serial: str | None = None
    vid_pids: tuple[str, ...] = ()
    """0403:6001, in lower case."""
    port: str | None = None
    """1-1.3, or udev's ID_PATH with or without the interface."""
    interface: int | None = None
    port_number: int | None = None
    platform: str | None = None
    """The hardware of an on-board UART, whole or its last part: fe201000.serial."""
    boot_modes: tuple[str, ...] = ()

    def __str__(self) -> str:
        words = [
            self.usb_serial and f"usbSerial {self.usb_serial}",
            self.vid_pids and f"vidPids {' '.join(self.vid_pids)}",
            self.port and f"port {self.port}",
            self.platform and f"platform {self.platform}",
            self.interface is not None and f"interface {self.interface}",
            self.port_number is not None and f"portNumber {self.port_number}",
        ]
        return ", ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class NotOne:
    """No port, or several. why is one line for a person."""

    why: str
    are_several: bool


def find(rule: MatchRule, ports: Iterable[PortFacts], last_hub_port: str | None = None) -> PortFacts | NotOne:
    """The port that the rule means. last_hub_port: where its board was last; there it is known in a boot mode without its serial number."""
    there = [port for port in ports if port.kind is rule.kind]
    found = [port for port in there if _holds(rule, port)]
    if not found and rule.boot_modes:
        found = [port for port in there if _is_in_boot_mode(rule, port, last_hub_port)]
    if len(found) == 1:
        return found[0]
    return NotOne(_several(rule, found), True) if found else NotOne(_none(rule, there), False)


def rule_for(port: PortFacts, ports: Iterable[PortFacts]) -> MatchRule | None:
    """The shortest rule, from the highest rung down, that means this port and none of the others; None when nothing tells them apart."""
    others = [other for other in ports if other.key != port.key]
    candidates = _rules(port)
    return next((rule for rule in candidates if isinstance(find(rule, (port, *others)), PortFacts)), None)


# -- private


def _holds(rule: MatchRule, port: PortFacts) -> bool:
    if rule.usb_serial is not None and not _is_serial(rule.usb_serial, port.real_serial):
        return False
    if rule.vid_pids and port.vid_pid not in (*rule.vid_pids, *rule.boot_modes):
        return False
    return _is_there(rule, port)


def _is_in_boot_mode(rule: MatchRule, port: PortFacts, last_hub_port: str | None) -> bool:
    """A boot loader speaks with its own serial number, or with none: the board is known by its plug."""
    is_at_plug = rule.port is not None or (last_hub_port is not None and port.hub_port == last_hub_port)
    return port.vid_pid in rule.boot_modes and is_at_plug and _is_there(replace(rule, interface=None, port_number=None), port)


def _is_there(rule: MatchRule, port: PortFacts) -> bool:
    """The place is the rule's, as far as it names one."""
    if rule.port is not None and rule.port not in (port.hub_port, port.id_path, place_of(port)):
        return False
    if rule.interface is not None and rule.interface != port.interface:
        return False
    if rule.port_number is not None and rule.port_number != port.port_number:
        return False
    return rule.platform is None or (port.platform is not None and f"/{port.platform}".endswith(f"/{rule.platform}"))


def _is_serial(wanted: str, told: str | None) -> bool:
    """udev writes what is no letter, digit or #+-.:=@_ as _; a person copies it from either side."""
    return told is not None and _as_udev(wanted) == _as_udev(told)


def _as_udev(serial: str) -> str:
    return "".join(sign if (sign.isascii() and sign.isalnum()) or sign in "#+-.:=@_" else "_" for sign in serial.strip())


def _none(rule: MatchRule, there: Sequence[PortFacts]) -> str:
    return f"no port with {rule}; {_there(there)}"


def _there(ports: Sequence[PortFacts]) -> str:
    if not ports:
        return "there is none at all"
    told = "; ".join(describe(port) for port in ports[:MAX_TOLD])
    return f"there are: {told}{f'; and {len(ports) - MAX_TOLD} more' if len(ports) > MAX_TOLD else ''}"


def _several(rule: MatchRule, found: Sequence[PortFacts]) -> str:
    keys: dict[str, set[str | int | None]] = {
        "usbSerial": {port.real_serial for port in found},
        "vidPids": {port.vid_pid for port in found},
        "port": {port.hub_port for port in found},
        "interface": {port.interface for port in found},
        "portNumber": {port.port_number for port in found},
        "platform": {port.platform for port in found},
    }
    apart = [key for key, values in keys.items() if len(values) == len(found)] or [key for key, values in keys.items() if len(values) > 1]
    return f"{len(found)} ports have {rule}; tell them apart by {' or '.join(apart) or 'nothing that udev knows'}; {_there(found)}"


def _rules(port: PortFacts) -> list[MatchRule]:
    vid_pids = () if port.vid_pid is None else (port.vid_pid,)
    heads = []
    if port.real_serial is not None:
        by_serial = MatchRule(kind=port.kind, usb_serial=port.real_serial)
        heads += [by_serial, replace(by_serial, vid_pids=vid_pids)]
    places = dict.fromkeys(place for place in (place_of(port), port.hub_port) if place is not None)
    heads += [MatchRule(kind=port.kind, port=place, vid_pids=vid_pids) for place in places]
    if port.platform is not None:
        heads += [MatchRule(kind=port.kind, platform=name) for name in (port.platform.rpartition("/")[2], port.platform)]
    interface, number = port.interface, port.port_number
    return [
        replace(head, interface=one, port_number=other)
        for head in heads
        for one, other in dict.fromkeys([(None, None), (interface, None), (None, number), (interface, number)])
    ]

"""The table of the ports that are there: what is plugged, unplugged and found by looking goes in, changes come out. Pure.

Events may be lost, doubled or late, and a look may be older than an event that follows it: whatever order they come in, the table ends as
the newest of them says, and nobody is told of a change that was none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from transports.discovery.facts import PortFacts


@dataclass(frozen=True, slots=True)
class Appeared:
    port: PortFacts


@dataclass(frozen=True, slots=True)
class Vanished:
    port: PortFacts


Change = Appeared | Vanished


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is there at one moment. version grows with every change."""

    version: int
    ports: tuple[PortFacts, ...]


class HostPorts(Protocol):
    """The ports of this machine, for whoever waits for one of them."""

    async def ports(self) -> Snapshot:
        """What is there now. The first call begins the watch and waits for its first look: give it a deadline."""
        ...

    async def changed(self, version: int) -> None:
        """Return when there is a newer version."""
        ...


class PortTable:
    """By key. Bounded by the machine: it holds what the kernel holds."""

    def __init__(self) -> None:
        self._ports: dict[str, PortFacts] = {}

    @property
    def ports(self) -> Mapping[str, PortFacts]:
        """A live view."""
        return MappingProxyType(self._ports)

    def added(self, port: PortFacts) -> Sequence[Change]:
        """It was plugged in, or is told anew. Facts that udev mends of the same port are taken and are no change."""
        known = self._ports.get(port.key)
        self._ports[port.key] = port
        if known is None:
            return [Appeared(port)]
        return [Vanished(known), Appeared(port)] if _is_another(known, port) else []

    def removed(self, key: str, instance: int = 0) -> Sequence[Change]:
        """It was unplugged. A late word of an earlier instance says nothing of the one that is there now."""
        known = self._ports.get(key)
        if known is None or (instance and known.instance and instance != known.instance):
            return []
        del self._ports[key]
        return [Vanished(known)]

    def scanned(self, ports: Iterable[PortFacts]) -> Sequence[Change]:
        """Somebody looked: this is all there is."""
        found = {port.key: port for port in ports}
        gone = [change for key in self._ports.keys() - found.keys() for change in self.removed(key)]
        return [*gone, *(change for port in found.values() for change in self.added(port))]


def _is_another(known: PortFacts, port: PortFacts) -> bool:
    """The same place in sysfs, but something else: told by udev's time, or by what it is."""
    if known.instance and port.instance:
        return known.instance != port.instance
    return (known.vid_pid, known.serial, known.node) != (port.vid_pid, port.serial, port.node)

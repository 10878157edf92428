"""The seam of packages: what a link or a protocol brings so that a configuration can name it.

A package offers a driver as an entry point, and pip installs it beside wirelet:

    [project.entry-points."wirelet.links"]
    tcp = "wirelet_tcp:TcpDriver"            # devices[].link.tcp

    [project.entry-points."wirelet.protocols"]
    scpi = "wirelet_scpi:ScpiDriver"         # classes[].protocol: scpi, or scpi: {...}

The entry point names a class, which is called once without arguments, and only if a configuration names the driver. Wirelet's own drivers
come by the same way. Whatever a driver imports is part of what `check-config` tries, so a library that is missing is told there.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NewType, Protocol, TypeVar, runtime_checkable

from transports.discovery.ports import HostPorts
from transports.link import LinkOpener
from transports.protocol import Checkpoint, DeviceProtocol

LINKS_GROUP: Final = "wirelet.links"
PROTOCOLS_GROUP: Final = "wirelet.protocols"

DurationS = NewType("DurationS", float)
"""Type of an option that is written `10s`, `500ms` or `1m30s` in the file; seconds here."""
SizeBytes = NewType("SizeBytes", int)
"""Type of an option that is written `16Ki` or `64Mi` in the file; bytes here."""


class BadOption(ValueError):
    """One option cannot be used. option is the field's name; the message says what is allowed: `must be 50 to 12000000, not 5`."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What a driver is told of the device that it is for. Grows only by fields with a default."""

    name: str
    class_name: str
    slots: int
    boot_modes: tuple[str, ...] = ()
    """Further VID:PIDs that a board of the class has for a while."""
    last_hub_port: str | None = None
    """Where its board was plugged in the last time, if anybody remembers."""
    ports: HostPorts | None = None
    """The ports of this machine, one watch for all devices; None where nobody watches them."""


def accept_all(device_id: bytes) -> str | None:
    """Whoever answers is the device."""
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """What a protocol core is told of its gateway and its line. Grows only by fields with a default."""

    gateway_id: int
    """32 bits, the same for all devices of one process: it tells a device that another gateway has come."""
    keepalive_s: float
    line_bytes_per_s: float | None
    """The most that the line carries; None: faster than it matters."""
    rng: random.Random
    refuses: Callable[[bytes], str | None] = accept_all
    """Called with the device_id of whoever wants a session: why it must not have one, or None. Cheap; called again and again."""


Options = TypeVar("Options")


class LinkDriver(Protocol[Options]):
    """A kind of link; its name is the key below `link:`. Nothing here opens, blocks or reads a device."""

    @property
    def options(self) -> type[Options]:
        """A frozen dataclass: what may stand below the key, in the file in camelCase.

        Its fields are of plain types (text, numbers, bool, Literal, DurationS, SizeBytes), tuples and optionals of them, or dataclasses of
        the same kind. Its __post_init__ raises BadOption, or ValueError, for what could only fail later. It holds no secrets: it is shown.
        """
        ...

    def opener(self, options: Options, device: DeviceFacts) -> LinkOpener:
        """The link of one configured device; made once. Where it has a `run` (transports.link.RunningOpener), that is its life."""
        ...

    def bytes_per_s(self, options: Options) -> float | None:
        """The most that the line carries in one direction; None when there is no line that is slow."""
        ...

    def port(self, options: Options) -> str | None:
        """What only one device can have, as a person calls it; two devices with the same are refused. None: nothing is exclusive."""
        ...


@runtime_checkable
class LimitedDriver(Protocol):
    """A protocol driver whose devices cannot have as many slots as a class may say."""

    @property
    def max_slots(self) -> int: ...


@dataclass(frozen=True, slots=True)
class NoOptions:
    """Of a driver with nothing to choose."""


class ProtocolDriver(Protocol[Options]):
    """A kind of protocol; its name is the class's `protocol`, or the one key below it."""

    @property
    def options(self) -> type[Options]:
        """As LinkDriver.options. They hold for every device of a class."""
        ...

    def protocol(self, options: Options, checkpoint: Checkpoint | None, device: DeviceFacts, session: SessionFacts) -> DeviceProtocol:
        """The core of one configured device, which goes on from checkpoint."""
        ...

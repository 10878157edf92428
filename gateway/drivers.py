"""The installed drivers: what the entry points of all packages offer, and the loading of those that a configuration names.

Names come from the packages' metadata, so nothing is imported to list them; a driver costs memory only where it is configured. What is
wrong with a package is told once, with the package's name and the reason. It knows no options and no devices.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from transports.driver import LINKS_GROUP, PROTOCOLS_GROUP, LimitedDriver, LinkDriver, ProtocolDriver

MAX_REASON: Final = 300
"""Characters of a foreign exception's text in one line."""


class DriverUnavailable(Exception):
    """The driver cannot be used; the text is one line that says what is installed, or which package is broken and why."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A name that a package offers."""

    name: str
    package: str
    """With its version."""


def links() -> list[Offer]:
    """Every installed link, by name."""
    return _offers(LINKS_GROUP)


def protocols() -> list[Offer]:
    """Every installed protocol, by name."""
    return _offers(PROTOCOLS_GROUP)


@functools.cache
def link(name: str) -> LinkDriver[Any]:
    """The link driver of that name, loaded now if it was not. Raises DriverUnavailable."""
    made: LinkDriver[Any] = _load(LINKS_GROUP, "link", name, ("opener", "bytes_per_s", "port"))
    return made


@functools.cache
def protocol(name: str) -> ProtocolDriver[Any]:
    """The protocol driver of that name, loaded now if it was not. Raises DriverUnavailable."""
    made: ProtocolDriver[Any] = _load(PROTOCOLS_GROUP, "protocol", name, ("protocol",))
    return made


def max_slots(protocol_name: str) -> int | None:
    """How many workloads a device of that protocol can have at once; None: as many as its class says. Raises DriverUnavailable."""
    driver = protocol(protocol_name)
    return driver.max_slots if isinstance(driver, LimitedDriver) else None


# -- private


@functools.cache
def _installed(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """name -> who offers it. Read once: it opens the metadata of every installed package, 3 ms for 66 of them."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in sorted(entry_points(group=group), key=lambda entry: entry.name):
        found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def _offers(group: str) -> list[Offer]:
    return [Offer(name, _package(entry)) for name, entries in _installed(group).items() for entry in entries]


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "a package without metadata"


def _load(group: str, kind: str, name: str, methods: tuple[str, ...]) -> Any:
    entries = _installed(group).get(name, ())
    if not entries:
        there = ", ".join(_installed(group)) or "none"
        raise DriverUnavailable(f"no such {kind} is installed; there are: {there}; pip install the package that brings it")
    if len(entries) > 1:
        raise DriverUnavailable(f"is offered by {' and by '.join(map(_package, entries))}; uninstall one")
    (entry,) = entries
    try:
        made = entry.load()()
    except Exception as error:  # whatever a foreign module does when it is imported, it is a line of this report and not our end
        raise DriverUnavailable(f"the package {_package(entry)} cannot be loaded: {_reason(error)}{_hint(entry, error)}") from error
    missing = [method for method in methods if not callable(getattr(made, method, None))]
    problem = f"{entry.value} has no {', '.join(missing)}" if missing else _wrong_options(made)
    if problem is not None:
        raise DriverUnavailable(f"the package {_package(entry)} offers no {kind} driver: {problem}")
    return made


def _wrong_options(driver: Any) -> str | None:
    options = getattr(driver, "options", None)
    return None if isinstance(options, type) and is_dataclass(options) else "its options are no dataclass"


def _reason(error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}..."


def _hint(entry: EntryPoint, error: Exception) -> str:
    """An entry point may name the extra that brings its libraries."""
    if not isinstance(error, ImportError) or not entry.extras or entry.dist is None:
        return ""
    return f"; pip install '{entry.dist.name}[{','.join(entry.extras)}]'"

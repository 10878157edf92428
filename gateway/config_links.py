"""A device's link in a file, `link: {serial: {path: /dev/ttyUSB0}}`: which driver, its options, and those that its class gives it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, ValidationError

from gateway import drivers
from gateway.config_options import options_section, read_options, write_options
from gateway.config_problems import REQUIRED, Nested, Problem, problems_of, shown


@dataclass(frozen=True, slots=True)
class Link:
    """A device's link: the name of its driver, and the driver's own options."""

    driver: str
    options: Any

    @property
    def port(self) -> str | None:
        """See transports.driver.LinkDriver.port."""
        return drivers.link(self.driver).port(self.options)


def _read(value: object) -> Link:
    """Raises Nested or ValueError with what is wrong."""
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a mapping with one key of: {_names()}; not {shown(value)}")
    refused = [((str(name),), problem) for name in value if (problem := _problem(str(name))) is not None]
    if refused:
        raise Nested(refused)
    if len(value) != 1:
        raise ValueError(f"needs exactly one of: {_names()}")
    ((name, options),) = value.items()
    return Link(name, read_options(drivers.link(name).options, name, options))


def _read_defaults(value: object) -> Mapping[str, Any]:
    """Options of a class's links, of which each device has the rest: only then a driver can judge them together. Raises like _read."""
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a mapping with keys of: {_names()}; not {shown(value)}")
    problems: list[Problem] = []
    for name, options in value.items():
        unavailable = _problem(str(name))
        if unavailable is not None:
            problems.append(((str(name),), unavailable))
            continue
        section = options_section(drivers.link(name).options)
        try:
            section.model_validate(options)
        except ValidationError as error:
            problems += [((name, *location), why) for location, why in problems_of(error, section) if why != REQUIRED]
    if problems:
        raise Nested(problems)
    return value


def with_defaults(document: Any) -> Any:
    """The document with every device's link options completed by those of its class. What is malformed stays for the check of its key."""
    match document:
        case {"classes": [*classes], "devices": [*devices]}:
            known = {section["name"]: section["link"] for section in classes if _has_good_defaults(section)}
            return {**document, "devices": [_completed(device, known) for device in devices]}
        case _:
            return document


def _write(link: Link) -> dict[str, Any]:
    """The link in the file's keys, with every default."""
    return write_options(drivers.link(link.driver).options, link.driver, link.options)


ConfiguredLink = Annotated[Link, PlainValidator(_read), PlainSerializer(_write)]
LinkDefaults = Annotated[Mapping[str, Any], PlainValidator(_read_defaults)]


# -- private


def _has_good_defaults(section: Any) -> bool:
    match section:
        case {"name": str(), "link": link}:
            with suppress(ValueError):
                return bool(_read_defaults(link))
    return False


def _completed(device: Any, known: Mapping[str, Mapping[str, Any]]) -> Any:
    match device:
        case {"class": str(name), "link": {**link}} if name in known:
            return {**device, "link": {each: _both(known[name].get(str(each), {}), options) for each, options in link.items()}}
        case _:
            return device


def _both(defaults: Mapping[str, Any], options: Any) -> Any:
    return {**defaults, **options} if isinstance(options, Mapping) else options


def _names() -> str:
    return ", ".join(dict.fromkeys(offer.name for offer in drivers.links()))


def _problem(name: str) -> str | None:
    try:
        drivers.link(name)
    except drivers.DriverUnavailable as error:
        return str(error)
    return None

"""A class's protocol in a file: a driver's name alone, `protocol: framed`, or with its options, `protocol: {console: {profile: raw}}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from gateway import drivers
from gateway.config_options import read_options, write_options
from gateway.config_problems import Nested, shown


@dataclass(frozen=True, slots=True)
class Protocol:
    """The name of a class's protocol driver, and the driver's own options."""

    driver: str
    options: Any


def _read(value: object) -> Protocol:
    """Raises Nested or ValueError with what is wrong."""
    match value:
        case str(name):
            problem = _problem(name)
            if problem is not None:
                raise ValueError(problem)
            return Protocol(name, read_options(drivers.protocol(name).options, name, {}))
        case Mapping() if len(value) == 1:
            ((name, options),) = value.items()
            problem = _problem(str(name))
            if problem is not None:
                raise Nested([((str(name),), problem)])
            return Protocol(name, read_options(drivers.protocol(name).options, name, options))
        case Mapping():
            raise ValueError(f"needs exactly one of: {_names()}")
        case _:
            raise ValueError(f"must be the name of a protocol, or a mapping with it as the one key, of: {_names()}; not {shown(value)}")


def _write(protocol: Protocol) -> str | dict[str, Any]:
    """The protocol in the file's keys, with every default."""
    options = drivers.protocol(protocol.driver).options
    return write_options(options, protocol.driver, protocol.options) if fields(options) else protocol.driver


def _names() -> str:
    return ", ".join(dict.fromkeys(offer.name for offer in drivers.protocols()))


def _problem(name: str) -> str | None:
    try:
        drivers.protocol(name)
    except drivers.DriverUnavailable as error:
        return str(error)
    return None


ConfiguredProtocol = Annotated[Protocol, PlainValidator(_read), PlainSerializer(_write)]

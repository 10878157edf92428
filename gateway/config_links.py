"""The options of links, checked by the dataclass that a driver declares: `link: {serial: {path: /dev/ttyUSB0}}`.

A dataclass knows nothing of files. A section is made from it that does: keys in camelCase, durations and sizes as they are written,
nothing unknown. What comes out is the dataclass itself, so its own checks run and a driver gets what it declared.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import pydantic
from pydantic import AfterValidator, PlainSerializer, PlainValidator, ValidationError
from pydantic.alias_generators import to_camel

from gateway import drivers
from gateway.config_problems import REQUIRED, Nested, Problem, Section, problems_of, shown
from gateway.config_values import DurationS, SizeBytes
from transports import driver

_WRITTEN: Final = {driver.DurationS: DurationS, driver.SizeBytes: SizeBytes}
"""How the file writes what an option's type measures."""


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
    (name,) = value
    section = _link_section(name)
    try:
        return Link(name, getattr(section.model_validate(value), _field(name)))
    except ValidationError as error:
        raise Nested(problems_of(error, section)) from error


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
        section = _section(drivers.link(name).options)
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


def _read_protocol(name: str) -> str:
    try:
        drivers.protocol(name)
    except drivers.DriverUnavailable as error:
        raise ValueError(str(error)) from error
    return name


def _write(link: Link) -> dict[str, Any]:
    """The link in the file's keys, with every default."""
    section = _link_section(link.driver)
    return section.model_construct(**{_field(link.driver): link.options}).model_dump(mode="json", by_alias=True)


ConfiguredLink = Annotated[Link, PlainValidator(_read), PlainSerializer(_write)]
LinkDefaults = Annotated[Mapping[str, Any], PlainValidator(_read_defaults)]
Protocol = Annotated[str, AfterValidator(_read_protocol)]


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


@functools.cache
def _link_section(name: str) -> type[Section]:
    """The section with the one key that chooses a driver."""
    options: Any = drivers.link(name).options
    key: Any = (_in_file(options), pydantic.Field(alias=name))
    return pydantic.create_model("link", __base__=Section, **{_field(name): key})


def _in_file(kind: Any) -> Any:
    """The type that reads from a file what kind is in Python."""
    if kind in _WRITTEN:
        return _WRITTEN[kind]
    if is_dataclass(kind):
        section = _section(kind)
        return Annotated[section, AfterValidator(functools.partial(_built, kind)), PlainSerializer(functools.partial(_written, section))]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (None, Literal, Annotated):
        return kind
    inner = tuple(_in_file(argument) for argument in arguments)
    return Union[inner] if origin in (Union, types.UnionType) else origin[inner]  # noqa: UP007 - made at run time


def _section(options: Any) -> type[Section]:
    hints = get_type_hints(options, include_extras=True)
    keys: dict[str, Any] = {_field(field.name): (_in_file(hints[field.name]), _key(field)) for field in fields(options)}
    return pydantic.create_model(options.__name__, __base__=Section, **keys)


def _key(field: Field[Any]) -> Any:
    is_required = field.default is MISSING and field.default_factory is MISSING
    return pydantic.Field(alias=to_camel(field.name), default=... if is_required else None)


def _field(option: str) -> str:
    """What it is called in the section, where a name such as `copy` is taken."""
    return f"option_{option}"


def _built(options: Any, section: Section) -> Any:
    """The dataclass that a section means; what the file does not say is its own default."""
    try:
        return options(**{name.removeprefix("option_"): getattr(section, name) for name in section.model_fields_set})
    except driver.BadOption as error:
        raise Nested([((to_camel(error.option),), str(error))]) from error


def _written(section: type[Section], options: Any) -> dict[str, Any]:
    values = {_field(field.name): getattr(options, field.name) for field in fields(options)}
    return section.model_construct(**values).model_dump(mode="json", by_alias=True)

"""The options of drivers, checked by the dataclass that a driver declares: `link: {serial: {path: /dev/ttyUSB0}}`.

A dataclass knows nothing of files. A section is made from it that does: keys in camelCase, durations and sizes as they are written,
nothing unknown. What comes out is the dataclass itself, so its own checks run and a driver gets what it declared.
"""

from __future__ import annotations

import functools
import types
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import pydantic
from pydantic import AfterValidator, PlainSerializer, ValidationError
from pydantic.alias_generators import to_camel

from gateway.config_problems import Nested, Section, problems_of
from gateway.config_values import DurationS, SizeBytes
from transports import driver

_WRITTEN: Final = {driver.DurationS: DurationS, driver.SizeBytes: SizeBytes}
"""How the file writes what an option's type measures."""


def read_options(kind: Any, name: str, value: Any) -> Any:
    """What value means as the dataclass kind, of the driver of that name. Raises Nested with paths that begin with the name."""
    section = _choice(kind, name)
    try:
        return getattr(section.model_validate({name: value}), _field(name))
    except ValidationError as error:
        raise Nested(problems_of(error, section)) from error


def write_options(kind: Any, name: str, options: Any) -> dict[str, Any]:
    """The same in the file's keys, with every default, below the driver's name."""
    return _choice(kind, name).model_construct(**{_field(name): options}).model_dump(mode="json", by_alias=True)


def options_section(options: Any) -> type[Section]:
    """The section that reads the dataclass options from a file."""
    hints = get_type_hints(options, include_extras=True)
    keys: dict[str, Any] = {_field(field.name): (_in_file(hints[field.name]), _key(field)) for field in fields(options)}
    return pydantic.create_model(options.__name__, __base__=Section, **keys)


# -- private


@functools.cache
def _choice(options: Any, name: str) -> type[Section]:
    """The section with the one key that chooses a driver."""
    key: Any = (_in_file(options), pydantic.Field(alias=name))
    return pydantic.create_model("choice", __base__=Section, **{_field(name): key})


def _in_file(kind: Any) -> Any:
    """The type that reads from a file what kind is in Python."""
    if kind in _WRITTEN:
        return _WRITTEN[kind]
    if is_dataclass(kind):
        section = options_section(kind)
        return Annotated[section, AfterValidator(functools.partial(_built, kind)), PlainSerializer(functools.partial(_written, section))]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (None, Literal, Annotated):
        return kind
    inner = tuple(_in_file(argument) for argument in arguments)
    return Union[inner] if origin in (Union, types.UnionType) else origin[inner]  # noqa: UP007 - made at run time


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

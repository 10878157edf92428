"""What is wrong with a file, in words: the path of the key and what is allowed there, one line each.

pydantic finds the problems; its words are for programmers. A section that is checked by something else (a driver's options) hands its
problems up in a Nested, and they are told with the path of where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

MAX_SHOWN: Final = 100
"""Characters of a refused value in a message."""

REQUIRED: Final = "is required"

Location = tuple[int | str, ...]
Problem = tuple[Location, str]


class Section(BaseModel):
    """A mapping of the file: camelCase, and nothing that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=False, strict=False)


class Nested(ValueError):
    """Problems below the place that is being checked; their locations begin there."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(message for _, message in self.problems))


def problems_of(error: ValidationError, root: type[BaseModel]) -> Iterator[Problem]:
    """Every problem that pydantic found in a document of the shape root, in the order of the file's keys."""
    for item in error.errors():
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, Nested):
            yield from (((*item["loc"], *location), message) for location, message in cause.problems)
        else:
            yield item["loc"], _message(dict(item), root)


def path_of(location: Location) -> str:
    """`devices[2].link.serial`."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def shown(value: object) -> str:
    """One short piece of a line, whatever stands there: a few lines of YAML can hold a billion values."""
    match value:
        case dict():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            text = repr(value)
            return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


# -- private


def _message(problem: dict[str, Any], root: type[BaseModel]) -> str:
    value = shown(problem["input"])
    match problem["type"]:
        case "extra_forbidden":
            return f"unknown key; allowed here: {', '.join(_allowed(problem['loc'][:-1], root))}"
        case "missing":
            return REQUIRED
        case "value_error":
            return str(problem["ctx"]["error"])
        case "literal_error":
            return f"must be {problem['ctx']['expected']}, not {value}"
        case "int_parsing" | "int_type" | "int_from_float":
            return f"must be a whole number, not {value}"
        case "string_type":
            return f"must be text, not {value}"
        case "tuple_type":
            return f"must be a list, not {value}"
        case "bool_parsing" | "bool_type":
            return f"must be true or false, not {value}"
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"must be a mapping with keys such as {', '.join(_allowed(problem['loc'], root)) or 'name: value'}, not {value}"
        case "greater_than_equal" | "less_than_equal":
            return f"must be {problem['msg'].removeprefix('Input should be ')}, not {value}"
        case _:
            return f"{problem['msg'][0].lower()}{problem['msg'][1:]}, not {value}"


def _allowed(location: Location, root: type[BaseModel]) -> list[str]:
    """The keys of the section at location."""
    model = root
    for part in location:
        if isinstance(part, int):
            continue
        field = next(field for name, field in model.model_fields.items() if (field.alias or name) == part)
        found = _models(field.annotation)
        if not found:
            return []  # a mapping whose keys are the user's
        model = found[0]
    return [field.alias or name for name, field in model.model_fields.items()]


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models(argument)]

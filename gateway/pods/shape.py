"""Whether an object from a file has the shape that Kubernetes gives it: what the API server would have checked before a pod gets here.

Only fields that something here reads are checked; all others pass. A problem is named with the path of the key and what is allowed. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from gateway.pods.seams import JsonObject

LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SUBDOMAIN: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
"""RFC 1123 names, as in apimachinery's validation: names end up in paths and addresses."""
MAX_CONTAINERS: Final = 64
"""More than any board has slots for."""


class ShapeError(ValueError):
    """One problem: where, and what is allowed there."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")


@dataclass(frozen=True, slots=True)
class Text:
    pattern: re.Pattern[str] | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number that is not negative."""


@dataclass(frozen=True, slots=True)
class Flag:
    pass


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity: text or a number. What it says is judged where it is used."""


@dataclass(frozen=True, slots=True)
class ListOf:
    items: Shape
    at_least: int = 0
    at_most: int = 1024


@dataclass(frozen=True, slots=True)
class MapOf:
    values: Shape


@dataclass(frozen=True, slots=True)
class Fields:
    known: Mapping[str, Shape]
    required: tuple[str, ...] = field(default=())


Shape: TypeAlias = Text | Whole | Flag | Quantity | ListOf | MapOf | Fields

_ANY_OBJECT: Final = Fields({})
_REFERENCE: Final = Fields({"name": Text(SUBDOMAIN), "key": Text(), "optional": Flag()}, ("name",))
_KEY_REFERENCE: Final = Fields({"name": Text(SUBDOMAIN), "key": Text(), "optional": Flag()}, ("name", "key"))
_ENV: Final = Fields(
    {
        "name": Text(),
        "value": Text(),
        "valueFrom": Fields(
            {
                "fieldRef": Fields({"fieldPath": Text()}, ("fieldPath",)),
                "resourceFieldRef": Fields({"resource": Text(), "containerName": Text(), "divisor": Quantity()}, ("resource",)),
                "configMapKeyRef": _KEY_REFERENCE,
                "secretKeyRef": _KEY_REFERENCE,
            }
        ),
    },
    ("name",),
)
_RESOURCES: Final = Fields({"requests": MapOf(Quantity()), "limits": MapOf(Quantity())})
_CONTAINER: Final = Fields(
    {
        "name": Text(LABEL),
        "image": Text(),
        "command": ListOf(Text()),
        "args": ListOf(Text()),
        "env": ListOf(_ENV),
        "envFrom": ListOf(Fields({"prefix": Text(), "configMapRef": _REFERENCE, "secretRef": _REFERENCE})),
        "resources": _RESOURCES,
        "volumeMounts": ListOf(Fields({"name": Text(), "mountPath": Text()})),
        "tty": Flag(),
        "stdin": Flag(),
    },
    ("name", "image"),
)
_METADATA: Final = Fields(
    {"name": Text(SUBDOMAIN), "namespace": Text(LABEL), "labels": MapOf(Text()), "annotations": MapOf(Text())}, ("name",)
)
POD: Final = Fields(
    {
        "metadata": _METADATA,
        "spec": Fields(
            {
                "containers": ListOf(_CONTAINER, at_least=1, at_most=MAX_CONTAINERS),
                "initContainers": ListOf(_CONTAINER, at_most=MAX_CONTAINERS),
                "restartPolicy": Text(choices=("Always", "OnFailure", "Never")),
                "terminationGracePeriodSeconds": Whole(),
                "activeDeadlineSeconds": Whole(),
                "nodeName": Text(),
                "os": Fields({"name": Text()}),
                "readinessGates": ListOf(Fields({"conditionType": Text()}, ("conditionType",))),
                "serviceAccountName": Text(),
                "volumes": ListOf(Fields({"name": Text(LABEL), "projected": Fields({"sources": ListOf(_ANY_OBJECT)})}, ("name",))),
                "resources": _RESOURCES,
                "overhead": MapOf(Quantity()),
            },
            ("containers",),
        ),
    },
    ("metadata", "spec"),
)
CONFIG_MAP: Final = Fields({"metadata": _METADATA, "data": MapOf(Text())}, ("metadata",))
SECRET: Final = Fields({"metadata": _METADATA, "data": MapOf(Text()), "stringData": MapOf(Text())}, ("metadata",))


def check_shape(value: JsonObject, shape: Fields) -> None:
    """Raise ShapeError for the first thing that is not as it must be."""
    _check(value, shape, "")


def check_pod(value: JsonObject) -> None:
    """check_shape of a pod, and its containers' names differ."""
    check_shape(value, POD)
    seen: set[str] = set()
    for key in ("initContainers", "containers"):
        for index, container in enumerate(value["spec"].get(key) or ()):
            if container["name"] in seen:
                raise ShapeError(f"spec.{key}[{index}].name", f"there is another container {container['name']}")
            seen.add(container["name"])


def _check(value: Any, shape: Shape, path: str) -> None:
    match shape:
        case Text(pattern, choices):
            _check_text(value, pattern, choices, path)
        case Whole():
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ShapeError(path, f"must be a whole number of at least 0, not {_shown(value)}")
        case Flag():
            if not isinstance(value, bool):
                raise ShapeError(path, f"must be true or false, not {_shown(value)}")
        case Quantity():
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise ShapeError(path, f"must be a quantity such as 1 or 100m, not {_shown(value)}")
        case ListOf(items, at_least, at_most):
            if not isinstance(value, list) or not at_least <= len(value) <= at_most:
                raise ShapeError(path, f"must be a list of {at_least} to {at_most} items, not {_shown(value)}")
            for index, item in enumerate(value):
                _check(item, items, f"{path}[{index}]")
        case MapOf(values):
            for key, item in _mapping(value, path).items():
                _check(item, values, f"{path}.{key}")
        case Fields(known, required):
            mapping = _mapping(value, path)
            for key in required:
                if mapping.get(key) is None:
                    raise ShapeError(_join(path, key), "is required")
            for key, item in mapping.items():
                if key in known and item is not None:
                    _check(item, known[key], _join(path, key))


def _check_text(value: Any, pattern: re.Pattern[str] | None, choices: tuple[str, ...], path: str) -> None:
    if not isinstance(value, str):
        hint = "; put it in quotes" if isinstance(value, bool | int | float) else ""
        raise ShapeError(path, f"must be a string, not {_shown(value)}{hint}")
    if choices and value not in choices:
        raise ShapeError(path, f"must be one of {', '.join(choices)}, not {_shown(value)}")
    if pattern is not None and not pattern.fullmatch(value):
        dots = "" if pattern is LABEL else ", dots"
        raise ShapeError(path, f"must be a name of lower case letters, digits, hyphens{dots}, not {_shown(value)}")


def _mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ShapeError(path or "the document", f"must be a mapping, not {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case list():
            return f"a list of {len(value)}"
        case dict():
            return "a mapping"
        case str():
            return f'"{value[:40]}"'
    return f"the number {value}"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key

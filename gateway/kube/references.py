"""Which ConfigMaps and Secrets a pod names. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Any, NamedTuple

from gateway.pods.seams import JsonObject


class ReferenceKind(enum.Enum):
    """The value is the plural in the API's path."""

    CONFIG_MAP = "configmaps"
    SECRET = "secrets"


class Reference(NamedTuple):
    kind: ReferenceKind
    namespace: str
    name: str


_ENV_FROM = {"configMapRef": ReferenceKind.CONFIG_MAP, "secretRef": ReferenceKind.SECRET}
_VALUE_FROM = {"configMapKeyRef": ReferenceKind.CONFIG_MAP, "secretKeyRef": ReferenceKind.SECRET}


def references(pod: JsonObject) -> frozenset[Reference]:
    """Everything that the Node authorizer lets this node read because of the pod."""
    namespace = str((pod.get("metadata") or {}).get("namespace", ""))
    return frozenset(Reference(kind, namespace, name) for kind, name in _named(pod.get("spec") or {}) if name)


def _named(spec: JsonObject) -> Iterator[tuple[ReferenceKind, str]]:
    for group in ("containers", "initContainers"):
        for container in spec.get(group) or ():
            for source in container.get("envFrom") or ():
                yield from _picked(source, _ENV_FROM)
            for variable in container.get("env") or ():
                yield from _picked(variable.get("valueFrom") or {}, _VALUE_FROM)
    for volume in spec.get("volumes") or ():
        yield from _volume(volume)


def _volume(volume: JsonObject) -> Iterator[tuple[ReferenceKind, str]]:
    sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
    for source in sources:
        yield ReferenceKind.CONFIG_MAP, str((source.get("configMap") or {}).get("name", ""))
        secret = source.get("secret") or {}
        yield ReferenceKind.SECRET, str(secret.get("secretName") or secret.get("name") or "")


def _picked(source: JsonObject, kinds: dict[str, ReferenceKind]) -> Iterator[tuple[ReferenceKind, str]]:
    for key, kind in kinds.items():
        chosen: Any = source.get(key)
        if isinstance(chosen, dict):
            yield kind, str(chosen.get("name", ""))

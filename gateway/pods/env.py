"""A container's environment, resolved as the kubelet does it (makeEnvironmentVariables in pkg/kubelet/kubelet_pods.go). Pure.

envFrom comes first in the order written, env overrides it, and $(VAR) sees what stands before it. ConfigMaps and Secrets are passed in as
data; needed_references says which to fetch. Variables for Services are not made: seven per Service do not fit a small device.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from gateway.pods.expansion import expand
from gateway.pods.node import NodeAddresses
from gateway.pods.quantity import parse_quantity
from gateway.pods.refusal import TranslationError
from gateway.pods.seams import JsonObject
from gateway.pods.view import ContainerView, PodView

_T = TypeVar("_T", str, bytes)

_SUBSCRIPT: Final = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
_NAME: Final = re.compile(r"[ -<>-~]+")
"""Printable ASCII without '=': what Kubernetes takes as a variable's name since 1.34."""


@dataclass(frozen=True, slots=True)
class NeededReferences:
    """Names in the pod's namespace."""

    config_maps: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class References:
    """What was found under those names; None, or absent, is not there."""

    config_maps: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, bytes] | None] = field(default_factory=dict)


def needed_references(containers: Iterable[ContainerView]) -> NeededReferences:
    """The ConfigMaps and Secrets that the environment of these containers reads, optional ones too."""
    config_maps: set[str] = set()
    secrets: set[str] = set()
    for container in containers:
        for source in container.env_from:
            config_maps.update(_names(source, "configMapRef"))
            secrets.update(_names(source, "secretRef"))
        for variable in container.env:
            config_maps.update(_names(variable.get("valueFrom") or {}, "configMapKeyRef"))
            secrets.update(_names(variable.get("valueFrom") or {}, "secretKeyRef"))
    return NeededReferences(frozenset(config_maps), frozenset(secrets))


def _names(source: JsonObject, key: str) -> list[str]:
    reference = source.get(key)
    return [str(reference.get("name") or "")] if reference else []


def resolve_env(pod: PodView, container: ContainerView, references: References, node: NodeAddresses) -> dict[str, str]:
    """Name -> value, in the order of their first mention. Raises TranslationError."""
    return _Resolver(pod, container, references, node).resolve()


@dataclass(frozen=True, slots=True)
class _Resolver:
    pod: PodView
    container: ContainerView
    references: References
    node: NodeAddresses

    def resolve(self) -> dict[str, str]:
        env: dict[str, str] = {}
        for index, source in enumerate(self.container.env_from):
            path = f"{self.container.path}.envFrom[{index}]"
            for key, value in self._env_from(source, path).items():
                env[_checked(str(source.get("prefix") or "") + key, path)] = value
        for index, variable in enumerate(self.container.env):
            path = f"{self.container.path}.env[{index}]"
            resolved = self._value(variable, env, path)
            if resolved is not None:
                env[_checked(str(variable.get("name") or ""), path)] = resolved
        return env

    def _env_from(self, source: JsonObject, path: str) -> Mapping[str, str]:
        if (reference := source.get("configMapRef")) is not None:
            return dict(sorted((self._config_map(reference, f"{path}.configMapRef") or {}).items()))
        if (reference := source.get("secretRef")) is not None:
            path = f"{path}.secretRef"
            data = self._secret(reference, path) or {}
            return {key: self._text(reference, key, value, path) for key, value in sorted(data.items())}
        raise TranslationError(path, "has neither configMapRef nor secretRef")

    def _value(self, variable: JsonObject, env: Mapping[str, str], path: str) -> str | None:
        """None leaves the variable out: an optional reference without a target."""
        source = variable.get("valueFrom")
        if variable.get("value") or not source:
            return expand(str(variable.get("value") or ""), env)
        path = f"{path}.valueFrom"
        match next(iter(source)):
            case "fieldRef":
                return self._field(str(source["fieldRef"].get("fieldPath") or ""), f"{path}.fieldRef")
            case "resourceFieldRef":
                return self._resource_field(source["resourceFieldRef"], f"{path}.resourceFieldRef")
            case "configMapKeyRef":
                return self._config_map_key(source["configMapKeyRef"], f"{path}.configMapKeyRef")
            case "secretKeyRef":
                return self._secret_key(source["secretKeyRef"], f"{path}.secretKeyRef")
            case other:
                raise TranslationError(f"{path}.{other}", "is not supported on a device", is_unsupported=True)

    def _config_map(self, reference: JsonObject, path: str) -> Mapping[str, str] | None:
        name = str(reference.get("name") or "")
        data = self.references.config_maps.get(name)
        if data is None and not reference.get("optional"):
            raise TranslationError(path, f'configmap "{name}" not found')
        return data

    def _secret(self, reference: JsonObject, path: str) -> Mapping[str, bytes] | None:
        name = str(reference.get("name") or "")
        data = self.references.secrets.get(name)
        if data is None and not reference.get("optional"):
            raise TranslationError(path, f'secret "{name}" not found')
        return data

    def _config_map_key(self, reference: JsonObject, path: str) -> str | None:
        data = self._config_map(reference, path)
        if data is None:
            return None
        return _key(data, reference, self._named("ConfigMap", reference), path)

    def _secret_key(self, reference: JsonObject, path: str) -> str | None:
        data = self._secret(reference, path)
        if data is None:
            return None
        value = _key(data, reference, self._named("Secret", reference), path)
        return None if value is None else self._text(reference, str(reference.get("key")), value, path)

    def _named(self, kind: str, reference: JsonObject) -> str:
        return f"{kind} {self.pod.namespace}/{reference.get('name')}"

    def _text(self, reference: JsonObject, key: str, value: bytes, path: str) -> str:
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            # The value itself stays out of the message: it is a secret.
            where = f"key {key} in {self._named('Secret', reference)}"
            raise TranslationError(path, f"{where} is not UTF-8 text and cannot be an environment variable") from error

    def _field(self, field_path: str, path: str) -> str:
        pod, node = self.pod, self.node
        if match := _SUBSCRIPT.fullmatch(field_path):
            return (pod.labels if match[1] == "labels" else pod.annotations).get(match[2], "")
        match field_path:
            case "metadata.name":
                return pod.name
            case "metadata.namespace":
                return pod.namespace
            case "metadata.uid":
                return pod.uid
            case "spec.nodeName":
                return pod.node_name
            case "spec.serviceAccountName":
                return pod.service_account
            case "status.hostIP" | "status.hostIPs":
                return node.host_ip
            case "status.podIP" | "status.podIPs":
                return node.pod_address
        raise TranslationError(path, f"field label not supported: {field_path}")

    def _resource_field(self, reference: JsonObject, path: str) -> str:
        """The quantity in units of the divisor, rounded up (ExtractContainerResourceValue in pkg/api/v1/resource/helpers.go)."""
        kind, _, resource = str(reference.get("resource") or "").partition(".")
        if kind not in ("limits", "requests") or not resource:
            raise TranslationError(path, f"Unsupported container resource : {reference.get('resource')}")
        container = self.container
        if name := reference.get("containerName"):
            try:
                container = self.pod.container(str(name))
            except KeyError as error:
                raise TranslationError(path, f"container {name} not found") from error
        written = container.resources(kind).get(resource)
        if written is None and kind == "requests":
            written = container.resources("limits").get(resource, "0")
        elif written is None:
            written = self.node.allocatable.get(resource, "0")
        try:
            divisor = parse_quantity(reference.get("divisor") or "1") or 1
            return str(math.ceil(parse_quantity(written) / divisor))
        except ValueError as error:
            raise TranslationError(path, str(error)) from error


def _key(data: Mapping[str, _T], reference: JsonObject, named: str, path: str) -> _T | None:
    key = str(reference.get("key") or "")
    if key not in data and not reference.get("optional"):
        raise TranslationError(path, f"couldn't find key {key} in {named}")
    return data.get(key)


def _checked(name: str, path: str) -> str:
    if not _NAME.fullmatch(name):
        raise TranslationError(path, f"{name!r} is not a name for an environment variable: printable ASCII without '='")
    return name

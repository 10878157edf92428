"""The fields of a pod and its containers: supported, ignored or refused, in one table. Pure.

Supported: it has its Kubernetes meaning here. Ignored: it cannot matter on a device, or it is somebody else's to act on. Refused: to leave
it out would be a lie about what runs; the pod waits with CreateContainerConfigError and the path of the field. A field that is not in the
table is newer than this gateway: it is reported once and never refused.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.pods.refusal import TranslationError
from gateway.pods.seams import JsonObject
from gateway.pods.view import PodView


class Support(enum.Enum):
    SUPPORTED = "supported"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Refused:
    """A set field (not null, false, 0, empty) is refused for this reason."""

    reason: str


_YES: Final = Support.SUPPORTED
_IGNORED: Final = Support.IGNORED
_NO_NAMESPACES: Final = Refused("a device shares no namespace with a host")
_NO_FILES: Final = Refused("this device holds no files")
_NO_PROBES: Final = Refused("probes are not supported yet")

POD_FIELDS: Final[Mapping[str, Support | Refused]] = {
    "activeDeadlineSeconds": _YES,
    "affinity": _IGNORED,
    "automountServiceAccountToken": _IGNORED,
    "containers": _YES,
    "dnsConfig": _IGNORED,
    "dnsPolicy": _IGNORED,
    "enableServiceLinks": _IGNORED,
    "ephemeralContainers": _IGNORED,
    "hostAliases": _IGNORED,
    "hostIPC": _NO_NAMESPACES,
    "hostNetwork": _NO_NAMESPACES,
    "hostPID": _NO_NAMESPACES,
    "hostUsers": _IGNORED,
    "hostname": _IGNORED,
    "hostnameOverride": _IGNORED,
    "imagePullSecrets": _IGNORED,
    "initContainers": _YES,
    "nodeName": _YES,
    "nodeSelector": _IGNORED,
    "os": _IGNORED,
    "overhead": _IGNORED,
    "preemptionPolicy": _IGNORED,
    "priority": _IGNORED,
    "priorityClassName": _IGNORED,
    "readinessGates": _YES,
    "resourceClaims": Refused("dynamic resource allocation is not supported; request wirelet.dev/<class>"),
    "resources": _IGNORED,
    "restartPolicy": _YES,
    "runtimeClassName": Refused("there is no container runtime to choose"),
    "schedulerName": _IGNORED,
    "schedulingGates": _IGNORED,
    "securityContext": _IGNORED,
    "serviceAccount": _YES,
    "serviceAccountName": _YES,
    "setHostnameAsFQDN": _IGNORED,
    "shareProcessNamespace": _NO_NAMESPACES,
    "subdomain": _IGNORED,
    "terminationGracePeriodSeconds": _YES,
    "tolerations": _IGNORED,
    "topologySpreadConstraints": _IGNORED,
    "volumes": _YES,  # judged one by one: see volumes.py
    "workloadRef": _IGNORED,
}

CONTAINER_FIELDS: Final[Mapping[str, Support | Refused]] = {
    "args": _YES,
    "command": _YES,
    "env": _YES,
    "envFrom": _YES,
    "image": _YES,
    "imagePullPolicy": _IGNORED,
    "lifecycle": Refused("lifecycle hooks are not supported yet"),
    "livenessProbe": _NO_PROBES,
    "name": _YES,
    "ports": _IGNORED,
    "readinessProbe": _NO_PROBES,
    "resizePolicy": _IGNORED,
    "resources": _YES,
    "restartPolicy": Refused("containers with a restartPolicy of their own (sidecars) are not supported yet"),
    "restartPolicyRules": Refused("restart rules of a container are not supported"),
    "securityContext": _IGNORED,
    "startupProbe": _NO_PROBES,
    "stdin": _YES,
    "stdinOnce": _YES,
    "terminationMessagePath": _IGNORED,
    "terminationMessagePolicy": _IGNORED,
    "tty": _YES,
    "volumeDevices": _NO_FILES,
    "volumeMounts": _YES,  # judged one by one: see volumes.py
    "workingDir": _YES,  # judged by the device's protocol, which may know no directories
}


def check_fields(pod: PodView) -> None:
    """Raise TranslationError for the first refused field that stands in the pod or in any of its containers: no part of a pod starts that
    can never run whole."""
    _check(pod.spec, "spec", POD_FIELDS)
    for container in pod.all_containers:
        _check(container.object, container.path, CONTAINER_FIELDS)


def unknown_fields(pod: PodView) -> Iterator[str]:
    """The paths of fields that this gateway has never heard of."""
    yield from (f"spec.{key}" for key in pod.spec if key not in POD_FIELDS)
    for container in pod.all_containers:
        yield from (f"{container.path}.{key}" for key in container.object if key not in CONTAINER_FIELDS)


def _check(fields: JsonObject, path: str, table: Mapping[str, Support | Refused]) -> None:
    for key, value in fields.items():
        match table.get(key):
            case Refused(reason) if value:
                raise TranslationError(f"{path}.{key}", f"{key} is refused: {reason}", is_unsupported=True)
            case _:
                pass

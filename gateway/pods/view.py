"""Read-only views over a pod object as it came from JSON or YAML: the one place that knows where a field stands and what its default is.

A view copies nothing, keeps unknown fields and never raises for an absent field: what the API server would have defaulted is defaulted
here. It refuses to decide anything.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from gateway.pods.seams import JsonObject, PodIdentity, PodUid
from gateway.pods.times import parse_time

DEFAULT_GRACE_S: Final = 30.0
"""terminationGracePeriodSeconds as the API server defaults it."""
TERMINAL_PHASES: Final = frozenset({"Succeeded", "Failed"})


class RestartPolicy(enum.Enum):
    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


@dataclass(frozen=True)
class ContainerView:
    """One container. path is where it stands in the pod, for messages: spec.containers[0]."""

    object: JsonObject
    path: str
    is_init: bool

    @property
    def name(self) -> str:
        return str(self.object["name"])

    @property
    def image(self) -> str:
        return str(self.object.get("image") or "")

    @property
    def command(self) -> Sequence[str]:
        return self.object.get("command") or ()

    @property
    def args(self) -> Sequence[str]:
        return self.object.get("args") or ()

    @property
    def working_dir(self) -> str:
        return str(self.object.get("workingDir") or "")

    @property
    def env(self) -> Sequence[JsonObject]:
        return self.object.get("env") or ()

    @property
    def env_from(self) -> Sequence[JsonObject]:
        return self.object.get("envFrom") or ()

    @property
    def volume_mounts(self) -> Sequence[JsonObject]:
        return self.object.get("volumeMounts") or ()

    @property
    def tty(self) -> bool:
        return bool(self.object.get("tty"))

    @property
    def stdin(self) -> bool:
        return bool(self.object.get("stdin"))

    @property
    def is_sidecar(self) -> bool:
        """An init container that goes on beside the others."""
        return self.is_init and self.object.get("restartPolicy") == "Always"

    def resources(self, kind: str) -> Mapping[str, Any]:
        """kind is requests or limits; quantities as written."""
        return (self.object.get("resources") or {}).get(kind) or {}


@dataclass(frozen=True)
class PodView:
    """One pod."""

    object: JsonObject

    @cached_property
    def _metadata(self) -> JsonObject:
        return self.object.get("metadata") or {}

    @cached_property
    def spec(self) -> JsonObject:
        return self.object.get("spec") or {}

    @cached_property
    def status(self) -> JsonObject:
        """What the source last said; our own newest write may not be in it yet."""
        return self.object.get("status") or {}

    @property
    def uid(self) -> PodUid:
        return PodUid(str(self._metadata["uid"]))

    @property
    def name(self) -> str:
        return str(self._metadata["name"])

    @property
    def namespace(self) -> str:
        return str(self._metadata.get("namespace") or "default")

    @property
    def identity(self) -> PodIdentity:
        return PodIdentity(self.uid, self.namespace, self.name)

    @property
    def labels(self) -> Mapping[str, str]:
        return self._metadata.get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        return self._metadata.get("annotations") or {}

    @property
    def generation(self) -> int | None:
        return self._metadata.get("generation")

    @property
    def controller_uid(self) -> str | None:
        """uid of the ReplicaSet, DaemonSet, Job ... that would replace this pod."""
        owner = self._controller
        return str(owner["uid"]) if owner else None

    @property
    def is_daemon(self) -> bool:
        owner = self._controller
        return owner is not None and owner.get("kind") == "DaemonSet"

    @property
    def _controller(self) -> JsonObject | None:
        owners: Sequence[JsonObject] = self._metadata.get("ownerReferences") or ()
        return next((owner for owner in owners if owner.get("controller")), None)

    @cached_property
    def containers(self) -> tuple[ContainerView, ...]:
        return self._views("containers", is_init=False)

    @cached_property
    def init_containers(self) -> tuple[ContainerView, ...]:
        return self._views("initContainers", is_init=True)

    @property
    def all_containers(self) -> tuple[ContainerView, ...]:
        """Init containers first, in the order in which they would start."""
        return self.init_containers + self.containers

    def container(self, name: str) -> ContainerView:
        """Raises KeyError."""
        for container in self.all_containers:
            if container.name == name:
                return container
        raise KeyError(name)

    def _views(self, key: str, *, is_init: bool) -> tuple[ContainerView, ...]:
        containers: Sequence[JsonObject] = self.spec.get(key) or ()
        return tuple(ContainerView(container, f"spec.{key}[{index}]", is_init) for index, container in enumerate(containers))

    @property
    def restart_policy(self) -> RestartPolicy:
        return RestartPolicy(self.spec.get("restartPolicy") or "Always")

    @property
    def is_deleting(self) -> bool:
        return bool(self._metadata.get("deletionTimestamp"))

    @property
    def grace_s(self) -> float:
        """How long a stop may take: deletionGracePeriodSeconds once it is being deleted, else the pod's own."""
        for holder, key in ((self._metadata, "deletionGracePeriodSeconds"), (self.spec, "terminationGracePeriodSeconds")):
            if holder.get(key) is not None:
                return max(0.0, float(holder[key]))
        return DEFAULT_GRACE_S

    @property
    def active_deadline_s(self) -> float | None:
        value = self.spec.get("activeDeadlineSeconds")
        return None if value is None else float(value)

    @property
    def phase(self) -> str:
        return str(self.status.get("phase") or "Pending")

    @property
    def is_terminal(self) -> bool:
        """Succeeded or Failed, as the source says: never to run again."""
        return self.phase in TERMINAL_PHASES

    @property
    def start_time(self) -> float | None:
        return parse_time(self.status.get("startTime"))

    @property
    def node_name(self) -> str:
        return str(self.spec.get("nodeName") or "")

    @property
    def service_account(self) -> str:
        return str(self.spec.get("serviceAccountName") or self.spec.get("serviceAccount") or "default")

    def container_status(self, name: str) -> JsonObject | None:
        """What the source last said of one container, init or not."""
        for key in ("initContainerStatuses", "containerStatuses"):
            for status in self.status.get(key) or ():
                if status.get("name") == name:
                    found: JsonObject = status
                    return found
        return None

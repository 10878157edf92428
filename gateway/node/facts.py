"""What the gateway knows about itself and its machine, as the Node object tells it. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from gateway.version import KUBELET_VERSION, VERSION

RUNTIME: Final = "wirelet://"
RUNTIME_VERSION: Final = RUNTIME + VERSION
_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True)
class Taint:
    key: str
    value: str
    effect: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """key=value:Effect or key:Effect. Raises ValueError with what is allowed."""
        body, _, effect = text.rpartition(":")
        key, _, value = body.partition("=")
        if not key or effect not in _EFFECTS:
            raise ValueError(f"must be key=value:Effect with an effect of {', '.join(_EFFECTS)}, not {text!r}")
        return cls(key, value, effect)


DEFAULT_TAINT: Final = Taint("virtual-kubelet.io/provider", "wirelet", "NoSchedule")
"""Keeps pods off that were not written for devices; manifests for virtual kubelets tolerate its key."""


@dataclass(frozen=True, slots=True)
class NodeCondition:
    type: str
    status: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ClassSlots:
    """capacity: slots of all configured devices; allocatable: of those that can take a workload now."""

    capacity: int
    allocatable: int


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The machine. Read once: nothing of it changes while a process lives. `node.host` reads it."""

    machine_id: str = ""
    system_uuid: str = ""
    boot_id: str = ""
    kernel_version: str = ""
    os_image: str = ""
    architecture: str = ""
    """Go's word: amd64, arm64, arm."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    name: str
    internal_ip: str
    hostname: str
    port: int
    """Where the kubelet endpoint listens."""
    host: HostFacts
    classes: Mapping[str, ClassSlots] = field(default_factory=dict)
    """By class name, without the prefix wirelet.dev/."""
    capacity: Mapping[str, str] = field(default_factory=lambda: {"cpu": "100", "memory": "100Gi", "pods": "100"})
    labels: Mapping[str, str] = field(default_factory=dict)
    """Besides ours, and instead of ours where a key is the same."""
    taints: Sequence[Taint] = (DEFAULT_TAINT,)
    """Set when the Node is created; a node identity may not change them later."""
    conditions: Sequence[NodeCondition] = ()
    """Besides the four standard ones, and instead of one of the same type. A condition that was published once stays on the Node: to take
    it back, publish it with the other status."""
    declared_features: Sequence[str] = ()
    """UpperCamelCase; for example ExtendWebSocketsToKubelet once the endpoint speaks WebSocket."""
    operating_system: str = "linux"
    kubelet_version: str = KUBELET_VERSION

"""What the pod controller asks of its surroundings, and the values that cross the seams.

`PodSource` and `StatusSink` have two implementations: the Kubernetes API and the manifest directory of standalone mode. `Workloads` is
the devices. The controller knows none of them; app.py puts them together.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NewType, Protocol

PodUid = NewType("PodUid", str)

JsonObject = dict[str, Any]
"""A Kubernetes object as it came from JSON or YAML; read through PodView."""


@dataclass(frozen=True, slots=True)
class Program:
    """What one container asks of a device, resolved: nothing in it refers to the cluster any more."""

    image: str
    argv: tuple[str, ...] = ()
    """command + args after $(VAR) expansion, without the program's name."""
    env: tuple[tuple[str, str], ...] = ()
    tty: bool = False
    stdin: bool = False
    working_dir: str = ""


class AttemptState(enum.Enum):
    """One run of one container, as far as the gateway knows."""

    INTENDED = "intended"
    """In the ledger; the device has not confirmed it."""
    RUNNING = "running"
    STOPPING = "stopping"
    EXITED = "exited"
    """Ended, and its log is stored or declared lost up to the end."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """gen counts from 1 for each container of a pod uid. Times are Unix seconds."""

    gen: int
    state: AttemptState
    container_id: str
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    """Completed, Error, OOMKilled, DevicePanic, DeviceRebooted, ContainerStatusUnknown ...: CamelCase for containerStatuses."""
    message: str = ""
    is_ready: bool = True
    """While it runs; a device may say that it is not ready yet."""


@dataclass(frozen=True, slots=True)
class PodObservation:
    """What the devices say about one pod, now."""

    attempts: Mapping[str, Sequence[Attempt]] = field(default_factory=dict)
    """By container name, oldest first; at least the last two are kept. A container without attempts is absent."""
    devices: Mapping[str, str] = field(default_factory=dict)
    """Container name -> device it is assigned to."""
    connected: bool = True
    """False while a device of the pod has no session, and has had none for longer than a restart mostly takes."""
    restarting: bool = False
    """Not connected, but its devices leave in this way when they restart, and may be back in a moment."""
    connection_changes_at: float | None = None
    """Loop time at which one of the two will be different, if no device comes back before."""
    lent: bool = False
    """Not connected, because another program of a person has the port of each device that is absent."""
    off: bool = False
    """Not connected, because a person has switched each device off that is absent."""


class StartRefused(Exception):
    """A container cannot start now. reason is the waiting reason of its status; the controller backs off and tries again."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class AdmissionRejected(Exception):
    """The pod can never run on this node (OutOf<resource>, affinity, OS): phase Failed with this reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Workloads(Protocol):
    """The devices, as pods see them. Implemented by gateway.devices."""

    def observe(self, uid: PodUid) -> PodObservation: ...

    def known_pods(self) -> Sequence[PodUid]:
        """Every pod uid that holds a slot or an attempt, also those that no source knows any more."""
        ...

    def settled(self) -> bool:
        """Every device that can answer has said what runs on it, or its start-up deadline has passed."""
        ...

    async def start(self, pod: PodIdentity, container: str, gen: int, program: Program, claims: Claims) -> None:
        """Choose a slot (once per container), write the intent, send START, write its answer. Idempotent per (uid, container, gen).

        Raises StartRefused or AdmissionRejected. Returns when the device runs it (observe() then says RUNNING or EXITED).
        """
        ...

    async def stop(self, uid: PodUid, container: str, grace_s: float) -> None:
        """Ask for the end of the current attempt; a shorter grace shortens it. Returns at once; observe() tells the end."""
        ...

    async def retire(self, uid: PodUid) -> None:
        """The pod is Succeeded or Failed: free its slots for others; its attempts and logs stay. Idempotent and cheap."""
        ...

    async def release(self, uid: PodUid) -> None:
        """The pod object is gone and every attempt ended: free slots, exit records and rings."""
        ...


@dataclass(frozen=True, slots=True)
class PodIdentity:
    uid: PodUid
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Claims:
    """What the pod asks for, read from resources.requests and annotations. `containers` maps every container of the pod (init too)
    to its request: class name -> count."""

    containers: Mapping[str, Mapping[str, int]]
    device: str | None = None
    """The annotation wirelet.dev/device narrows the choice to one device."""
    inits: frozenset[str] = frozenset()
    """Those of `containers` that run before the others, in slots that the others take over."""
    log_bytes: int | None = None
    """The annotation wirelet.dev/log-bytes: what the log of each attempt may grow to; None for the node's own size."""
    from_boot: bool = False
    """The annotation wirelet.dev/log-from: the log of each attempt begins with the boot before it, where the device's log has that."""


class PodSource(Protocol):
    """The pods bound to this node."""

    def pods(self) -> Sequence[JsonObject]: ...

    def get(self, uid: PodUid) -> JsonObject | None: ...

    @property
    def synced(self) -> bool:
        """A full list was seen; before that a missing pod means nothing."""
        ...

    def subscribe(self, changed: Callable[[PodUid], None]) -> None:
        """changed is called on the loop for every pod that was added, modified or removed."""
        ...

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """Its data, or None if there is none. Raises SourceUnavailable."""
        ...

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None: ...


class SourceUnavailable(Exception):
    """The API server cannot be asked now; try again later."""


class StatusSink(Protocol):
    """Where statuses and events go. Writes are idempotent; nothing is sent when nothing changed."""

    async def write_status(self, pod: JsonObject, status: JsonObject) -> None:
        """status holds only the fields that we own; conditions of others are left alone. Raises SourceUnavailable.

        Returns quietly when the pod is gone or another pod has its name."""
        ...

    async def finish(self, pod: JsonObject) -> None:
        """The pod is being deleted and everything has ended: remove the object (grace 0, uid precondition)."""
        ...

    def event(self, pod: JsonObject, kind: str, reason: str, message: str, container: str | None = None) -> None:
        """kind is Normal or Warning. Never blocks, never raises; correlation is the sink's."""
        ...

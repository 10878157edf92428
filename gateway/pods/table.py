"""StatusTable: the StatusSink of standalone mode. Statuses go back onto the objects of the manifest directory, events into a bounded list.

Nothing is written to disk: after a restart the statuses are built anew from the ledger and the devices.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from gateway.pods.seams import JsonObject, PodUid
from gateway.pods.times import format_time

MAX_EVENTS: Final = 1000
"""Kept in all; the oldest go first. Repeated ones are counted, not kept again."""
MAX_MESSAGE_BYTES: Final = 1024
"""As the API server allows for an event."""


class StatusHolder(Protocol):
    """Where statuses are kept: the manifest directory."""

    def set_status(self, uid: PodUid, status: JsonObject) -> None: ...

    def finish(self, uid: PodUid) -> None: ...


class StatusTable:
    """Implements gateway.pods.seams.StatusSink."""

    def __init__(self, holder: StatusHolder, *, wall: Callable[[], float] = time.time) -> None:
        self._holder = holder
        self._wall = wall
        self._events: OrderedDict[tuple[str, ...], JsonObject] = OrderedDict()

    async def write_status(self, pod: JsonObject, status: JsonObject) -> None:
        self._holder.set_status(PodUid(pod["metadata"]["uid"]), status)

    async def finish(self, pod: JsonObject) -> None:
        self._holder.finish(PodUid(pod["metadata"]["uid"]))

    def event(self, pod: JsonObject, kind: str, reason: str, message: str, container: str | None = None) -> None:
        metadata = pod["metadata"]
        message = _one_line(message)
        key = (metadata["uid"], kind, reason, message, container or "")
        now = format_time(self._wall())
        known = self._events.pop(key, None)
        if known is None:
            known = _event(pod, kind, reason, message, container, now)
        self._events[key] = {**known, "count": known["count"] + 1, "lastTimestamp": now}
        while len(self._events) > MAX_EVENTS:
            self._events.popitem(last=False)

    def events(self) -> Sequence[JsonObject]:
        """The newest events, oldest first, shaped as core/v1 Events."""
        return list(self._events.values())


def _event(pod: JsonObject, kind: str, reason: str, message: str, container: str | None, now: str) -> JsonObject:
    metadata = pod["metadata"]
    involved = {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]}
    if container is not None:
        involved["fieldPath"] = f"spec.containers{{{container}}}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": metadata["namespace"]},
        "involvedObject": involved,
        "type": kind,
        "reason": reason,
        "message": message,
        "source": {"component": "wirelet"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 0,
    }


def _one_line(message: str) -> str:
    """Device text must not move a terminal's cursor."""
    clean = "".join(character if character.isprintable() else " " for character in message)
    return clean.encode()[:MAX_MESSAGE_BYTES].decode(errors="ignore")

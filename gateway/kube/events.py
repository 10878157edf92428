"""Events for people: who asks says what happened, and a single writer sends them behind the statuses.

Asking never blocks and never fails. Up to QUEUE events wait; more are dropped and counted. An event that the server refuses is dropped
with a log line, as client-go does; one that it could not take is tried again.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import anyio

from gateway.kube.api import KubeApi, PatchKind
from gateway.kube.backoff import Backoff
from gateway.kube.correlation import Correlator, Event, EventWrite, InvolvedObject, clean
from gateway.kube.errors import KubeApiError, NotFound, TooManyRequests
from gateway.pods.seams import JsonObject
from gateway.pods.times import format_time

_logger = logging.getLogger(__name__)

COMPONENT: Final = "wirelet"
QUEUE: Final = 4096
"""Four times client-go's: 1000 pods that start at once fill it, with less than 1 KiB an event."""
GIVE_WAY_S: Final = 8.0
"""So long an event waits while statuses are written: for the server it is as much work as the status that people wait for."""
GIVE_WAY_LOOK_S: Final = 0.02
TRIES: Final = 12
"""client-go's maxTriesPerEvent."""
RETRY_CAP_S: Final = 10.0
MAX_REASON_CHARS: Final = 128


class KubeEvents:
    """run() is the writer. `dropped` counts what never reached the server, for a metric."""

    def __init__(self, api: KubeApi, node_name: str, *, now: Callable[[], float] = time.time) -> None:
        self._api = api
        self._node_name = node_name
        self._now = now
        self._correlator = Correlator()
        self._backoff = Backoff(cap_s=RETRY_CAP_S)
        self._waiting: deque[tuple[Event, float]] = deque()
        self._arrived = anyio.Event()
        self._overflowed = 0
        self._refused = 0

    @property
    def dropped(self) -> int:
        return self._overflowed + self._refused + self._correlator.dropped

    @property
    def waiting(self) -> int:
        """Events that are not sent yet."""
        return len(self._waiting)

    def pod_event(self, pod: JsonObject, kind: str, reason: str, message: str, container: str | None = None) -> None:
        """kind is Normal or Warning."""
        metadata = pod["metadata"]
        path = "" if container is None else _field_path(pod, container)
        involved = InvolvedObject("v1", "Pod", str(metadata["namespace"]), str(metadata["name"]), str(metadata["uid"]), path)
        self._put(involved, kind, reason, message)

    def node_event(self, kind: str, reason: str, message: str) -> None:
        """About this gateway's node. kubectl describe looks for the node's name in the uid, where kubelets put it."""
        self._put(InvolvedObject("v1", "Node", "", self._node_name, self._node_name), kind, reason, message)

    async def run(self) -> None:
        """Until cancelled; what waits then is lost."""
        while True:
            while self._waiting:
                event, at_s = self._waiting[0]
                write = self._correlator.correlate(event, at_s)
                if write is not None:
                    await self._give_way(at_s)
                    await self._deliver(write)
                self._waiting.popleft()
            self._arrived = anyio.Event()
            await self._arrived.wait()

    async def _give_way(self, at_s: float) -> None:
        while self._api.is_writing and 0 <= self._now() - at_s < GIVE_WAY_S:  # noqa: ASYNC110 - a pause between writes needs no exact end
            await anyio.sleep(GIVE_WAY_LOOK_S)

    def _put(self, involved: InvolvedObject, kind: str, reason: str, message: str) -> None:
        if len(self._waiting) >= QUEUE:
            self._overflowed += 1
            if self._overflowed == 1:
                _logger.warning("too many events wait for the API server; the newest are dropped")
            return
        self._waiting.append((Event(involved, kind, reason[:MAX_REASON_CHARS], clean(message)), self._now()))
        self._arrived.set()

    async def _deliver(self, write: EventWrite) -> None:
        self._backoff.reset()
        for _ in range(TRIES):
            try:
                await self._send(write)
            except KubeApiError as error:
                if not error.retryable or error.status == 403:
                    # Also a namespace that is being removed: it takes no new objects.
                    self._refused += 1
                    _logger.info("the API server refuses an event: %s", error, extra={"reason": write.event.reason})
                    return
                await anyio.sleep(max(self._backoff.next_s(), error.retry_after_s if isinstance(error, TooManyRequests) else 0.0))
            else:
                return
        self._refused += 1
        _logger.warning("an event could not be delivered", extra={"reason": write.event.reason})

    async def _send(self, write: EventWrite) -> None:
        collection = f"/api/v1/namespaces/{_namespace(write.event.involved)}/events"
        if write.count > 1:
            try:
                await self._api.patch(f"{collection}/{write.name}", _patch(write), PatchKind.STRATEGIC)
            except NotFound:  # events live for an hour
                pass
            else:
                return
        await self._api.put_event(collection, self._object(write))

    def _object(self, write: EventWrite) -> JsonObject:
        event, involved = write.event, write.event.involved
        reference = {
            "apiVersion": involved.api_version,
            "kind": involved.kind,
            "namespace": involved.namespace,
            "name": involved.name,
            "uid": involved.uid,
            "fieldPath": involved.field_path,
        }
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": _namespace(involved), "name": write.name},
            "involvedObject": {key: value for key, value in reference.items() if value},
            "type": event.kind,
            "reason": event.reason,
            "message": event.message,
            "source": {"component": COMPONENT, "host": self._node_name},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._node_name,
            "firstTimestamp": format_time(write.first_s),
            "lastTimestamp": format_time(write.last_s),
            "count": write.count,
        }


def _patch(write: EventWrite) -> JsonObject:
    return {"count": write.count, "lastTimestamp": format_time(write.last_s), "message": write.event.message}


def _namespace(involved: InvolvedObject) -> str:
    """Events about cluster-wide objects live in default."""
    return involved.namespace or "default"


def _field_path(pod: JsonObject, container: str) -> str:
    for group in ("containers", "initContainers", "ephemeralContainers"):
        if any(declared.get("name") == container for declared in pod["spec"].get(group) or ()):
            return f"spec.{group}{{{container}}}"
    return ""

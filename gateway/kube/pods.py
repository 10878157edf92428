"""The pods of this node by the Kubernetes API: PodSource and StatusSink of gateway.pods.seams.

Pods come from one list and watch with the field selector spec.nodeName, of one namespace or of all. ConfigMaps and Secrets are read one by
one when a pod that names them asks, and kept for a moment: a node may not list them. Statuses go out by PATCH with the pod's uid, only
when something differs.
"""

from __future__ import annotations

import base64
import binascii
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from gateway.kube.api import KubeApi, PatchKind
from gateway.kube.errors import Conflict, KubeApiError, NotFound, Unprocessable
from gateway.kube.events import KubeEvents
from gateway.kube.reference_reader import ReferenceReader
from gateway.kube.references import Reference, ReferenceKind
from gateway.kube.reflector import Reflector
from gateway.kube.slim import slim_pod
from gateway.kube.status import is_overtaken, status_patch
from gateway.kube.store import Added, Change, Deleted, Modified, Store, Synced, uid_of, version_of
from gateway.pods.seams import JsonObject, PodUid, SourceUnavailable

_logger = logging.getLogger(__name__)

UID_MISMATCH: Final = "UID in precondition"
"""storage.Preconditions.Check in k8s.io/apiserver; the answer has no field that says the same."""


class KubePodSource:
    """run() keeps it up to date. Everything else is a look into memory, except config_map() and secret()."""

    def __init__(self, api: KubeApi, node_name: str, namespace: str | None = None, *, now: Callable[[], float] = time.monotonic) -> None:
        """namespace: only pods of this one."""
        self._api = api
        self._store = Store(slim_pod)
        path = "/api/v1/pods" if namespace is None else f"/api/v1/namespaces/{namespace}/pods"
        self._reflector = Reflector(api, path, {"fieldSelector": f"spec.nodeName={node_name}"}, self._store, self._tell)
        self._references = ReferenceReader(api, now)
        self._subscribers: list[Callable[[PodUid], None]] = []
        self._kept_back: dict[PodUid, set[str]] = {}
        """Pods that are being written, and the versions that the watch told meanwhile."""
        self._on_synced: list[Callable[[], None]] = []

    async def run(self) -> None:
        """Until cancelled."""
        await self._reflector.run()

    def pods(self) -> Sequence[JsonObject]:
        return self._store.objects()

    def get(self, uid: PodUid) -> JsonObject | None:
        return self._store.get(uid)

    @property
    def synced(self) -> bool:
        """True after two whole lists in a row, so that a pod which is not here does not exist."""
        return self._store.synced

    def subscribe(self, changed: Callable[[PodUid], None]) -> None:
        self._subscribers.append(changed)

    def when_synced(self, told: Callable[[], None]) -> None:
        """told is called on the loop when the lists are complete, again after every relist."""
        self._on_synced.append(told)

    def confirm(self, pod: JsonObject) -> None:
        """The answer to our own write is the newest version of the pod."""
        self._store.confirm(pod)
        self._kept_back.get(PodUid(uid_of(pod)), set()).discard(version_of(pod))

    @contextmanager
    def writing(self, uid: PodUid) -> Iterator[set[str]]:
        """A write to this pod is on its way. The watch mostly tells of it before the answer comes, and that is no news. Yields the versions
        that the watch has told; those that are left at the end are looked at, and confirm() takes the one that is our own."""
        told = self._kept_back.setdefault(uid, set())
        try:
            yield told
        finally:
            self._kept_back.pop(uid, None)
            if told:
                self.look_again(uid)

    def look_again(self, uid: PodUid) -> None:
        """An answer said more of this pod than the watch will."""
        for changed in self._subscribers:
            changed(uid)

    def forget(self, uid: PodUid) -> None:
        """The server said that this pod is gone; the watch will say it too."""
        self._tell(self._store.forget(uid))

    async def config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        found = await self._references.read(Reference(ReferenceKind.CONFIG_MAP, namespace, name))
        return None if found is None else {str(key): str(value) for key, value in (found.get("data") or {}).items()}

    async def secret(self, namespace: str, name: str) -> Mapping[str, bytes] | None:
        found = await self._references.read(Reference(ReferenceKind.SECRET, namespace, name))
        if found is None:
            return None
        try:
            return {str(key): base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
        except (binascii.Error, TypeError) as error:
            raise SourceUnavailable(f"secret {namespace}/{name} is not base64: {error}") from error

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, Synced):
                for told in self._on_synced:
                    told()
                continue
            if isinstance(change, Added):
                self._references.named(change.object)
            elif isinstance(change, Deleted):
                self._references.unnamed(change.object)
            uid = PodUid(uid_of(change.object))
            if isinstance(change, Modified) and uid in self._kept_back:
                self._kept_back[uid].add(version_of(change.object))
            else:
                self.look_again(uid)


class KubeStatusSink:
    """Writes what the pod controller decided; asks the source for the newest version of a pod and tells it the answers."""

    def __init__(self, api: KubeApi, source: KubePodSource, events: KubeEvents) -> None:
        self._api = api
        self._source = source
        self._events = events

    async def write_status(self, pod: JsonObject, status: JsonObject) -> None:
        newest = self._source.get(PodUid(uid_of(pod)))
        if newest is None:
            return
        patch = status_patch(newest, status)
        if patch is None:
            return
        try:
            with self._source.writing(PodUid(uid_of(pod))):
                answer = await self._api.patch(f"{_path(pod)}/status", patch, PatchKind.STRATEGIC)
                self._source.confirm(answer)
            if is_overtaken(newest, answer, status):
                self._source.look_again(PodUid(uid_of(pod)))
        except NotFound:
            self._source.forget(PodUid(uid_of(pod)))
        except Unprocessable as error:
            if not _is_other_pod(error):
                _logger.error("the API server refuses a pod's status: %s", error, extra=_names(pod))
                raise SourceUnavailable(str(error)) from error
            _logger.info("another pod has the name", extra=_names(pod))
            self._source.forget(PodUid(uid_of(pod)))
        except KubeApiError as error:
            raise SourceUnavailable(str(error)) from error

    async def finish(self, pod: JsonObject) -> None:
        newest = self._source.get(PodUid(uid_of(pod)))
        if newest is None or _waits_for_finalizers(newest):
            return
        try:
            with self._source.writing(PodUid(uid_of(pod))) as told:
                await self._api.delete(_path(pod), uid=uid_of(pod), grace_period_s=0)
                told.clear()  # the server takes the grace, then the pod; of a pod that has ended nothing else matters here
        except NotFound:
            self._source.forget(PodUid(uid_of(pod)))
        except Conflict as error:
            if UID_MISMATCH not in str(error):
                raise SourceUnavailable(str(error)) from error
            _logger.info("another pod has the name", extra=_names(pod))
            self._source.forget(PodUid(uid_of(pod)))
        except KubeApiError as error:
            raise SourceUnavailable(str(error)) from error

    def event(self, pod: JsonObject, kind: str, reason: str, message: str, container: str | None = None) -> None:
        self._events.pod_event(pod, kind, reason, message, container)


def _path(pod: JsonObject) -> str:
    metadata = pod["metadata"]
    return f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"


def _is_other_pod(error: Unprocessable) -> bool:
    """A PATCH with the uid of a pod that is gone tries to change the uid of the new one, and a uid cannot be changed."""
    return "metadata.uid" in error.causes


def _waits_for_finalizers(pod: JsonObject) -> bool:
    """Deleted with no grace before, and still here: somebody else's finalizers hold it, and asking again does not help."""
    metadata = pod["metadata"]
    return (
        bool(metadata.get("finalizers"))
        and metadata.get("deletionTimestamp") is not None
        and metadata.get("deletionGracePeriodSeconds") == 0
    )


def _names(pod: JsonObject) -> dict[str, str]:
    metadata = pod["metadata"]
    return {"pod": f"{metadata['namespace']}/{metadata['name']}", "uid": uid_of(pod)}

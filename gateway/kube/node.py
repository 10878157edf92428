"""The Node object of this gateway by the Kubernetes API: NodeObjects of gateway.node.seams.

One watch with the field selector metadata.name: a node may read itself and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gateway.kube.api import KubeApi, PatchKind
from gateway.kube.errors import KubeApiError, NotFound, Unprocessable
from gateway.kube.lease import LEASES
from gateway.kube.reflector import Reflector
from gateway.kube.store import Change, Store, uid_of
from gateway.kube.watch import WatchEvent, WatchKind
from gateway.pods.seams import JsonObject, SourceUnavailable

NODES: Final = "/api/v1/nodes"


class KubeNode:
    """run() keeps it up to date."""

    def __init__(self, api: KubeApi, name: str) -> None:
        self._api = api
        self._name = name
        self._store = Store(_slim)
        self._reflector = Reflector(api, NODES, {"fieldSelector": f"metadata.name={name}"}, self._store, self._tell)
        self._subscribers: list[Callable[[], None]] = []

    async def run(self) -> None:
        """Until cancelled."""
        await self._reflector.run()

    @property
    def synced(self) -> bool:
        return self._store.synced

    def get(self) -> JsonObject | None:
        objects = self._store.objects()
        return objects[-1] if objects else None

    def uid(self) -> str | None:
        """For the lease's owner reference."""
        node = self.get()
        return None if node is None else uid_of(node)

    def subscribe(self, changed: Callable[[], None]) -> None:
        self._subscribers.append(changed)

    async def create(self, node: JsonObject) -> None:
        try:
            created = await self._api.create(NODES, node)
        except KubeApiError as error:  # AlreadyExists too: the watch is about to show it
            raise SourceUnavailable(str(error)) from error
        self._tell(self._store.apply(WatchEvent(WatchKind.ADDED, created)))

    async def patch(self, body: JsonObject, subresource: str) -> None:
        path = f"{NODES}/{self._name}/{subresource}".rstrip("/")
        try:
            self._store.confirm(await self._api.patch(path, body, PatchKind.STRATEGIC))
        except NotFound as error:
            self._tell(self._store.forget(body["metadata"]["uid"]))
            raise SourceUnavailable("the Node was deleted") from error
        except Unprocessable as error:
            if "metadata.uid" in error.causes:
                self._tell(self._store.forget(body["metadata"]["uid"]))
            raise SourceUnavailable(str(error)) from error
        except KubeApiError as error:
            raise SourceUnavailable(str(error)) from error

    async def lease(self) -> JsonObject | None:
        try:
            return await self._api.get(f"{LEASES}/{self._name}")
        except NotFound:
            return None
        except KubeApiError as error:
            raise SourceUnavailable(str(error)) from error

    def _tell(self, changes: Sequence[Change]) -> None:
        if changes:
            for changed in self._subscribers:
                changed()


def _slim(node: JsonObject) -> JsonObject:
    """In place: the object belongs to nobody yet."""
    node.get("metadata", {}).pop("managedFields", None)
    return node

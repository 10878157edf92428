"""What the node controller asks of the cluster. Implemented by gateway.kube.node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.errors import GatewayError
from gateway.pods.seams import JsonObject


class NodeNameTaken(GatewayError):
    """Another machine is this node. Nothing was written; the gateway has to end and say so."""


class NodeObjects(Protocol):
    """One Node object and its lease. Every request raises SourceUnavailable: not carried out, or nobody knows; look again later."""

    @property
    def synced(self) -> bool:
        """False until the server was asked: then no Node means that there is none."""
        ...

    def get(self) -> JsonObject | None:
        """The newest that is known, the answers to our own writes included."""
        ...

    def subscribe(self, changed: Callable[[], None]) -> None: ...

    async def create(self, node: JsonObject) -> None: ...

    async def patch(self, body: JsonObject, subresource: str) -> None:
        """Strategic merge; subresource is `status` or empty. The body carries the uid."""
        ...

    async def lease(self) -> JsonObject | None: ...

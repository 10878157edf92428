"""Reads the ConfigMaps and Secrets that pods name: one GET each, kept for a moment, never a list and never two at a time for one object."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Final

import anyio

from gateway.kube.api import KubeApi
from gateway.kube.errors import KubeApiError, NotFound
from gateway.kube.references import Reference, references
from gateway.kube.store import uid_of
from gateway.pods.seams import JsonObject, SourceUnavailable

REFERENCE_TTL_S: Final = 10.0
"""A new pod that names the object reads it again at once, so this only covers restarts and bursts."""
SETTLE_S: Final = 0.15
"""The Node authorizer learns of a new pod by a watch of its own, a moment after or before us; a GET that is faster is a 403 (9 of 60 in a
burst of pods with a ConfigMap each, none with this)."""
MISSING_TTL_S: Final = 1.0
"""A missing ConfigMap is what a person is about to create."""
MAX_REFERENCES: Final = 1024
"""110 pods with a handful each stay below; beyond it the oldest are read again."""


class ReferenceReader:
    """named() and unnamed() tell which pods there are; a new pod reads what it names afresh."""

    def __init__(self, api: KubeApi, now: Callable[[], float]) -> None:
        self._api = api
        self._now = now
        self._kept: dict[Reference, tuple[float, JsonObject | None]] = {}
        """The loop time until which the object (None: there is none) may be used; oldest first."""
        self._named: defaultdict[Reference, dict[str, float]] = defaultdict(dict)
        """Which pods name it, and since when we know: the server knows by then, or SETTLE_S later."""
        self._locks: defaultdict[Reference, anyio.Lock] = defaultdict(anyio.Lock)

    def named(self, pod: JsonObject) -> None:
        for reference in references(pod):
            self._named[reference][uid_of(pod)] = self._now()
            self._kept.pop(reference, None)

    def unnamed(self, pod: JsonObject) -> None:
        for reference in references(pod):
            self._named[reference].pop(uid_of(pod), None)
            if not self._named[reference]:
                del self._named[reference]
                self._kept.pop(reference, None)
                self._locks.pop(reference, None)

    async def read(self, reference: Reference) -> JsonObject | None:
        """None when there is no such object. Raises SourceUnavailable."""
        async with self._locks[reference]:
            until, found = self._kept.get(reference, (0.0, None))
            if self._now() < until:
                return found
            await self._settle(reference)
            return await self._ask(reference)

    async def _settle(self, reference: Reference) -> None:
        since = self._named.get(reference)
        if since:
            await anyio.sleep(max(0.0, min(since.values()) + SETTLE_S - self._now()))

    async def _ask(self, reference: Reference) -> JsonObject | None:
        try:
            found = await self._api.get(f"/api/v1/namespaces/{reference.namespace}/{reference.kind.value}/{reference.name}")
        except NotFound:
            self._keep(reference, None, MISSING_TTL_S)
            return None
        except KubeApiError as error:
            raise SourceUnavailable(f"{reference.kind.value} {reference.namespace}/{reference.name}: {error}") from error
        self._keep(reference, found, REFERENCE_TTL_S)
        return found

    def _keep(self, reference: Reference, found: JsonObject | None, ttl_s: float) -> None:
        self._kept.pop(reference, None)
        while len(self._kept) >= MAX_REFERENCES:
            del self._kept[next(iter(self._kept))]
        self._kept[reference] = (self._now() + ttl_s, found)

"""Keeps a Store like the server's: list, then watch from there, for ever.

A watch that ends goes on at the last version it saw; 410 Gone lists again, at once; everything else waits with a growing, jittered
delay, and so does a watch that ends at once with nothing in it, or is too old again and again. No decision is made here about what the
changes mean.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import anyio

from gateway.kube.api import KubeApi
from gateway.kube.backoff import Backoff
from gateway.kube.errors import Gone, KubeApiError, TooManyRequests, Unavailable
from gateway.kube.store import Change, Store, version_of

_logger = logging.getLogger(__name__)

SHORT_WATCH_S: Final = 1.0
"""client-go's bound, too: a server that is ending, or a proxy, may close each watch that it has just accepted."""

RETRY_CAP_S: Final = 10.0
"""client-go's reflector waits up to 30 s; here boards wait for it after an outage, and their pods count as not ready meanwhile."""


class Reflector:
    """changed is called on the loop with what each answer changed, in order; it must return at once."""

    def __init__(
        self,
        api: KubeApi,
        path: str,
        params: Mapping[str, str],
        store: Store,
        changed: Callable[[Sequence[Change]], None],
        backoff: Backoff | None = None,
    ) -> None:
        self._api = api
        self._path = path
        self._params = dict(params)
        self._store = store
        self._changed = changed
        self._backoff = backoff or Backoff(cap_s=RETRY_CAP_S)
        self._version: str | None = None
        """Where the next watch starts; None means that a list is due."""
        self._has_followed = False
        """A watch has worked since the last list."""
        self._troubled = False

    async def run(self) -> None:
        """Until cancelled. Errors of the server are waited out."""
        while True:
            try:
                if self._version is None:
                    self._has_followed = False
                    self._version = await self._list()
                await self._watch(self._version)
            except Gone:
                _logger.info("watch is too old, listing again", extra={"path": self._path})
                self._version = None
                if not self._has_followed:  # and a list does not help, or does not come to its end
                    await anyio.sleep(self._backoff.next_s())
            except KubeApiError as error:
                await self._wait(error)

    async def _list(self) -> str:
        while True:
            listing = await self._api.list_all(self._path, self._params)
            changes, again = self._store.replace(listing.items)
            self._tell(changes)
            if not again:
                return listing.resource_version

    async def _watch(self, version: str) -> None:
        """Raises Unavailable for one that ended at once and brought nothing."""
        opened_at, is_good = math.inf, False
        try:
            async with self._api.watch(self._path, version, self._params) as events:
                opened_at = anyio.current_time()
                async for event in events:
                    is_good = True
                    self._worked()
                    self._tell(self._store.apply(event))
                    self._version = version_of(event.object) or self._version
        finally:
            if anyio.current_time() - opened_at >= SHORT_WATCH_S:
                is_good = True
                self._worked()
        if not is_good:
            raise Unavailable("watches end as soon as they begin")

    def _tell(self, changes: Sequence[Change]) -> None:
        if changes:
            self._changed(changes)

    async def _wait(self, error: KubeApiError) -> None:
        delay_s = self._backoff.next_s()
        if isinstance(error, TooManyRequests):
            delay_s = max(delay_s, error.retry_after_s)
        if not self._troubled:
            level = logging.WARNING if error.retryable else logging.ERROR
            _logger.log(level, "cannot follow the API server: %s", error, extra={"path": self._path})
            self._troubled = True
        await anyio.sleep(delay_s)

    def _worked(self) -> None:
        self._has_followed = True
        self._backoff.reset()
        if self._troubled:
            _logger.info("following the API server again", extra={"path": self._path})
            self._troubled = False

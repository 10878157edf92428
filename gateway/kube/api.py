"""The only door to the Kubernetes API.

Objects are plain dicts, paths are plain strings, and every refusal is an error of `gateway.kube.errors`. No typed model: those cost memory,
drop fields they do not know and fail a whole list for one odd pod. What is refused here: PUT, requests without a deadline, answers without
a bound, and retries: whoever asks decides whether the question still stands.

When the server does not know us any more (401), the credentials are read again, as client-go does with a token's file and a plugin: tokens
and certificates run out while a gateway lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import logging
import random
import weakref
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import anyio
from anyio import to_thread

from gateway.errors import ConfigError
from gateway.kube.clients import MAX_ANSWER_BYTES, Clients
from gateway.kube.credentials import read_credentials
from gateway.kube.errors import KubeApiError, Unavailable, error_from_answer
from gateway.kube.exchange import AnswerTooLong, whole
from gateway.kube.watch import LineSplitter, LineTooLong, WatchEvent, json_object, watch_event
from gateway.pods.seams import JsonObject

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_logger = logging.getLogger(__name__)

USER_AGENT: Final = "wirelet/0.1.0"
REQUEST_TIMEOUT_S: Final = 10.0
"""Everything but a watch. The lease has to be renewed within 40 s, so a lost request must not take them all."""
WRITES_IN_FLIGHT: Final = 16
"""10 to 20 is the knee: 50 gain nothing and cost 0.3 MiB for each TLS connection."""
READS_IN_FLIGHT: Final = 16
LIST_PAGE: Final = 500
WATCH_TIMEOUT_S: Final = (300, 600)
"""The server ends a watch after a time between these, so that many gateways do not come back together."""
READ_AGAIN_S: Final = 30.0
"""How often credentials that stay refused are read, and a plugin is started: below the lease's 40 s, and no load for anybody."""


class PatchKind(enum.Enum):
    """How the server merges a patch. Which one a field needs stands in the tables of gateway.kube.status and gateway.node.status."""

    STRATEGIC = "application/strategic-merge-patch+json"
    MERGE = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Listing:
    """A whole list and the version at which a watch goes on from it."""

    items: list[JsonObject]
    resource_version: str


class KubeApi:
    """One identity at one API server. Made by connect(), ended by aclose(); or `async with await KubeApi.connect(...)`."""

    def __init__(self, read: Callable[[], Awaitable[Clients]], clients: Clients) -> None:
        """For connect()."""
        self._read = read
        self._clients = clients
        self._retired: weakref.WeakSet[Clients] = weakref.WeakSet()
        self._read_again_at = 0.0
        """On the loop's clock: not before."""
        self._places = asyncio.Semaphore(WRITES_IN_FLIGHT)  # a free one costs no turn of the loop
        self._writing = 0
        self._reads = anyio.CapacityLimiter(READS_IN_FLIGHT)
        self.answers: Counter[tuple[str, int]] = Counter()
        """(method, status) of every request so far, a watch as WATCH; status 0: no answer came."""

    @classmethod
    async def connect(cls, kubeconfig: str | None, *, user_agent: str = USER_AGENT) -> Self:
        """Read the credentials; the server is not asked yet. None means the pod's own account, else ~/.kube/config.

        Raises ConfigError when the file or a certificate that it names cannot be used, or a credential plugin does not come to an end.
        """
        read = functools.partial(_read_clients, kubeconfig, user_agent)
        return cls(read, await read())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection, when nobody is asking any more. May be called twice."""
        for clients in (self._clients, *self._retired):
            await clients.close()

    @property
    def server(self) -> str:
        """The address, for messages."""
        return self._clients.server

    @property
    def key_file(self) -> Path | None:
        """The file of the private key; None when the kubeconfig itself holds it, or when there is none."""
        return self._clients.key_file

    @property
    def is_writing(self) -> bool:
        """A write is under way."""
        return self._writing > 0

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> JsonObject:
        """Raises KubeApiError; NotFound when there is no such object."""
        async with self._reads:
            return json_object(await self._ask("GET", path, params))

    async def list_all(self, path: str, params: Mapping[str, str] | None = None) -> Listing:
        """Every page of a list, at one version. Raises Gone when the list changed too much between two pages: start again."""
        items: list[JsonObject] = []
        query = {"limit": str(LIST_PAGE), **(params or {})}
        while True:
            page = await self.get(path, query)
            metadata = page.get("metadata") or {}
            if not metadata.get("resourceVersion"):  # every list has one; a pod that is in no list is stopped
                raise Unavailable("the answer is no list: it has no resourceVersion")
            items.extend(page.get("items") or [])
            if not metadata.get("continue"):
                return Listing(items, str(metadata.get("resourceVersion", "")))
            query["continue"] = metadata["continue"]

    async def create(self, path: str, body: JsonObject, params: Mapping[str, str] | None = None) -> JsonObject:
        """POST to a collection or a review; returns the object as stored. Raises AlreadyExists and the others."""
        return json_object(await self._write("POST", path, params, body, "application/json"))

    async def put_event(self, path: str, body: JsonObject) -> None:
        """POST of an event. Half of all requests, so the answer, which is the event again, is not taken apart. Raises as create() does."""
        await self._write("POST", path, None, body, "application/json")

    async def patch(self, path: str, body: JsonObject, kind: PatchKind, params: Mapping[str, str] | None = None) -> JsonObject:
        """Returns the object as stored. With metadata.uid in the body another object of the same name answers Unprocessable."""
        return json_object(await self._write("PATCH", path, params, body, kind.value))

    async def delete(self, path: str, *, uid: str, grace_period_s: int | None = None) -> None:
        """Delete exactly this object; Conflict when another one has its name. The answer, which is the object again, is not taken apart."""
        options: JsonObject = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        if grace_period_s is not None:
            options["gracePeriodSeconds"] = grace_period_s
        await self._write("DELETE", path, None, options, "application/json")

    @contextlib.asynccontextmanager
    async def watch(
        self, path: str, resource_version: str, params: Mapping[str, str] | None = None
    ) -> AsyncGenerator[AsyncIterator[WatchEvent], None]:
        """Changes after resource_version, as they come. The iteration ends when the server ends the watch (normal, every few minutes)
        and raises Gone when the version is too old, Unavailable when the connection breaks."""
        query = {
            **(params or {}),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(random.randint(*WATCH_TIMEOUT_S)),
        }
        clients = self._clients
        async with contextlib.AsyncExitStack() as stack:
            with self._counted("WATCH") as answered, _foreign_errors():
                # The server answers a watch before it has anything to tell; behind a proxy a dead one may take it and say nothing.
                response = await stack.enter_async_context(clients.watch(path, query, REQUEST_TIMEOUT_S))
                answered(response.status)
            if response.status >= 400:
                body = await whole(response.content, MAX_ANSWER_BYTES)
                await self._refused(clients, response.status)
                raise error_from_answer(response.status, response.headers, body)
            yield _watch_events(response)

    @contextlib.contextmanager
    def _counted(self, method: str) -> Generator[Callable[[int], None], None, None]:
        """Count one request, with the status that the block tells."""
        status = 0

        def answered(code: int) -> None:
            nonlocal status
            status = code

        try:
            yield answered
        finally:
            self.answers[method, status] += 1

    async def _write(self, method: str, path: str, params: Mapping[str, str] | None, body: JsonObject, content_type: str) -> bytes:
        async with self._places:
            self._writing += 1
            try:
                return await self._ask(method, path, params, body, content_type)
            finally:
                self._writing -= 1

    async def _ask(
        self, method: str, path: str, params: Mapping[str, str] | None, body: JsonObject | None = None, content_type: str | None = None
    ) -> bytes:
        clients = self._clients
        with self._counted(method) as answered, _foreign_errors():
            answer = await clients.ask(method, path, params, body, content_type, REQUEST_TIMEOUT_S)
            answered(answer.status)
        if answer.status >= 400:
            await self._refused(clients, answer.status)
            raise error_from_answer(answer.status, answer.headers, answer.body)
        return answer.body

    async def _refused(self, clients: Clients, status: int) -> None:
        """After a 401 read the credentials again. This request has failed all the same; the next one may be let in."""
        now = asyncio.get_running_loop().time()
        if status != HTTPStatus.UNAUTHORIZED or clients is not self._clients or now < self._read_again_at:
            return
        self._read_again_at = now + READ_AGAIN_S
        _logger.warning("API server does not know us; reading the credentials again", extra={"path": clients.server})
        try:
            self._clients = await self._read()
        except ConfigError as error:
            _logger.warning("credentials cannot be read", extra={"why": str(error)})
        else:
            self._retired.add(clients)
            await clients.retire()


async def _read_clients(kubeconfig: str | None, user_agent: str) -> Clients:
    made = await to_thread.run_sync(read_credentials, kubeconfig, user_agent, abandon_on_cancel=True)
    return Clients(*made, WRITES_IN_FLIGHT + READS_IN_FLIGHT)


async def _watch_events(response: ClientResponse) -> AsyncIterator[WatchEvent]:
    splitter = LineSplitter()
    chunks = response.content.iter_any()
    while True:
        with _foreign_errors():
            chunk = await anext(chunks, None)
            if chunk is None:
                return
            lines = splitter.feed(chunk)
        for line in lines:
            yield watch_event(line)


@contextlib.contextmanager
def _foreign_errors() -> Generator[None, None, None]:
    """The one table from aiohttp's and the kernel's errors to ours."""
    import aiohttp
    from aiohttp.http import HttpProcessingError

    try:
        yield
    except KubeApiError:
        raise
    except TimeoutError as error:
        raise Unavailable("the API server did not answer in time") from error
    except (LineTooLong, AnswerTooLong) as error:
        raise Unavailable(str(error)) from error
    except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, HttpProcessingError) as error:
        raise Unavailable("the connection to the API server broke") from error
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(str(error) or type(error).__name__) from error

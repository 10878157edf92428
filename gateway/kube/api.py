"""The only door to the Kubernetes API, and to the `kubernetes` package.

From `kubernetes.aio` come the credentials (kubeconfig, in-cluster account, exec plugins), TLS and the HTTP client; never a typed model:
those cost memory, drop fields they do not know and fail a whole list for one odd pod. Objects are plain dicts, paths are plain strings,
and every refusal is an error of `gateway.kube.errors`.

`kubernetes` and aiohttp are imported by connect(), so that a gateway without a cluster never loads them. What is refused here: PUT,
requests without a deadline, answers without a bound, and retries: whoever asks decides whether the question still stands.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import enum
import functools
import json
import os
import random
import socket
import weakref
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlencode

import anyio
from anyio import to_thread

from gateway.errors import ConfigError
from gateway.kube.errors import KubeApiError, Unavailable, error_from_answer
from gateway.kube.exchange import Answered, AnswerTooLong, Exchange, whole
from gateway.kube.watch import LineSplitter, LineTooLong, WatchEvent, json_object, watch_event
from gateway.pods.seams import JsonObject

if TYPE_CHECKING:
    from aiohttp import BaseConnector, ClientResponse
    from kubernetes.aio.client import ApiClient

USER_AGENT: Final = "wirelet/0.1.0"
REQUEST_TIMEOUT_S: Final = 10.0
"""Everything but a watch. The lease has to be renewed within 40 s, so a lost request must not take them all."""
CONNECT_TIMEOUT_S: Final = 5.0
WRITES_IN_FLIGHT: Final = 16
"""10 to 20 is the knee: 50 gain nothing and cost 0.3 MiB for each TLS connection."""
READS_IN_FLIGHT: Final = 16
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""A page of 500 pods stays below a tenth of this."""
LIST_PAGE: Final = 500
WATCH_TIMEOUT_S: Final = (300, 600)
"""The server ends a watch after a time between these, so that many gateways do not come back together."""
WATCH_SILENCE_S: Final = 300.0
"""On an idle watch of 1.36 the first bookmark came after 121 s; so much silence is a server that hangs. A dead network shows sooner."""
CLOSE_TIMEOUT_S: Final = 2.0
CLOSE_POLL_S: Final = 0.005
DEAD_PEER_MS: Final = 30_000
"""A cut network is noticed by TCP within this, below the lease's 40 s."""


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

    def __init__(self, requests: ApiClient, watches: ApiClient) -> None:
        """For connect()."""
        self._requests = requests
        self._watches = watches
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._connectors = (self._pool(requests, WRITES_IN_FLIGHT + READS_IN_FLIGHT), self._pool(watches, 0))
        self._exchange = self._short_way(requests)
        self._places = asyncio.Semaphore(WRITES_IN_FLIGHT)  # a free one costs no turn of the loop
        self._writing = 0
        self._reads = anyio.CapacityLimiter(READS_IN_FLIGHT)
        self.answers: Counter[tuple[str, int]] = Counter()
        """(method, status) of every request so far, a watch as WATCH; status 0: no answer came."""

    @classmethod
    async def connect(cls, kubeconfig: str | None, *, user_agent: str = USER_AGENT) -> Self:
        """Read the credentials; the server is not asked yet. None means the pod's own account, else ~/.kube/config.

        Raises ConfigError when the file or a certificate that it names cannot be used.
        """
        # The client library reads files and may start a credential plugin; in a thread that cannot hold up a device.
        return cls(*await to_thread.run_sync(_open_clients, kubeconfig, user_agent))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection; running watches end with Unavailable. May be called twice."""
        with anyio.move_on_after(CLOSE_TIMEOUT_S, shield=True):
            for client in (self._requests, self._watches):
                await client.close()  # type: ignore[no-untyped-call]  # the package is annotated in part
            for connector in self._connectors:
                await connector.close()
            # The connector forgets connections that were given up in the middle (a watch), and TLS closes in steps.
            while any(sock.fileno() >= 0 for sock in self._sockets):  # noqa: ASYNC110 - asyncio tells nobody when a socket is closed
                await anyio.sleep(CLOSE_POLL_S)

    @property
    def server(self) -> str:
        """The address, for messages."""
        return str(self._requests.configuration.host)

    @property
    def key_file(self) -> Path | None:
        """The file of the private key; None when the kubeconfig itself holds it, or when there is none."""
        name = self._requests.configuration.key_file
        return Path(name) if name and Path(name).exists() else None

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
        with self._counted("WATCH") as answered, _foreign_errors():
            # The server answers a watch before it has anything to tell; behind a proxy a dead one may take it and say nothing.
            async with asyncio.timeout(REQUEST_TIMEOUT_S):
                response = await self._call(self._watches, "GET", path, query, None, None, _timeout(None, WATCH_SILENCE_S))
            answered(response.status)
        try:
            if response.status >= 400:
                body = await whole(response.content, MAX_ANSWER_BYTES)
                raise error_from_answer(response.status, response.headers, body)
            yield _watch_events(response)
        finally:
            response.close()  # not released: the rest of a watch is of no use to the next request

    def _pool(self, client: ApiClient, limit: int) -> BaseConnector:
        """Connections of our own making for a client, at most `limit` (0: any number)."""
        import aiohttp

        connector = aiohttp.TCPConnector(ssl=client.rest_client.ssl_context, limit=limit, socket_factory=self._socket)
        # trust_env makes aiohttp look for a netrc and a proxy in a thread for each request: half of all CPU.
        # No cookies: a kubelet has none, and an empty jar is searched for each request.
        client.configuration.client_session_kwargs = {"trust_env": False, "connector": connector, "cookie_jar": aiohttp.DummyCookieJar()}
        return connector

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """A socket that notices a peer that vanished without a word: an idle watch sends nothing that could fail."""
        made = socket.socket(address[0], address[1], address[2])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, DEAD_PEER_MS // 2000)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, DEAD_PEER_MS // 6000)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_MS)
        self._sockets.add(made)
        return made

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

    def _short_way(self, client: ApiClient) -> Exchange | None:
        """For writes; None through a proxy, where the client library knows the way."""
        import aiohttp
        from aiohttp.client_reqrep import ClientRequest
        from yarl import URL

        configuration = client.configuration
        if configuration.proxy:
            return None
        url, tls, tls_name = URL(configuration.host), client.rest_client.ssl_context, configuration.tls_server_name
        loop = asyncio.get_running_loop()
        connected_by = ClientRequest("POST", url, loop=loop, ssl=tls, server_hostname=tls_name)
        return Exchange(self._connectors[0], connected_by, aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT_S), MAX_ANSWER_BYTES)

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
        with self._counted(method) as answered, _foreign_errors():
            if body is None or self._exchange is None:
                answer = await self._take_the_long_way(method, path, params, body, content_type)
            else:
                headers, target = await self._headers(self._requests, method, path, content_type), _target(path, params)
                answer = await self._exchange.write(method, target, headers, json.dumps(body).encode(), REQUEST_TIMEOUT_S)
            answered(answer.status)
        if answer.status >= 400:
            raise error_from_answer(answer.status, answer.headers, answer.body)
        return answer.body

    async def _take_the_long_way(
        self, method: str, path: str, params: Mapping[str, str] | None, body: JsonObject | None, content_type: str | None
    ) -> Answered:
        response = await self._call(self._requests, method, path, params, body, content_type, _timeout(REQUEST_TIMEOUT_S))
        async with response:
            return Answered(response.status, response.headers, await whole(response.content, MAX_ANSWER_BYTES))

    async def _call(
        self,
        client: ApiClient,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: JsonObject | None,
        content_type: str | None,
        timeout: object,
    ) -> ClientResponse:
        """call_api, not param_serialize: that one copies the body node by node before json sees it."""
        headers, url = await self._headers(client, method, path, content_type), client.configuration.host + _target(path, params)
        answer = await client.call_api(method, url, header_params=headers, body=body, _request_timeout=timeout)
        response: ClientResponse = answer.response
        return response

    @staticmethod
    async def _headers(client: ApiClient, method: str, path: str, content_type: str | None) -> dict[str, str]:
        headers = {"Accept": "application/json", **client.default_headers}
        if content_type is not None:
            headers["Content-Type"] = content_type
        await client.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
        return headers


def _target(path: str, params: Mapping[str, str] | None) -> str:
    return f"{path}?{urlencode(params)}" if params else path


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


@functools.cache
def _timeout(total_s: float | None, silence_s: float | None = None) -> object:
    import aiohttp

    return aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_TIMEOUT_S, sock_read=silence_s)


def _open_clients(kubeconfig: str | None, user_agent: str) -> tuple[ApiClient, ApiClient]:
    """Blocking. Two clients, because a watch must not hold a connection that a write waits for."""
    from kubernetes.aio.client import ApiClient, Configuration

    where, load = _credentials(kubeconfig)
    configuration = Configuration()
    try:
        load(configuration)
        _trim_token(configuration)
        clients = ApiClient(configuration=configuration), ApiClient(configuration=copy.copy(configuration))
    except Exception as error:  # the loader has no error tree: a wrong file ends in KeyError, TypeError, YAMLError, SSLError ...
        raise ConfigError([(where, f"cannot be used: {_in_one_line(error)}")]) from error
    finally:
        _remove_copies()
    for client in clients:
        client.user_agent = user_agent
    return clients


def _trim_token(configuration: Any) -> None:
    """A file that holds a token mostly ends its line, and client-go trims it, too. Raises ValueError for one that no header can carry."""
    token = configuration.api_key.get("BearerToken")
    if token is None:
        return
    token = token.strip()
    if not token.isprintable():
        raise ValueError("its token is more than a line of text")
    configuration.api_key["BearerToken"] = token


def _remove_copies() -> None:
    """The loader copies keys that a kubeconfig holds into the temporary directory and removes them at an ordinary exit. They have been read
    by now, and a killed gateway would leave the node's key on the disk each time."""
    from kubernetes.aio.config import kube_config

    # Private, and the only thing that makes the loader forget their names too; its absence fails every test that connects.
    kube_config._cleanup_temp_files()  # type: ignore[no-untyped-call]  # the package is annotated in part


def _in_one_line(error: Exception) -> str:
    if isinstance(error, TypeError | AttributeError | LookupError):
        return "it is no kubeconfig"  # what the loader stumbled on says nothing to a person
    return " ".join(str(error).split()) or type(error).__name__


def _credentials(kubeconfig: str | None) -> tuple[str, Callable[[Any], None]]:
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        return "in-cluster account", _load_account
    path = Path(kubeconfig) if kubeconfig is not None else Path.home() / ".kube" / "config"
    if not path.is_file():
        raise ConfigError([("cluster.kubeconfig", f"there is no file {path}")])
    return "cluster.kubeconfig", functools.partial(_load_file, path=str(path))


def _load_account(configuration: Any) -> None:
    from kubernetes.aio.config import load_incluster_config

    load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # the package is annotated in part


def _load_file(configuration: Any, path: str) -> None:
    import asyncio

    from kubernetes.aio.config import load_kube_config

    # persist_config would write refreshed tokens into the user's file.
    loaded = load_kube_config(config_file=path, client_configuration=configuration, persist_config=False)  # type: ignore[no-untyped-call]  # as above
    asyncio.run(loaded)

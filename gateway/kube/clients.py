"""The connections to one API server with one reading of the credentials. What the answers mean is gateway.kube.api's matter.

aiohttp is imported when they are made, so that a gateway without a cluster never loads it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import socket
import weakref
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import anyio

from gateway.kube.exchange import Answered, Exchange, whole
from gateway.pods.seams import JsonObject

if TYPE_CHECKING:
    from aiohttp import BaseConnector, ClientResponse
    from kubernetes.aio.client import ApiClient

CONNECT_TIMEOUT_S: Final = 5.0
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""A page of 500 pods stays below a tenth of this."""
WATCH_SILENCE_S: Final = 300.0
"""On an idle watch of 1.36 the first bookmark came after 121 s; so much silence is a server that hangs. A dead network shows sooner."""
CLOSE_TIMEOUT_S: Final = 2.0
CLOSE_POLL_S: Final = 0.005
DEAD_PEER_MS: Final = 30_000
"""A cut network is noticed by TCP within this, below the lease's 40 s."""


class Clients:
    """Make it on the event loop, from what read_credentials() returned; ended by close(), or by retire() while somebody is asking."""

    def __init__(self, requests: ApiClient, watches: ApiClient, requests_in_flight: int) -> None:
        self._requests = requests
        self._watches = watches
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._connectors = (self._pool(requests, requests_in_flight), self._pool(watches, 0))
        self._exchange = self._short_way(requests)
        self._under_way = 0
        self._is_retired = False

    async def retire(self) -> None:
        """Close when the last request and the last watch have ended."""
        self._is_retired = True
        if not self._under_way:
            await self.close()

    async def close(self) -> None:
        """Close every connection. Nothing may be under way: aiohttp would never tell it. May be called twice."""
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

    async def ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: JsonObject | None,
        content_type: str | None,
        deadline_s: float,
    ) -> Answered:
        """One request and its whole answer, whatever it says. Raises what Exchange.write() raises."""
        async with self._used():
            if body is not None and self._exchange is not None:
                headers = await self._headers(self._requests, method, path, content_type)
                return await self._exchange.write(method, _target(path, params), headers, json.dumps(body).encode(), deadline_s)
            response = await self._call(self._requests, method, path, params, body, content_type, _timeout(deadline_s))
            async with response:
                return Answered(response.status, response.headers, await whole(response.content, MAX_ANSWER_BYTES))

    @contextlib.asynccontextmanager
    async def watch(self, path: str, params: Mapping[str, str], deadline_s: float) -> AsyncGenerator[ClientResponse, None]:
        """The begin of an answer that has no end. An answer that is refused is whole() to read. Raises TimeoutError when none comes."""
        async with self._used():
            async with asyncio.timeout(deadline_s):
                response = await self._call(self._watches, "GET", path, params, None, None, _timeout(None, WATCH_SILENCE_S))
            try:
                yield response
            finally:
                response.close()  # not released: the rest of a watch is of no use to the next request

    @contextlib.asynccontextmanager
    async def _used(self) -> AsyncGenerator[None, None]:
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            if self._is_retired:
                await self.retire()

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


def _target(path: str, params: Mapping[str, str] | None) -> str:
    return f"{path}?{urlencode(params)}" if params else path


@functools.cache
def _timeout(total_s: float | None, silence_s: float | None = None) -> object:
    import aiohttp

    return aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_TIMEOUT_S, sock_read=silence_s)

"""An API server that answers what the test tells it: real HTTP on a real socket, nothing of Kubernetes but the paths.

For what the real one cannot be made to do at will: 429, broken answers, a watch that ends at a chosen byte. Everything else is tested
against the real one.
"""

from __future__ import annotations

import contextlib
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import h11
from anyio.abc import SocketAttribute, SocketStream

from gateway.kube.api import KubeApi


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class WatchAnswer:
    """Chunks as they are written; the watch stays open after them until ends is set. cut breaks the connection instead of ending it."""

    chunks: list[bytes]
    ends: anyio.Event | None = None
    cut: bool = False

    @classmethod
    def of(cls, *events: tuple[str, Any], ends: anyio.Event | None = None, cut: bool = False) -> WatchAnswer:
        return cls([json.dumps({"type": kind, "object": obj}).encode() + b"\n" for kind, obj in events], ends, cut)


class KubeServer:
    """Answers are given in order for each (method, path); the last one stays. What nobody prepared is 404."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.url = ""
        self._open = 0
        self._answers: dict[tuple[str, str], deque[Answer | WatchAnswer]] = defaultdict(deque)
        self._news = anyio.Event()

    def will(self, method: str, path: str, *answers: Answer | WatchAnswer) -> None:
        """method WATCH is a GET with watch=1."""
        self._answers[method, path].extend(answers)

    def seen(self, method: str, path: str) -> list[Asked]:
        return [asked for asked in self.asked if (asked.method, asked.path) == (method, path)]

    async def until(self, method: str, path: str, count: int) -> list[Asked]:
        """Waits for so many requests."""
        with anyio.fail_after(5):
            while len(self.seen(method, path)) < count:
                await self._news.wait()
        return self.seen(method, path)

    async def until_open(self, count: int) -> None:
        """Waits until so many connections are left."""
        with anyio.fail_after(5):
            while self._open != count:
                await self._news.wait()

    async def serve(self, stream: SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        self._open += 1
        async with stream:
            with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, h11.RemoteProtocolError):
                while await self._exchange(connection, stream):
                    connection.start_next_cycle()
        self._open -= 1
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, anyio.Event()
        news.set()

    async def _exchange(self, connection: h11.Connection, stream: SocketStream) -> bool:
        asked = await self._request(connection, stream)
        if asked is None:
            return False
        self.asked.append(asked)
        self._tell()
        answers = self._answers[asked.method, asked.path]
        answer = answers.popleft() if len(answers) > 1 else answers[0] if answers else Answer(404, {"kind": "Status", "reason": "NotFound"})
        if isinstance(answer, WatchAnswer):
            return await self._stream(connection, stream, answer)
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        headers = [("Content-Length", str(len(body))), *answer.headers.items()]
        await _send(connection, stream, h11.Response(status_code=answer.status, headers=headers), h11.Data(data=body), h11.EndOfMessage())
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE

    async def _stream(self, connection: h11.Connection, stream: SocketStream, answer: WatchAnswer) -> bool:
        await _send(connection, stream, h11.Response(status_code=200, headers=[("Transfer-Encoding", "chunked")]))
        for chunk in answer.chunks:
            await _send(connection, stream, h11.Data(data=chunk))
        if answer.ends is not None:
            await answer.ends.wait()
        if answer.cut:
            return False
        await _send(connection, stream, h11.EndOfMessage())
        return True

    async def _request(self, connection: h11.Connection, stream: SocketStream) -> Asked | None:
        request: h11.Request | None = None
        body = b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                try:
                    connection.receive_data(await stream.receive())
                except anyio.EndOfStream:
                    return None
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return _asked(request, body)
            else:
                return None


def _asked(request: h11.Request, body: bytes) -> Asked:
    target = urlsplit(request.target.decode())
    query = {key: values[0] for key, values in parse_qs(target.query).items()}
    headers = {name.decode(): value.decode() for name, value in request.headers}
    method = "WATCH" if query.get("watch") == "1" else request.method.decode()
    return Asked(method, target.path, query, headers, json.loads(body) if body else None)


async def _send(connection: h11.Connection, stream: SocketStream, *events: Any) -> None:
    for event in events:
        data = connection.send(event)
        if data:
            await stream.send(data)


@contextlib.asynccontextmanager
async def kube_server(folder: Path) -> AsyncIterator[tuple[KubeServer, KubeApi]]:
    """A server and a client of it."""
    server = KubeServer()
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        server.url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        tasks.start_soon(listener.serve, server.serve)
        async with await KubeApi.connect(str(kubeconfig(folder, server.url))) as api:
            yield server, api
        tasks.cancel_scope.cancel()


def kubeconfig(folder: Path, url: str, **user: Any) -> Path:
    path = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(json.dumps(config))
    return path

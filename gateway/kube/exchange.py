"""One write to the API server and its answer, in few steps.

It uses aiohttp's connections and its parser without its session: what that does for each request (redirects, cookies, middlewares, a
payload and its writer) costs more than the request, and most of a pod's life is writes. What is refused here: bodies that do not fit
into memory, retries and redirects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from aiohttp import BaseConnector, ClientTimeout, StreamReader
    from aiohttp.client_reqrep import ClientRequest

IN_A_TARGET: Final = "/:@!$&'()*+,;=?%"
"""What a request's target holds as it is, beside letters, digits and _.-~; a name with anything else is quoted."""


@dataclass(frozen=True, slots=True)
class Answered:
    status: int
    headers: Mapping[str, str]
    body: bytes


class AnswerTooLong(Exception):
    """The text has the limit."""


class Exchange:
    """Of one server. Make it on the event loop of the connector, which is the caller's to close."""

    def __init__(self, connector: BaseConnector, request: ClientRequest, timeout: ClientTimeout, max_answer_bytes: int) -> None:
        """request says to where connections are made, and nothing of it is sent; timeout is for making them."""
        self._connector = connector
        self._request = request
        self._timeout = timeout
        self._max_answer_bytes = max_answer_bytes
        self._host = request.headers["Host"]
        self._root = request.url.raw_path.rstrip("/")

    async def write(self, method: str, target: str, headers: Mapping[str, str], body: bytes, deadline_s: float) -> Answered:
        """Raises TimeoutError, AnswerTooLong, what aiohttp raises for connections, and its HttpProcessingError for what is no HTTP.

        Connections are used again after a whole answer only.
        """
        head = self._head(method, target, headers, len(body))
        async with asyncio.timeout(deadline_s):  # anyio's takes five times as long
            connection = await self._connector.connect(self._request, [], self._timeout)
            try:
                protocol, transport = connection.protocol, connection.transport
                assert protocol is not None
                if transport is None:
                    raise ConnectionResetError("the server closed the connection")
                protocol.set_response_params()
                transport.write(head + body)
                message, content = await protocol.read()
                while 100 <= message.code < 200:
                    message, content = await protocol.read()
                data = await whole(content, self._max_answer_bytes)
            except BaseException:
                connection.close()
                raise
            connection.release()
        return Answered(message.code, message.headers, data)

    def _head(self, method: str, target: str, headers: Mapping[str, str], body_bytes: int) -> bytes:
        lines = [f"{method} {self._root}{quote(target, safe=IN_A_TARGET)} HTTP/1.1", f"Host: {self._host}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines.append(f"Content-Length: {body_bytes}")
        if not all(map(str.isprintable, lines)):
            raise ValueError("a header of a request to the API server has control characters")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def whole(content: StreamReader, max_bytes: int) -> bytes:
    """The body of an answer. Raises AnswerTooLong."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in content.iter_any():
        size += len(chunk)
        if size > max_bytes:
            raise AnswerTooLong(f"the answer exceeds {max_bytes} bytes")
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)

"""One HTTP exchange as plain values: who asks, the request, and the answer a handler gives.

The server turns bytes into a Request and an Answer into bytes; handlers know nothing of sockets, but for one that takes a connection over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol
from urllib.parse import parse_qs, unquote

PLAIN_TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
MAX_QUERY_FIELDS: Final = 256
"""Every option of every route fits many times; exec repeats `command` once per argument."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The far end of a connection. certificate is what ssl.getpeercert says: verified, or None."""

    address: str
    is_local: bool = False
    """It came over the unix socket, so the file's mode has let it in."""
    certificate: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """path is percent-decoded once, so that authorization and routing look at the same text."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    """Names in lower case; of a repeated header the last one, except where the server refuses repetition."""
    peer: Peer


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, held in memory."""

    status: int
    body: bytes = b""
    content_type: str = PLAIN_TEXT
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class StreamReply:
    """Status 200 and a body of unknown length. Every piece is sent as soon as it is there; when the client leaves, the iterator is
    cancelled where it waits."""

    pieces: AsyncIterator[bytes] = field(compare=False)
    content_type: str = PLAIN_TEXT
    status: ClassVar[int] = 200


class Pipe(Protocol):
    """What is left of a connection when HTTP is over. Both methods raise anyio's errors when the peer has gone."""

    async def receive(self, max_bytes: int = ...) -> bytes: ...

    async def send(self, item: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class TakeoverReply:
    """Status 101: then the connection is run's, with the bytes that came early, until it returns. It raises nothing."""

    headers: tuple[tuple[str, str], ...]
    run: Callable[[Pipe, bytes], Awaitable[None]] = field(compare=False)
    status: ClassVar[int] = 101


Answer = Reply | StreamReply | TakeoverReply
Handler = Callable[[Request], Awaitable[Answer]]


class RequestRefused(Exception):
    """A handler says no: the status and one line for the person who asked."""

    def __init__(self, status: int, text: str, headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(f"{status}: {text}")
        self.reply = Reply(status, text.encode(), headers=headers)


def parse_target(target: bytes) -> tuple[str, dict[str, list[str]]]:
    """Path and query of a request target. Raises RequestRefused (400) for what is neither a path nor an absolute URL."""
    try:
        text = target.decode("ascii")
    except UnicodeDecodeError as error:
        raise RequestRefused(400, "the request target is not ASCII") from error
    if text.lower().startswith(("http://", "https://")):
        # RFC 9112 3.2.2: a server accepts the absolute form; the authority in it says nothing that we use.
        _, _, rest = text.partition("://")
        _, slash, path = rest.partition("/")
        text = slash + path or "/"
    if not text.startswith("/"):
        raise RequestRefused(400, "the request target is not a path")
    path, _, query = text.partition("#")[0].partition("?")
    try:
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError as error:
        raise RequestRefused(400, f"the query has more than {MAX_QUERY_FIELDS} fields") from error
    return unquote(path), fields

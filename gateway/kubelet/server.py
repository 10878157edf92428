"""An HTTP/1.1 server for handlers: h11 over anyio streams, TLS or a unix socket.

What it does: keep-alive and pipelining, streamed answers flushed piece by piece, cancelling a stream when its client leaves, and limits
on everything a client can make us hold: connections, time to say hello, time and size of a request's head, size of its body. What it
refuses: HTTP/2 (never offered by ALPN), request bodies for handlers (read and dropped), routing by Host (the API server sends its own
address there).

One connection's failure ends that connection. Authentication is the handler's business; the server only hands over the verified
certificate.
"""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, assert_never

import anyio
import h11
from anyio.abc import ByteStream, SocketAttribute, SocketStream, TaskGroup, TaskStatus
from anyio.streams.tls import TLSAttribute, TLSStream

from gateway.kubelet.exchange import Answer, Handler, Peer, Reply, Request, RequestRefused, StreamReply, TakeoverReply, parse_target

_logger = logging.getLogger(__name__)

PIECE_BYTES: Final = 65536
"""One TLS write: below this the cost per write shows, above it the memory of many followers does."""
MAX_EARLY_BYTES: Final = 65536
"""Bytes a client may send ahead while an answer streams; more ends the connection."""
_DEAD_LISTENER: Final = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK})
"""Everything else accept() says is about one newcomer or about now: accept(2) passes on what already went wrong on the new socket."""
_NOBODY_THERE: Final = frozenset({errno.EAGAIN, errno.ECONNABORTED, errno.EINTR})
_ACCEPT_PAUSE_S: Final = 0.1
"""After EMFILE and its kind: time for other connections to end, instead of a busy loop."""
_GONE: Final = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError)
_KEEPALIVE_IDLE_S: Final = 30
_KEEPALIVE_INTERVAL_S: Final = 10
_KEEPALIVE_PROBES: Final = 6
"""A follower whose network went away is noticed after 90 s. TCP_USER_TIMEOUT would be wrong: it also ends `kubectl logs | less`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may take. The defaults are for a small board; the API server needs a handful of connections."""

    connections: int = 256
    """Over this, the one that has been idle longest makes room; if none is idle, the newcomer is closed."""
    handshake_s: float = 10.0
    head_s: float = 10.0
    """From the first byte of a request to the end of its head, and for its body: a slow sender is cut, however steadily it drips."""
    reply_s: float = 30.0
    """For a whole answer to leave. A stream has no such limit: `kubectl logs | less` may rest for hours."""
    idle_s: float = 90.0
    """Between requests. The API server drops its idle connections after 90 s too."""
    head_bytes: int = 65536
    """A bearer token of a large cluster with many groups stays below 16 KiB."""
    body_bytes: int = 65536
    """No route reads a body."""
    linger_s: float = 1.0
    """How long a refused client's remaining bytes are read, so that it sees the refusal and not a reset."""


ContextSource = Callable[[], Awaitable[ssl.SSLContext]]


@dataclass(eq=False, slots=True)
class _Visit:
    """One accepted connection and how it can be sent away."""

    scope: anyio.CancelScope
    idle_since: float | None
    """Loop time since when it waits for a request (or has not said hello); None while a request is served."""


@dataclass(eq=False)
class HttpServer:
    """Serves one handler on any number of listeners. tls is asked for every connection, so a renewed certificate is used at once."""

    handler: Handler
    tls: ContextSource | None = None
    limits: Limits = Limits()
    _visits: set[_Visit] = field(default_factory=set, init=False)

    async def serve(self, *listeners: socket.socket, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Accept on listening sockets until cancelled; then every connection is cut and the listeners are closed."""
        try:
            async with anyio.create_task_group() as connections:
                for listener in listeners:
                    listener.setblocking(False)
                    connections.start_soon(self._accept, listener, connections)
                task_status.started()
        finally:
            for listener in listeners:
                listener.close()

    async def _accept(self, listener: socket.socket, connections: TaskGroup) -> None:
        # Not anyio's own listener: its unix sockets log a traceback when a read is cancelled in the moment data arrives (4.16).
        while True:
            await anyio.wait_readable(listener)
            try:
                accepted, _ = listener.accept()
            except OSError as error:
                if error.errno in _DEAD_LISTENER:
                    raise
                if error.errno not in _NOBODY_THERE:
                    _logger.warning("cannot accept a connection now: %s", error.strerror)
                    await anyio.sleep(_ACCEPT_PAUSE_S)
                continue
            if self._make_room():
                connections.start_soon(self._visit, accepted)
            else:
                accepted.close()

    def _make_room(self) -> bool:
        if len(self._visits) < self.limits.connections:
            return True
        idle = [visit for visit in self._visits if visit.idle_since is not None]
        if not idle:
            return False
        eldest = min(idle, key=lambda visit: visit.idle_since or 0.0)
        self._visits.discard(eldest)
        eldest.scope.cancel()
        return True

    async def _visit(self, accepted: socket.socket) -> None:
        with anyio.CancelScope() as scope:
            visit = _Visit(scope, anyio.current_time())
            self._visits.add(visit)
            try:
                stream = await _stream_of(accepted)
                if stream is not None:
                    await self._host(stream, visit)
            finally:
                self._visits.discard(visit)

    async def _host(self, stream: SocketStream, visit: _Visit) -> None:
        try:
            await self._greet(stream, visit)
        except (*_GONE, anyio.BusyResourceError):
            # Busy: a TLS key update of the client met our own write; such a client is not worth a lock around every write.
            _logger.debug("a client left in the middle of an exchange")
        except Exception:
            _logger.exception("a connection failed")  # as in _answer: whatever it is, it is not worth the sessions of all devices
        finally:
            await anyio.aclose_forcefully(stream)

    async def _greet(self, stream: SocketStream, visit: _Visit) -> None:
        is_local = stream.extra(SocketAttribute.family) == socket.AF_UNIX
        if not is_local:
            _watch_for_silence(stream)
        if self.tls is None:
            await _Conversation(stream, stream, Peer(_address(stream), is_local), self.handler, self.limits, visit).run()
            return
        context = await self.tls()
        try:
            with anyio.fail_after(self.limits.handshake_s):
                secure = await TLSStream.wrap(stream, server_side=True, ssl_context=context, standard_compatible=False)
        except TimeoutError:
            _logger.debug("no TLS handshake within %s s", self.limits.handshake_s)
            return
        except (ssl.SSLError, ssl.CertificateError) as error:
            _logger.debug("TLS handshake failed: %s", error)
            if getattr(error, "reason", None) == "HTTP_REQUEST":
                await stream.send(_PLAIN_HTTP_ANSWER)
            return
        peer = Peer(_address(stream), certificate=secure.extra(TLSAttribute.peer_certificate, None) or None)
        await _Conversation(secure, stream, peer, self.handler, self.limits, visit).run()


_PLAIN_HTTP_ANSWER: Final = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nthis port speaks HTTPS; the request was plain HTTP\n"
)


@dataclass(eq=False)
class _Conversation:
    """The requests of one connection, one after another."""

    stream: ByteStream
    transport: SocketStream
    peer: Peer
    handler: Handler
    limits: Limits
    visit: _Visit
    _http: h11.Connection = field(init=False)
    _method: bytes = field(default=b"", init=False)

    def __post_init__(self) -> None:
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=self.limits.head_bytes)

    async def run(self) -> None:
        while True:
            try:
                if not await self._exchange():
                    return
            except h11.RemoteProtocolError as error:
                await self._refuse(Reply(error.error_status_hint, f"{error}\n".encode()))
                return
            except RequestRefused as refusal:
                await self._refuse(refusal.reply)
                return
            except ssl.SSLError as error:
                _logger.debug("TLS failed: %s", error)
                return
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                await self._linger()
                return
            self._http.start_next_cycle()

    async def _exchange(self) -> bool:
        """One request and its answer; False when the client has gone quietly."""
        head = await self._head()
        if head is None:
            return False
        self.visit.idle_since = None
        self._method = head.method
        request = self._request(head)
        with anyio.move_on_after(self.limits.head_s) as reading:
            await self._drop_body()
        if reading.cancelled_caught:
            raise RequestRefused(408, f"the request's body took longer than {self.limits.head_s:g} s\n")
        answer = await self._answer(request)
        _logger.debug("%s %s", head.method.decode(), request.path, extra={"peer": self.peer.address})
        match answer:
            case Reply():
                await self._send_reply(answer)
            case StreamReply():
                await self._send_stream(answer)
            case TakeoverReply():
                await self._hand_over(answer)
                return False
            case _:
                assert_never(answer)
        self.visit.idle_since = anyio.current_time()
        return True

    async def _head(self) -> h11.Request | None:
        """The next request's head. Its time runs from its first byte; before that the connection may be idle."""
        event = self._http.next_event()
        if event is h11.NEED_DATA and not self._http.trailing_data[0]:
            with anyio.move_on_after(self.limits.idle_s) as idle:
                await self._receive()
            if idle.cancelled_caught:
                return None
            event = self._http.next_event()
        with anyio.move_on_after(self.limits.head_s) as reading:
            while event is h11.NEED_DATA:
                await self._receive()
                event = self._http.next_event()
        if reading.cancelled_caught:
            raise RequestRefused(408, f"the request's head took longer than {self.limits.head_s:g} s\n")
        return event if isinstance(event, h11.Request) else None

    def _request(self, head: h11.Request) -> Request:
        headers: dict[str, str] = {}
        for raw, value in head.headers:
            name = raw.decode("ascii")
            if name == "authorization" and name in headers:
                raise RequestRefused(400, "more than one Authorization header\n")
            headers[name] = value.decode("latin-1")
        path, query = parse_target(head.target)
        return Request(head.method.decode("ascii"), path, query, headers, self.peer)

    async def _drop_body(self) -> None:
        received = 0
        if self._http.they_are_waiting_for_100_continue:
            await self._send_event(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
        while True:
            match self._http.next_event():
                case h11.Data(data=data):
                    received += len(data)
                    if received > self.limits.body_bytes:
                        raise RequestRefused(413, f"the request's body is over {self.limits.body_bytes} bytes\n")
                case h11.NEED_DATA:
                    await self._receive()
                case _:  # EndOfMessage, or PAUSED behind a request that also asked for an upgrade
                    return

    async def _answer(self, request: Request) -> Answer:
        try:
            return await self.handler(request)
        except RequestRefused as refusal:
            return refusal.reply
        except Exception:
            # The one place where a bug does not end the process: a single crafted request must not take every device's session along.
            _logger.exception("a request handler failed", extra={"path": request.path})
            return Reply(500, b"internal error; see the gateway's log\n", headers=(("connection", "close"),))

    async def _send_reply(self, reply: Reply) -> None:
        headers = [*_head_lines(reply.content_type), ("content-length", str(len(reply.body))), *reply.headers]
        parts = [self._http.send(h11.Response(status_code=reply.status, headers=headers, reason=_REASONS.get(reply.status, b"")))]
        if self._method != b"HEAD":
            parts.append(self._http.send(h11.Data(data=reply.body)))
        parts.append(self._http.send(h11.EndOfMessage()))
        with anyio.move_on_after(self.limits.reply_s) as sending:
            await self.stream.send(b"".join(part for part in parts if part))
        if sending.cancelled_caught:
            # Asking again and again without reading would hold a connection for ever, and a stranger's 401 is an answer too.
            raise anyio.BrokenResourceError

    async def _send_stream(self, reply: StreamReply) -> None:
        """Send pieces until they end or the client leaves. A stream that breaks off stays without its end, so the client notices."""
        async with anyio.create_task_group() as following, _closed_afterwards(reply.pieces) as pieces:
            following.start_soon(self._watch_client, following.cancel_scope)
            try:
                await self._send_event(h11.Response(status_code=200, headers=_head_lines(reply.content_type), reason=b"OK"))
                async for piece in pieces:
                    for start in range(0, len(piece), PIECE_BYTES):
                        await self._send_event(h11.Data(data=piece[start : start + PIECE_BYTES]))
                await self._send_event(h11.EndOfMessage())
            except _GONE:
                _logger.debug("a client left its stream", extra={"peer": self.peer.address})
            except Exception:
                _logger.exception("a streamed answer broke off")  # as in _answer: a bug here ends this stream only
            following.cancel_scope.cancel()

    async def _hand_over(self, reply: TakeoverReply) -> None:
        headers = [*reply.headers, ("connection", "Upgrade")]
        await self._send_event(h11.InformationalResponse(status_code=101, headers=headers, reason=b"Switching Protocols"))
        early, _ = self._http.trailing_data
        try:
            await reply.run(self.stream, early)
        except _GONE:
            _logger.debug("a client left its conversation", extra={"peer": self.peer.address})
        except Exception:
            _logger.exception("a conversation broke off")  # as in _answer: a bug here ends this conversation only

    async def _watch_client(self, scope: anyio.CancelScope) -> None:
        """End the stream when the client leaves, also while there is nothing to send. Half-close counts as leaving, as in Go's server."""
        early = 0
        while early <= MAX_EARLY_BYTES:
            try:
                data = await self.stream.receive(PIECE_BYTES)
            except (*_GONE, ssl.SSLError):
                break
            early += len(data)
            self._http.receive_data(data)
        scope.cancel()

    async def _refuse(self, reply: Reply) -> None:
        """Answer what could not be understood, if an answer is still possible, and leave."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        await self._send_reply(Reply(reply.status, reply.body, reply.content_type, (*reply.headers, ("connection", "close"))))
        await self._linger()

    async def _linger(self) -> None:
        """Closing with unread bytes resets the connection, and the reset can overtake our last answer (RFC 9112 9.6)."""
        with anyio.move_on_after(self.limits.linger_s), suppress(*_GONE, OSError):
            await self.transport.send_eof()
            while True:
                await self.transport.receive()

    async def _send_event(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            await self.stream.send(data)

    async def _receive(self) -> None:
        try:
            self._http.receive_data(await self.stream.receive(PIECE_BYTES))
        except anyio.EndOfStream:
            self._http.receive_data(b"")


@asynccontextmanager
async def _closed_afterwards(pieces: AsyncIterator[bytes]) -> AsyncIterator[AsyncIterator[bytes]]:
    """A generator is closed by the task that read it, whatever ends the reading."""
    try:
        yield pieces
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()


def _head_lines(content_type: str) -> list[tuple[str, str]]:
    return [("date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())), ("content-type", content_type)]


_REASONS: Final = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    422: b"Unprocessable Entity",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    503: b"Service Unavailable",
}


async def _stream_of(accepted: socket.socket) -> SocketStream | None:
    try:
        return await SocketStream.from_socket(accepted)
    except (OSError, ValueError):  # reset before we looked
        accepted.close()
        return None


def _address(stream: SocketStream) -> str:
    address: Any = stream.extra(SocketAttribute.remote_address, "")
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)


def _watch_for_silence(stream: SocketStream) -> None:
    raw = stream.extra(SocketAttribute.raw_socket)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)

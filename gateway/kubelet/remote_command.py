"""`/exec/...` and `/attach/...`: a conversation with a container over a WebSocket, as the API server and our own command line have it.

Query names are the kubelet's (pkg/kubelet/server/server.go, getExecRequestParams; cri-streaming/remotecommand, NewOptions).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio

from gateway.kubelet import channels
from gateway.kubelet.channels import Channel, ChannelError, Input, InputEnd, Resize
from gateway.kubelet.container_logs import container_names, quoted
from gateway.kubelet.exchange import Answer, Pipe, Request, RequestRefused, TakeoverReply
from gateway.kubelet.seams import Conversation, ConversationRefused, Conversations, Output, PodDirectory, TerminalWish

if TYPE_CHECKING:
    from gateway.kubelet.websocket import WebSocket

MAX_WHO_CHARS: Final = 80
PIECE_BYTES: Final = 64 * 1024
PROBE_S: Final = 5.0
"""While input waits for somebody to read it, nobody hears that its client has left: so often the client is written to."""
DEFAULT_TERMINAL: Final = TerminalWish("xterm", 80, 24)
"""Until the client tells its own."""


@dataclass(frozen=True, slots=True)
class Streams:
    """What a client wants to have of a conversation."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


@dataclass(frozen=True, slots=True)
class RemoteCommandHandler:
    """is_exec: run a command beside the container's; else look on, and type to it."""

    pods: PodDirectory
    conversations: Conversations
    is_exec: bool

    async def __call__(self, request: Request, arguments: Sequence[str]) -> Answer:
        namespace, name, *uid, container = arguments
        pod = self.pods.find(namespace, name)
        if pod is None or (uid and pod["metadata"]["uid"] != uid[0]):
            raise RequestRefused(404, f"pod {quoted(name)} does not exist")
        if container not in container_names(pod):
            raise RequestRefused(404, f"container {quoted(container)} not found in pod {quoted(name)}")
        streams = streams_of(request)
        if self.is_exec:
            argv = request.query.get("command", [])
            if not argv:
                raise RequestRefused(400, "you must specify at least 1 command")
            begin = functools.partial(self.conversations.exec, pod, container, argv, DEFAULT_TERMINAL if streams.tty else None)
        else:
            typist = who(request) if streams.stdin else None
            begin = functools.partial(self.conversations.attach, pod, container, typist, is_terminal=streams.tty)
        # Without a terminal nobody can ever say anything: a command that reads finds the end, as with a container runtime.
        return _takeover(request, streams, begin, has_no_input=self.is_exec and not streams.stdin and not streams.tty)


def streams_of(request: Request) -> Streams:
    """Raises RequestRefused as the kubelet does."""
    wanted = {name: request.query.get(name, [""])[0] in ("1", "true") for name in ("input", "output", "error", "tty")}
    if not (wanted["input"] or wanted["output"] or wanted["error"]):
        raise RequestRefused(400, "you must specify at least 1 of stdin, stdout, stderr")
    if wanted["tty"] and wanted["error"]:
        wanted["error"] = False  # a terminal has one output
    return Streams(wanted["input"], wanted["output"], wanted["error"], wanted["tty"])


def who(request: Request) -> str:
    """Who types, for others: what a person on this machine says of themselves, else that it came from the cluster."""
    if not request.peer.is_local:
        return "somebody in the cluster"
    return request.query.get("who", ["somebody"])[0][:MAX_WHO_CHARS]


def _takeover(
    request: Request, streams: Streams, begin: Callable[[], AbstractAsyncContextManager[Conversation]], *, has_no_input: bool
) -> TakeoverReply:
    from gateway.kubelet.websocket import WebSocket, accept_token, is_key  # loaded by the first conversation: most gateways have none

    headers = request.headers
    if headers.get("upgrade", "").lower() != "websocket":
        raise RequestRefused(501, "this node speaks WebSocket for exec and attach, and no SPDY yet")
    protocol = channels.choose(headers.get("sec-websocket-protocol", ""))
    key = headers.get("sec-websocket-key", "")
    if protocol is None:
        raise RequestRefused(400, f"none of the WebSocket protocols is spoken here; there are: {', '.join(channels.PROTOCOLS)}")
    if headers.get("sec-websocket-version") != "13" or not is_key(key):
        raise RequestRefused(400, "no WebSocket handshake of RFC 6455")
    answer = (("upgrade", "websocket"), ("sec-websocket-accept", accept_token(key)), ("sec-websocket-protocol", protocol))

    async def run(stream: Pipe, early: bytes) -> None:
        await _converse(WebSocket(stream, early), streams, begin, has_no_input=has_no_input)

    return TakeoverReply(answer, run)


async def _converse(
    socket: WebSocket, streams: Streams, begin: Callable[[], AbstractAsyncContextManager[Conversation]], *, has_no_input: bool
) -> None:
    try:
        async with begin() as conversation, anyio.create_task_group() as tasks:
            if has_no_input:
                await conversation.send(b"", is_end=True)
            input_waits = anyio.Lock()
            tasks.start_soon(_take_input, socket, streams, conversation, input_waits, tasks.cancel_scope)
            tasks.start_soon(_look_after, socket, input_waits, tasks.cancel_scope)
            await _give_output(socket, streams, conversation)
            tasks.cancel_scope.cancel()
    except* ConversationRefused as refused:
        await socket.send(channels.failed(_text(refused)))
    await socket.close()


def _text(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


async def _give_output(socket: WebSocket, streams: Streams, conversation: Conversation) -> None:
    """Until the conversation has ended."""
    while True:
        told = await conversation.receive()
        if not isinstance(told, Output):
            await socket.send(channels.success() if told is None else channels.exited(told))
            return
        channel = Channel.STDERR if told.is_error and not streams.tty else Channel.STDOUT
        if streams.stderr if channel is Channel.STDERR else streams.stdout:
            for start in range(0, len(told.data), PIECE_BYTES):
                await socket.send(channels.encode(channel, told.data[start : start + PIECE_BYTES]))


async def _look_after(socket: WebSocket, input_waits: anyio.Lock, scope: anyio.CancelScope) -> None:
    """The client may leave while its input waits, and what it sent is not read to its end."""
    while True:
        await anyio.sleep(PROBE_S)
        if input_waits.locked() and not await socket.is_there():
            scope.cancel()


async def _take_input(
    socket: WebSocket, streams: Streams, conversation: Conversation, input_waits: anyio.Lock, scope: anyio.CancelScope
) -> None:
    """Until the client leaves: that ends the conversation."""
    try:
        while (message := await socket.receive()) is not None:
            match channels.decode(message):
                case Input(data) if streams.stdin:
                    async with input_waits:
                        await conversation.send(data)
                case InputEnd() if streams.stdin:
                    async with input_waits:
                        await conversation.send(b"", is_end=True)
                case Resize(columns, rows) if streams.tty:
                    conversation.resize(columns, rows)
                case _:
                    pass
    except ChannelError:
        pass  # such a client is sent away
    scope.cancel()

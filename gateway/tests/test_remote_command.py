"""exec and attach over a WebSocket: the channels, who is refused and how, and what becomes of a conversation when one side leaves."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream

from gateway.cli.client import Client, GatewayRefused
from gateway.cli.websocket_client import opened
from gateway.kubelet import channels, remote_command
from gateway.kubelet.channels import Channel, ChannelError, Input, InputEnd, Resize
from gateway.kubelet.listeners import listen_unix
from gateway.kubelet.routes import Endpoint, kubelet_routes
from gateway.kubelet.seams import TerminalWish
from gateway.kubelet.server import HttpServer, Limits
from gateway.kubelet.websocket import MAX_MESSAGE_BYTES, WebSocket, accept_token, is_key
from gateway.tests.endpoint_fakes import DEADLINE_S, FakeConversations, FakeLogs, FakePods, FixedVitals, pod, read_until, serving

KEY = base64.b64encode(bytes(16)).decode()


@pytest.fixture
async def fake() -> FakeConversations:
    return FakeConversations()


@pytest.fixture
async def client(tmp_path: Path, fake: FakeConversations) -> AsyncIterator[Client]:
    path = tmp_path / "socket"
    routes = kubelet_routes(FakePods([pod("hello")]), FakeLogs({}), FixedVitals(), fake)
    async with serving(HttpServer(Endpoint(routes), limits=Limits(linger_s=0.05)), await listen_unix(path)):
        yield Client(path)


async def all_of(socket: WebSocket) -> list[tuple[int, bytes]]:
    told = []
    with anyio.fail_after(DEADLINE_S):
        while (message := await socket.receive()) is not None:
            told.append((message[0], message[1:]))
    return told


def together(told: list[tuple[int, bytes]], channel: Channel) -> bytes:
    return b"".join(data for number, data in told if number == channel)


# -- the channels


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        (b"\x00ls\n", Input(b"ls\n")),
        (b"\x00", None),
        (b"\xff\x00", InputEnd()),
        (b"\xff\x01", None),
        (b'\x04{"Width":80,"Height":24}', Resize(80, 24)),
    ],
)
def test_what_a_client_means(message: bytes, meaning: object) -> None:
    assert channels.decode(message) == meaning


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x01out",
        b"\x03{}",
        b"\x05",
        b"\x04",
        b"\x04[]",
        b'\x04{"Width":80}',
        b'\x04{"Width":-1,"Height":1}',
        b'\x04{"Width":true,"Height":1}',
        b'\x04{"Width":10001,"Height":1}',
        b"\x04" + b"[" * 100_000,
    ],
)
def test_what_no_client_means_ends_the_conversation(message: bytes) -> None:
    with pytest.raises(ChannelError):
        channels.decode(message)


def test_results_are_those_that_kubectl_reads() -> None:
    code = json.loads(channels.exited(3)[1:])
    assert (code["status"], code["reason"], code["details"]) == (
        "Failure",
        "NonZeroExitCode",
        {"causes": [{"reason": "ExitCode", "message": "3"}]},
    )
    assert channels.exited(0) == channels.success()
    assert [channels.result(each[1:]) for each in (channels.success(), channels.exited(3), channels.failed("no"))] == [
        (0, ""),
        (3, ""),
        (1, "no"),
    ]
    for nonsense in (b"", b"[]", b'{"status":"Failure","details":[]}', b'{"details":{"causes":[{"reason":"ExitCode","message":"x"}]}}'):
        assert channels.result(nonsense)[0] == 1


def test_the_best_protocol_that_both_speak() -> None:
    assert channels.choose("v4.channel.k8s.io, v5.channel.k8s.io") == "v5.channel.k8s.io"
    assert channels.choose("channel.k8s.io,v4.channel.k8s.io") == "v4.channel.k8s.io"
    assert channels.choose("base64.channel.k8s.io") is None


def test_the_handshake_of_the_rfc() -> None:
    assert accept_token("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 1.3
    assert is_key(KEY)
    assert not is_key("dG9vIHNob3J0")
    assert not is_key("?")


# -- conversations


async def test_a_command_gets_its_input_and_gives_its_streams_and_its_code(client: Client, fake: FakeConversations) -> None:
    async with opened(client, "/exec/default/hello/main?command=cat&command=7&input=1&output=1&error=1") as socket:
        await socket.send(channels.encode(Channel.STDIN, b"one"))
        await socket.send(channels.encode(Channel.STDIN, b"!two"))
        await socket.send(channels.input_end())
        told = await all_of(socket)
    assert (together(told, Channel.STDOUT), together(told, Channel.STDERR)) == (b"one", b"!two")
    assert channels.result(together(told, Channel.ERROR)) == (7, "")
    assert fake.begun == [("exec", "hello", "main", ("cat", "7"), None)]
    assert fake.open == 0


async def test_a_command_without_an_input_finds_its_end(client: Client, fake: FakeConversations) -> None:
    async with opened(client, "/exec/default/hello/main?command=cat&command=5&output=1") as socket:
        assert channels.result(together(await all_of(socket), Channel.ERROR)) == (5, "")
    assert fake.open == 0


async def test_a_terminal_has_one_output_and_a_size(client: Client, fake: FakeConversations) -> None:
    async with opened(client, "/exec/default/hello/main?command=cat&command=0&input=1&output=1&error=1&tty=1") as socket:
        await socket.send(channels.encode(Channel.RESIZE, b'{"Width":93,"Height":31}'))
        await socket.send(channels.encode(Channel.STDIN, b"!both"))
        await socket.send(channels.input_end())
        told = await all_of(socket)
    assert (together(told, Channel.STDOUT), together(told, Channel.STDERR)) == (b"93x31!both", b"")
    assert fake.begun == [("exec", "hello", "main", ("cat", "0"), TerminalWish("xterm", 80, 24))]


async def test_who_types_is_told_and_who_looks_on_types_nothing(client: Client, fake: FakeConversations) -> None:
    async with opened(client, f"/attach/default/hello/uid-hello/main?input=1&output=1&who={'alice' * 40}") as socket:
        await socket.send(channels.input_end())
        assert channels.result(together(await all_of(socket), Channel.ERROR)) == (0, "")
    async with opened(client, "/attach/default/hello/main?output=1&tty=1") as socket:
        await socket.send(channels.encode(Channel.STDIN, b"mine"))
        await socket.send(channels.encode(Channel.RESIZE, b'{"Width":1,"Height":2}'))
        with anyio.fail_after(DEADLINE_S):
            assert await socket.receive() == b"\x011x2"
    (_, _, _, alice, _), nobody = fake.begun
    assert alice == ("alice" * 40)[:80]
    assert nobody == ("attach", "hello", "main", None, True)


async def test_whatever_fails_is_the_result(client: Client) -> None:
    async with opened(client, "/exec/default/hello/main?command=dog&output=1") as socket:
        assert channels.result(together(await all_of(socket), Channel.ERROR)) == (1, "there is no dog")
    async with opened(client, "/exec/default/hello/main?command=cat&command=0&input=1&output=1") as socket:
        await socket.send(channels.encode(Channel.STDIN, b"break"))
        assert channels.result(together(await all_of(socket), Channel.ERROR)) == (1, "the device is gone")


async def left(fake: FakeConversations) -> None:
    with anyio.fail_after(DEADLINE_S):
        while fake.open:
            await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def begun(client: Client, fake: FakeConversations) -> AsyncIterator[WebSocket]:
    async with opened(client, "/exec/default/hello/main?command=cat&command=0&input=1&output=1") as socket:
        await socket.send(channels.encode(Channel.STDIN, b"up"))
        with anyio.fail_after(DEADLINE_S):
            assert await socket.receive() == b"\x01up"
        assert fake.open == 1
        yield socket


async def test_a_client_that_leaves_ends_it(client: Client, fake: FakeConversations) -> None:
    async with begun(client, fake):
        pass
    await left(fake)


async def test_a_client_that_leaves_while_its_input_waits_ends_it(
    client: Client, fake: FakeConversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_command, "PROBE_S", 0.02)
    async with begun(client, fake) as socket:
        await socket.send(channels.encode(Channel.STDIN, b"never read"))
        await socket.send(channels.encode(Channel.STDIN, b"behind it"))
        with anyio.move_on_after(0.2) as listening:
            await socket.receive()
        assert listening.cancelled_caught  # it is asked whether it is there, and that is no message
        assert fake.open == 1
    await left(fake)


class OneWay:
    """What was sent on one is received here; what is sent here finds no room."""

    def __init__(self) -> None:
        self.there = bytearray()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = bytes(self.there[:max_bytes])
        del self.there[:max_bytes]
        return data

    async def send(self, data: bytes) -> None:
        await anyio.sleep_forever()


class ToOneWay(OneWay):
    def __init__(self, far: OneWay) -> None:
        super().__init__()
        self._far = far

    async def send(self, data: bytes) -> None:
        self._far.there += data


async def test_a_client_whose_input_waits_is_asked_nothing_that_it_had_to_answer() -> None:
    far = OneWay()
    gateway, client = WebSocket(ToOneWay(far), b""), WebSocket(far, b"", is_client=True)
    assert await gateway.is_there()
    await gateway.send(b"output")
    with anyio.fail_after(DEADLINE_S):
        assert await client.receive() == b"output"


@pytest.mark.parametrize("message", [b"\x07", b"\x00" + b"x" * MAX_MESSAGE_BYTES])
async def test_a_client_that_sends_nonsense_is_sent_away(client: Client, fake: FakeConversations, message: bytes) -> None:
    async with begun(client, fake) as socket:
        await socket.send(message)
        await all_of(socket)
        await left(fake)


# -- what does not begin


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        ("/exec/default/absent/main?command=x&output=1", 404, 'pod "absent" does not exist'),
        ("/exec/default/hello/other-uid/main?command=x&output=1", 404, 'pod "hello" does not exist'),
        ("/exec/default/hello/side?command=x&output=1", 404, 'container "side" not found in pod "hello"'),
        ("/exec/default/hello/main?output=1", 400, "you must specify at least 1 command"),
        ("/exec/default/hello/main?command=x", 400, "you must specify at least 1 of stdin, stdout, stderr"),
    ],
)
async def test_refusals_are_the_kubelets(client: Client, target: str, status: int, text: str) -> None:
    with pytest.raises(GatewayRefused, match=text):
        async with opened(client, target):
            pass


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda head: head.replace("Upgrade: websocket\r\n", "Upgrade: SPDY/3.1\r\n"), b"no SPDY"),
        (lambda head: head.replace("v5.channel.k8s.io", "v3.channel.k8s.io"), b"v5.channel.k8s.io, v4.channel.k8s.io"),
        (lambda head: head.replace("Version: 13", "Version: 8"), b"RFC 6455"),
        (lambda head: head.replace(KEY, "short"), b"RFC 6455"),
    ],
)
async def test_another_handshake_is_refused_in_words(client: Client, change: Callable[[str], str], text: bytes) -> None:
    head = (
        "GET /exec/default/hello/main?command=cat&command=0&output=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n"
    )
    stream: ByteStream = await anyio.connect_unix(client.path)
    async with stream:
        await stream.send(change(head).encode())
        answer = await read_until(stream, text)
    assert not answer.startswith(b"HTTP/1.1 101")
    assert text in answer


def test_a_gateway_without_conversations_does_not_load_websockets() -> None:
    program = "import gateway.app, sys; print('wsproto' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"

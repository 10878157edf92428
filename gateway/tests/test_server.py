"""The HTTP server against raw clients on a real unix socket: what is served, what is refused, and who is not disturbed by it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from gateway.kubelet.exchange import Answer, Reply, Request, RequestRefused, StreamReply
from gateway.kubelet.listeners import listen_unix
from gateway.kubelet.server import MAX_EARLY_BYTES, HttpServer, Limits
from gateway.tests.endpoint_fakes import read_to_end, read_until, serving, talk

QUICK = Limits(head_s=0.05, idle_s=0.05, linger_s=0.05)
ROOMY = Limits(idle_s=5, linger_s=0.05)
"""Long enough never to matter, short enough that a broken test ends."""


class Stage:
    """A handler whose paths do what their names say."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.left = anyio.Event()
        self.more, self._pieces = anyio.create_memory_object_stream[bytes](16)

    async def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        match request.path:
            case "/hello":
                return Reply(200, b"hello")
            case "/bulk":
                return Reply(200, bytes(8_000_000))
            case "/no":
                raise RequestRefused(422, "no", (("x-why", "because"),))
            case "/bug":
                raise KeyError("a bug")
            case "/follow":
                return StreamReply(self._follow())
            case "/broken-stream":
                return StreamReply(self._break_off())
            case "/big":
                return StreamReply(self._big())
        raise RequestRefused(404, "nothing here")

    async def _follow(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._pieces:
                yield piece
        finally:
            self.left.set()

    async def _break_off(self) -> AsyncIterator[bytes]:
        yield b"so far"
        raise KeyError("a bug")

    async def _big(self) -> AsyncIterator[bytes]:
        for number in range(10):
            yield bytes([number]) * 200_000


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage()
    yield made
    made.more.close()
    made._pieces.close()


@pytest.fixture
async def path(stage: Stage, tmp_path: Path) -> AsyncIterator[str]:
    async with serving(HttpServer(stage, limits=ROOMY), await listen_unix(tmp_path / "s")) as address:
        yield str(address)


@pytest.fixture
async def quick_path(stage: Stage, tmp_path: Path) -> AsyncIterator[str]:
    async with serving(HttpServer(stage, limits=QUICK), await listen_unix(tmp_path / "q")) as address:
        yield str(address)


def get(target: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


async def test_a_connection_serves_many_requests(path: str) -> None:
    async with await anyio.connect_unix(path) as client:
        for _ in range(3):
            await client.send(get("/hello"))
            answer = await read_until(client, b"hello")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"date: " in answer
            assert b"content-length: 5" in answer


async def test_pipelined_requests_are_answered_in_order(path: str) -> None:
    answer = await talk(path, get("/hello") + get("/no") + get("/hello", "Connection: close"))
    assert [answer.index(b"200 OK"), answer.index(b"422 "), answer.rindex(b"200 OK")] == sorted(
        [answer.index(b"200 OK"), answer.index(b"422 "), answer.rindex(b"200 OK")]
    )
    assert answer.count(b"HTTP/1.1") == 3
    assert b"x-why: because" in answer


async def test_path_and_query_arrive_decoded_once(path: str, stage: Stage) -> None:
    await talk(path, get("/a%2520b/c%2Fd?x=1&x=2&empty=&y=%41", "Connection: close"))
    (request,) = stage.requests
    assert request.path == "/a%20b/c/d"
    assert request.query == {"x": ["1", "2"], "empty": [""], "y": ["A"]}
    assert request.peer.is_local


async def test_an_absolute_target_is_the_same_as_its_path(path: str, stage: Stage) -> None:
    assert b"hello" in await talk(path, get("http://somewhere:1/hello?x=y", "Connection: close"))
    assert stage.requests[0].query == {"x": ["y"]}


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n", b"400"),
        (b"GET /hello\r\n\r\n", b"400"),
        (b"GET /hello HTTP/1.1\r\n\r\n", b"400"),  # no Host
        (b"GET hello HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET /hello HTTP/1.1\r\nHost: x\r\nBad Header: 1\r\n\r\n", b"400"),
        (b"GET /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"GET /hello HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", b"400"),
        (b"GET /?" + b"&".join(b"a=1" for _ in range(300)) + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET /" + b"a" * 140_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
        (b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + b"a" * 70_000, b"413"),
        (b"POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
    ],
)
async def test_what_is_not_a_request_gets_one_line_and_the_door(path: str, stage: Stage, data: bytes, status: bytes) -> None:
    answer = await talk(path, data)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"connection: close" in answer.lower()
    assert not stage.requests
    body = answer.partition(b"\r\n\r\n")[2]
    assert body.count(b"\n") <= 1
    assert b"Traceback" not in body
    assert b"hello" in await talk(path, get("/hello", "Connection: close"))


async def test_a_head_that_drips_is_cut_off(quick_path: str, stage: Stage) -> None:
    async with await anyio.connect_unix(quick_path) as client:
        await client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n")
        answer = await read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout")
    assert not stage.requests


async def test_a_body_that_drips_is_cut_off(quick_path: str, stage: Stage) -> None:
    async with await anyio.connect_unix(quick_path) as client:
        await client.send(b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123")
        answer = await read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout")
    assert not stage.requests


async def test_an_idle_connection_is_closed_without_a_word(quick_path: str) -> None:
    async with await anyio.connect_unix(quick_path) as client:
        await client.send(get("/hello"))
        await read_until(client, b"hello")
        assert await read_to_end(client) == b""


async def test_a_body_is_read_and_dropped(path: str) -> None:
    request = b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345"
    assert (await talk(path, request + get("/hello", "Connection: close"))).count(b"200 OK") == 2


async def test_a_client_that_asks_before_sending_its_body_is_told_to_go_on(path: str) -> None:
    async with await anyio.connect_unix(path) as client:
        await client.send(b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        await read_until(client, b"100 Continue")
        await client.send(b"ab")
        await read_until(client, b"200 OK")


async def test_a_request_for_an_upgrade_that_nobody_takes_is_an_ordinary_one(path: str) -> None:
    upgrade = get("/hello", "Connection: Upgrade", "Upgrade: websocket")
    assert (await talk(path, upgrade + get("/hello", "Connection: close"))).count(b"200 OK") == 2


async def test_head_gets_no_body(path: str) -> None:
    answer = await talk(path, b"HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"content-length: 5" in answer
    assert answer.endswith(b"\r\n\r\n")


async def test_http_1_0_gets_a_stream_that_ends_with_the_connection(path: str) -> None:
    answer = await talk(path, b"GET /big HTTP/1.0\r\n\r\n")
    assert answer.partition(b"\r\n\r\n")[2] == b"".join(bytes([number]) * 200_000 for number in range(10))


async def test_a_bug_is_a_500_for_one_client_only(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with await anyio.connect_unix(path) as other:
        await other.send(get("/hello"))
        await read_until(other, b"hello")
        answer = await talk(path, get("/bug"))
        assert answer.startswith(b"HTTP/1.1 500")
        assert b"KeyError" not in answer
        assert "a request handler failed" in caplog.text
        await other.send(get("/hello"))
        await read_until(other, b"hello")


async def test_a_connection_that_fails_in_a_way_nobody_thought_of_ends_alone(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def no_thread() -> ssl.SSLContext:
        raise RuntimeError("can't start new thread")

    async with serving(HttpServer(stage, no_thread, ROOMY), await listen_unix(tmp_path / "t")) as path:
        for _ in range(2):
            async with await anyio.connect_unix(path) as client:
                assert await read_to_end(client) == b""
    assert "can't start new thread" in caplog.text


async def test_a_piece_is_sent_as_soon_as_it_is_there(path: str, stage: Stage) -> None:
    async with await anyio.connect_unix(path) as client:
        await client.send(get("/follow"))
        await read_until(client, b"chunked\r\n\r\n")
        for piece in (b"one\n", b"two\n"):
            await stage.more.send(piece)
            await read_until(client, piece)
        stage.more.close()
        await read_until(client, b"0\r\n\r\n")
        await client.send(get("/hello"))
        await read_until(client, b"hello")


async def test_a_quiet_stream_ends_when_its_client_leaves(path: str, stage: Stage) -> None:
    async with await anyio.connect_unix(path) as client:
        await client.send(get("/follow"))
        await read_until(client, b"chunked\r\n\r\n")
    with anyio.fail_after(5):
        await stage.left.wait()


async def test_a_stream_whose_client_does_not_read_ends_when_it_leaves(path: str, stage: Stage) -> None:
    async with await anyio.connect_unix(path) as client:
        await client.send(get("/follow"))
        with anyio.fail_after(5):
            while stage.more.statistics().current_buffer_used < 8:
                await stage.more.send(b"x" * 200_000)
                await anyio.lowlevel.checkpoint()
        assert not stage.left.is_set()
    with anyio.fail_after(5):
        await stage.left.wait()


async def test_a_client_that_talks_on_and_on_during_a_stream_is_left(path: str, stage: Stage) -> None:
    async with await anyio.connect_unix(path) as client:
        await client.send(get("/follow"))
        await read_until(client, b"chunked\r\n\r\n")
        with suppress(anyio.BrokenResourceError):
            await client.send(b"x" * (2 * MAX_EARLY_BYTES))
        with anyio.fail_after(5):
            await stage.left.wait()


async def test_a_stream_that_breaks_off_does_not_look_whole(path: str, caplog: pytest.LogCaptureFixture) -> None:
    answer = await talk(path, get("/broken-stream"))
    assert b"so far" in answer
    assert not answer.endswith(b"0\r\n\r\n")
    assert "broke off" in caplog.text


async def test_the_longest_idle_connection_makes_room_for_a_new_one(stage: Stage, tmp_path: Path) -> None:
    server = HttpServer(stage, limits=Limits(connections=2, linger_s=0.05))
    path = str(tmp_path / "s")
    async with (
        serving(server, await listen_unix(tmp_path / "s")),
        await anyio.connect_unix(path) as follower,
        await anyio.connect_unix(path) as idle,
    ):
        await follower.send(get("/follow"))
        await read_until(follower, b"chunked\r\n\r\n")
        await idle.send(get("/hello"))
        await read_until(idle, b"hello")
        assert b"200 OK" in await talk(path, get("/hello", "Connection: close"))
        assert await read_to_end(idle) == b""
        await stage.more.send(b"still here")
        await read_until(follower, b"still here")


async def test_when_everyone_is_busy_the_newcomer_is_turned_away(stage: Stage, tmp_path: Path) -> None:
    server = HttpServer(stage, limits=Limits(connections=1, linger_s=0.05))
    path = str(tmp_path / "s")
    async with serving(server, await listen_unix(tmp_path / "s")), await anyio.connect_unix(path) as follower:
        await follower.send(get("/follow"))
        await read_until(follower, b"chunked\r\n\r\n")
        async with await anyio.connect_unix(path) as newcomer:
            assert await read_to_end(newcomer) == b""


async def test_a_client_that_asks_and_does_not_read_is_left(stage: Stage, tmp_path: Path) -> None:
    server = HttpServer(stage, limits=Limits(connections=1, reply_s=0.05, linger_s=0.05))
    path = str(tmp_path / "s")
    async with serving(server, await listen_unix(tmp_path / "s")), await anyio.connect_unix(path) as client:
        await client.send(get("/bulk"))
        await read_until(client, b"200 OK")  # before that it would make room as an idle one
        answer = b""
        with anyio.fail_after(5):
            while b"200 OK" not in answer:
                with suppress(anyio.BrokenResourceError):  # turned away before it could ask
                    answer = await talk(path, get("/hello", "Connection: close"))
        assert len(await read_to_end(client)) < 8_000_000


async def test_the_server_ends_with_its_scope_and_takes_its_clients_along(stage: Stage, tmp_path: Path) -> None:
    async with serving(HttpServer(stage), await listen_unix(tmp_path / "s")) as path:
        client = await anyio.connect_unix(str(path))
        await client.send(get("/follow"))
        await read_until(client, b"chunked\r\n\r\n")
    assert stage.left.is_set()
    async with client:
        assert await read_to_end(client) == b""

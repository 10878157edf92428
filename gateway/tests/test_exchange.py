"""Writes to the API server go a shorter way than reads: what they must not lose by it."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from gateway.kube.api import KubeApi, PatchKind
from gateway.kube.errors import Unavailable
from gateway.tests.kube_server import Answer, WatchAnswer, kube_server, kubeconfig

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@asynccontextmanager
async def raw_server(folder: Path, *answers: bytes, closes: bool = False) -> AsyncIterator[tuple[KubeApi, list[SocketStream]]]:
    """Sends these answers on each connection, the last of them for ever; the list has the connections that were made."""
    made: list[SocketStream] = []

    async def serve(stream: SocketStream) -> None:
        made.append(stream)
        async with stream:
            for number in itertools.count():
                try:
                    await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return
                await stream.send(answers[min(number, len(answers) - 1)])
                if closes:
                    return

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        url = f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}"
        async with await KubeApi.connect(str(kubeconfig(folder, url))) as api:
            yield api, made
        tasks.cancel_scope.cancel()


async def test_a_write_that_is_not_answered_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.kube.api.REQUEST_TIMEOUT_S", 0.2)
    async with kube_server(tmp_path) as (server, api):
        server.will("POST", "/x", WatchAnswer([b"{"], ends=anyio.Event()))
        with anyio.fail_after(5), pytest.raises(Unavailable, match="did not answer in time"):
            await api.create("/x", {})


async def test_an_answer_to_a_write_has_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.kube.clients.MAX_ANSWER_BYTES", 1000)
    async with kube_server(tmp_path) as (server, api):
        server.will("POST", "/x", Answer(200, {"x": "y" * 1000}))
        with pytest.raises(Unavailable, match="the answer exceeds 1000 bytes"):
            await api.create("/x", {})


async def test_one_connection_serves_many_writes(tmp_path: Path) -> None:
    async with raw_server(tmp_path, OK) as (api, made):
        for _ in range(5):
            await api.create("/x", {})
    assert len(made) == 1


async def test_a_connection_that_the_server_closes_is_not_used_again(tmp_path: Path) -> None:
    async with raw_server(tmp_path, OK.replace(b"200 OK", b"200 OK\r\nConnection: close"), closes=True) as (api, made):
        for _ in range(3):
            await api.create("/x", {})
    assert len(made) == 3


async def test_the_answer_to_a_write_that_was_given_up_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it has come when it is given up; on the same connection it would be taken for the next one's."""
    monkeypatch.setattr("gateway.kube.api.REQUEST_TIMEOUT_S", 0.2)
    late = OK.replace(b"2\r\n\r\n{}", b'8\r\n\r\n{"n": 1}')
    async with raw_server(tmp_path, b"", late + OK) as (api, made):
        with pytest.raises(Unavailable):
            await api.create("/x", {})
        with pytest.raises(Unavailable):
            await api.create("/x", {})
        assert len(made) == 2


async def test_hints_before_the_answer_are_passed_over(tmp_path: Path) -> None:
    async with raw_server(tmp_path, b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK) as (api, _):
        assert await api.create("/x", {}) == {}


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.6\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"])
async def test_what_is_no_http_is_unavailable(tmp_path: Path, answer: bytes) -> None:
    async with raw_server(tmp_path, answer) as (api, _):
        with anyio.fail_after(5), pytest.raises(Unavailable):
            await api.create("/x", {})


async def test_a_connection_that_breaks_in_an_answer_is_unavailable(tmp_path: Path) -> None:
    async with raw_server(tmp_path, OK[:-1], closes=True) as (api, _):
        with anyio.fail_after(5), pytest.raises(Unavailable):
            await api.create("/x", {})


async def test_a_server_may_have_a_path_and_a_name_any_character(tmp_path: Path) -> None:
    async with kube_server(tmp_path) as (server, _):
        server.will("PATCH", "/k8s/clusters/c/pods/a%20b%0D%0Ac", Answer(200, {"kind": "Pod"}))
        async with await KubeApi.connect(str(kubeconfig(tmp_path, f"{server.url}/k8s/clusters/c/", token="t0k"))) as api:
            assert await api.patch("/pods/a b\r\nc", {}, PatchKind.MERGE, {"fieldManager": "a b"}) == {"kind": "Pod"}
    assert server.asked[0].query == {"fieldManager": "a b"}
    assert server.asked[0].headers["authorization"] == "Bearer t0k"
    assert server.asked[0].headers["host"] == server.url.removeprefix("http://")


async def test_a_header_adds_no_other(tmp_path: Path) -> None:
    async with await KubeApi.connect(str(kubeconfig(tmp_path, "http://127.0.0.1:1")), user_agent="wirelet\r\nX: y") as api:
        with pytest.raises((ValueError, Unavailable)) as caught:
            await api.create("/x", {})
    assert isinstance(caught.value, ValueError)


async def test_a_proxy_that_is_configured_is_asked(tmp_path: Path) -> None:
    async with kube_server(tmp_path) as (server, _):
        server.will("POST", "/x", Answer(200, {"from": "the proxy"}))
        path = kubeconfig(tmp_path, "http://192.0.2.1")
        config = json.loads(path.read_text())
        config["clusters"][0]["cluster"]["proxy-url"] = server.url
        path.write_text(json.dumps(config))
        async with await KubeApi.connect(str(path)) as api:
            assert await api.create("/x", {}) == {"from": "the proxy"}

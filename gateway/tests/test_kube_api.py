"""The door to the API server: what is sent, and what every kind of answer becomes."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigError
from gateway.kube.api import LIST_PAGE, WRITES_IN_FLIGHT, KubeApi, PatchKind
from gateway.kube.backoff import Backoff
from gateway.kube.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Gone,
    KubeApiError,
    NotFound,
    Rejected,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    Unprocessable,
    error_from_answer,
)
from gateway.kube.watch import LineSplitter, LineTooLong, WatchKind
from gateway.tests.endpoint_fakes import Authority
from gateway.tests.kube_server import Answer, WatchAnswer, kube_server, kubeconfig

POD = "/api/v1/namespaces/n/pods/p"


def status_object(code: int, reason: str, **more: Any) -> bytes:
    return json.dumps({"kind": "Status", "code": code, "reason": reason, "message": f"{reason}!", **more}).encode()


@pytest.mark.parametrize(
    ("code", "reason", "kind", "retryable"),
    [
        (400, "BadRequest", Rejected, False),
        (401, "Unauthorized", Unauthorized, True),
        (403, "Forbidden", Forbidden, True),
        (404, "NotFound", NotFound, False),
        (409, "Conflict", Conflict, False),
        (409, "AlreadyExists", AlreadyExists, False),
        (410, "Expired", Gone, False),
        (422, "Invalid", Unprocessable, False),
        (429, "TooManyRequests", TooManyRequests, True),
        (500, "InternalError", Unavailable, True),
        (503, "ServiceUnavailable", Unavailable, True),
        (504, "Timeout", Unavailable, True),
    ],
)
def test_every_refusal_has_a_name(code: int, reason: str, kind: type[KubeApiError], retryable: bool) -> None:
    error = error_from_answer(code, {}, status_object(code, reason))
    assert type(error) is kind
    assert (error.status, error.reason, str(error), error.retryable) == (code, reason, f"{reason}!", retryable)


def test_the_fields_of_a_422_are_kept() -> None:
    details = {"causes": [{"reason": "FieldValueInvalid", "field": "metadata.uid"}]}
    assert error_from_answer(422, {}, status_object(422, "Invalid", details=details)).causes == ("metadata.uid",)


@pytest.mark.parametrize(("header", "expected_s"), [("7", 7.0), ("86400", 60.0), ("-1", 0.0), ("soon", 1.0), (None, 1.0)])
def test_a_server_cannot_make_us_wait_for_ever(header: str | None, expected_s: float) -> None:
    error = error_from_answer(429, {} if header is None else {"Retry-After": header}, b"slow down")
    assert isinstance(error, TooManyRequests)
    assert error.retry_after_s == expected_s


def test_a_long_refusal_is_shortened() -> None:
    answer = json.dumps({"kind": "Status", "message": "x" * 100_000}).encode()
    assert len(str(error_from_answer(500, {}, answer))) == 1000


def test_a_proxy_that_answers_in_html_is_shortened() -> None:
    error = error_from_answer(502, {}, b"<html>" + b"x" * 100_000)
    assert isinstance(error, Unavailable)
    assert len(str(error)) == 1000


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line and line), max_size=10), st.data())
def test_any_cut_of_a_watch_gives_the_same_lines(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    splitter, got = LineSplitter(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += splitter.feed(stream[start:end])
    assert got == lines


def test_a_line_without_an_end_is_refused() -> None:
    splitter = LineSplitter(max_line_bytes=10)
    assert splitter.feed(b"123456789") == []
    with pytest.raises(LineTooLong, match="10 bytes"):
        splitter.feed(b"0123")


def test_delays_grow_to_the_cap_and_start_again() -> None:
    backoff = Backoff(first_s=1.0, cap_s=8.0)
    delays = [backoff.next_s() for _ in range(6)]
    for delay, ceiling in zip(delays, [1, 2, 4, 8, 8, 8], strict=True):
        assert ceiling / 2 <= delay <= ceiling
    backoff.reset()
    assert backoff.next_s() <= 1.0


async def test_a_patch_says_its_kind_and_carries_the_body_once(tmp_path: Path) -> None:
    async with kube_server(tmp_path) as (server, api):
        server.will("PATCH", f"{POD}/status", Answer(200, {"kind": "Pod"}))
        body = {"metadata": {"uid": "u"}, "status": {"phase": "Running", "message": "50 \u00b5s \U0001f600"}}
        assert await api.patch(f"{POD}/status", body, PatchKind.STRATEGIC) == {"kind": "Pod"}
        await api.patch(f"{POD}/status", body, PatchKind.MERGE)
    first, second = server.seen("PATCH", f"{POD}/status")
    assert first.body == body
    assert first.headers["content-type"] == "application/strategic-merge-patch+json"
    assert second.headers["content-type"] == "application/merge-patch+json"
    assert first.headers["user-agent"].startswith("wirelet/")


async def test_a_delete_names_the_object_it_means(tmp_path: Path) -> None:
    async with kube_server(tmp_path) as (server, api):
        server.will("DELETE", POD, Answer(200, {"kind": "Status"}))
        await api.delete(POD, uid="u", grace_period_s=0)
    assert server.asked[0].body["preconditions"] == {"uid": "u"}
    assert server.asked[0].body["gracePeriodSeconds"] == 0


async def test_a_token_is_sent(tmp_path: Path) -> None:
    async with kube_server(tmp_path) as (server, _), await KubeApi.connect(str(kubeconfig(tmp_path, server.url, token="t0k"))) as api:
        server.will("GET", POD, Answer())
        await api.get(POD)
    assert server.asked[0].headers["authorization"] == "Bearer t0k"


async def test_a_token_may_stand_in_a_file_that_ends_its_line(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("t0k\n")
    config = {"tokenFile": str(file)}
    async with kube_server(tmp_path) as (server, _), await KubeApi.connect(str(kubeconfig(tmp_path, server.url, **config))) as api:
        server.will("GET", POD, Answer())
        server.will("POST", POD, Answer())
        await api.get(POD)
        await api.create(POD, {})
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer t0k"}


async def test_a_token_that_no_request_could_carry_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^cluster\.kubeconfig: cannot be used: its token "):
        await KubeApi.connect(str(kubeconfig(tmp_path, "http://127.0.0.1:1", token="one\ntwo")))


@pytest.mark.parametrize("answer", [{}, {"metadata": {}, "items": []}, {"status": "ok"}])
async def test_an_answer_that_is_no_list_is_not_an_empty_one(tmp_path: Path, answer: dict[str, Any]) -> None:
    """From a proxy, for example: two empty lists in a row stop every pod."""
    async with kube_server(tmp_path) as (server, api):
        server.will("GET", "/api/v1/pods", Answer(200, answer))
        with pytest.raises(Unavailable, match="no list"):
            await api.list_all("/api/v1/pods")


async def test_a_long_list_comes_in_pages(tmp_path: Path) -> None:
    pages = [
        Answer(200, {"metadata": {"continue": "next page", "resourceVersion": "7"}, "items": [{"n": 1}]}),
        Answer(200, {"metadata": {"resourceVersion": "7"}, "items": [{"n": 2}]}),
    ]
    async with kube_server(tmp_path) as (server, api):
        server.will("GET", "/api/v1/pods", *pages)
        listing = await api.list_all("/api/v1/pods", {"fieldSelector": "spec.nodeName=a b"})
    assert [item["n"] for item in listing.items] == [1, 2]
    assert listing.resource_version == "7"
    assert [asked.query.get("continue") for asked in server.asked] == [None, "next page"]
    assert server.asked[1].query["fieldSelector"] == "spec.nodeName=a b"
    assert server.asked[1].query["limit"] == str(LIST_PAGE)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"kind": "Pod"', b"<html>"])
async def test_an_answer_that_is_no_object_is_unavailable(tmp_path: Path, body: bytes) -> None:
    async with kube_server(tmp_path) as (server, api):
        server.will("GET", POD, Answer(200, body))
        with pytest.raises(Unavailable):
            await api.get(POD)


async def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    async with await KubeApi.connect(str(kubeconfig(tmp_path, "http://127.0.0.1:1"))) as api:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1"):
            await api.get(POD)


async def test_a_server_that_does_not_answer_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.kube.api.REQUEST_TIMEOUT_S", 0.2)
    async with kube_server(tmp_path) as (server, api):
        server.will("GET", POD, WatchAnswer([b"{"], ends=anyio.Event()))
        with anyio.fail_after(5), pytest.raises(Unavailable, match="did not answer in time"):
            await api.get(POD)


async def test_a_watch_that_is_not_answered_is_unavailable_as_soon_as_a_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.kube.api.REQUEST_TIMEOUT_S", 0.2)
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as silent:
        url = f"http://127.0.0.1:{silent.extra(SocketAttribute.local_port)}"
        async with await KubeApi.connect(str(kubeconfig(tmp_path, url))) as api:
            with anyio.fail_after(5), pytest.raises(Unavailable, match="did not answer in time"):
                async with api.watch("/api/v1/pods", "7"):
                    pass


async def test_a_watch_that_says_nothing_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.kube.clients.WATCH_SILENCE_S", 0.2)
    async with kube_server(tmp_path) as (server, api):
        server.will("WATCH", "/api/v1/pods", WatchAnswer.of(("ADDED", {}), ends=anyio.Event()))
        with anyio.fail_after(5), pytest.raises(Unavailable, match="did not answer in time"):
            await _drain(api)


async def test_an_answer_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.kube.clients.MAX_ANSWER_BYTES", 1000)
    async with kube_server(tmp_path) as (server, api):
        server.will("GET", POD, Answer(200, {"x": "y" * 1000}))
        with pytest.raises(Unavailable, match="the answer exceeds 1000 bytes"):
            await api.get(POD)


async def test_no_proxy_of_the_environment_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy for the web is not on the way to the API server, and to look for one costs half of all CPU."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with kube_server(tmp_path) as (server, api):
        server.will("GET", POD, Answer())
        await api.get(POD)


async def test_writes_in_flight_are_bounded(tmp_path: Path) -> None:
    ends = anyio.Event()
    async with kube_server(tmp_path) as (server, api):
        server.will("POST", "/x", WatchAnswer([b"{}"], ends=ends))
        server.will("GET", POD, Answer())
        async with anyio.create_task_group() as tasks:
            for _ in range(WRITES_IN_FLIGHT + 8):
                tasks.start_soon(api.create, "/x", {})
            await server.until("POST", "/x", WRITES_IN_FLIGHT)
            for _ in range(5):  # what is not held back arrives meanwhile
                await api.get(POD)
            assert len(server.seen("POST", "/x")) == WRITES_IN_FLIGHT
            assert api.is_writing
            ends.set()
        assert len(server.seen("POST", "/x")) == WRITES_IN_FLIGHT + 8


async def test_events_of_a_watch_come_while_it_is_open(tmp_path: Path) -> None:
    ends = anyio.Event()
    async with kube_server(tmp_path) as (server, api):
        bookmark = ("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
        server.will("WATCH", "/api/v1/pods", WatchAnswer.of(("ADDED", {"n": "\u00e9" * 70_000}), bookmark, ends=ends))
        seen = []
        async with api.watch("/api/v1/pods", "7") as events:
            async for event in events:
                seen.append(event.kind)
                if event.kind is WatchKind.BOOKMARK:
                    ends.set()
    assert seen == [WatchKind.ADDED, WatchKind.BOOKMARK]
    assert server.asked[0].query["resourceVersion"] == "7"
    assert server.asked[0].query["allowWatchBookmarks"] == "true"
    assert 300 <= int(server.asked[0].query["timeoutSeconds"]) <= 600


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(410, json.loads(status_object(410, "Expired"))), Gone),
        (WatchAnswer.of(("ERROR", json.loads(status_object(410, "Expired")))), Gone),
        (WatchAnswer.of(("ADDED", {}), cut=True), Unavailable),
        (WatchAnswer.of(("EXPLODED", {})), Unavailable),
        (WatchAnswer([b"garbage\n"]), Unavailable),
        (WatchAnswer([b'{"type": "ADDED"}\n']), Unavailable),
    ],
)
async def test_a_broken_watch_says_how(tmp_path: Path, answer: Answer | WatchAnswer, kind: type[KubeApiError]) -> None:
    async with kube_server(tmp_path) as (server, api):
        server.will("WATCH", "/api/v1/pods", answer)
        with pytest.raises(kind):
            await _drain(api)


async def test_an_open_watch_takes_no_connection_from_the_writes(tmp_path: Path) -> None:
    ends = anyio.Event()
    async with kube_server(tmp_path) as (server, api):
        server.will("WATCH", "/api/v1/pods", WatchAnswer.of(("ADDED", {}), ends=ends))
        server.will("POST", "/x", Answer())
        async with anyio.create_task_group() as tasks:
            for _ in range(WRITES_IN_FLIGHT * 4):
                tasks.start_soon(_drain, api)
            await server.until("WATCH", "/api/v1/pods", WRITES_IN_FLIGHT * 4)
            await api.create("/x", {})
            ends.set()


async def _drain(api: KubeApi) -> None:
    async with api.watch("/api/v1/pods", "7") as events:
        async for _ in events:
            pass


@pytest.mark.parametrize("content", ["", "{", "a: [", "- a", "kind: Config", '{"current-context": "x", "contexts": []}', "\x00"])
async def test_a_kubeconfig_that_cannot_be_used_is_one_clear_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"^cluster\.kubeconfig: cannot be used: ") as caught:
        await KubeApi.connect(str(path))
    assert "\n" not in str(caught.value)
    assert "not support" not in str(caught.value)


async def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*absent"):
        await KubeApi.connect(str(tmp_path / "absent"))


def test_importing_the_kubernetes_side_imports_no_client() -> None:
    """Standalone mode must stay below 30 MiB."""
    modules = "gateway.kube.api, gateway.kube.pods, gateway.kube.node, gateway.kube.lease, gateway.kube.events, gateway.node.controller"
    code = f"import sys, {modules}; print([m for m in ('kubernetes', 'aiohttp', 'pydantic', 'yaml') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


async def test_connecting_loads_no_typed_model(tmp_path: Path) -> None:
    code = (
        "import sys, anyio; from gateway.kube.api import KubeApi\n"
        "async def main():\n"
        "    async with await KubeApi.connect(sys.argv[1]): pass\n"
        "anyio.run(main)\n"
        "print([m for m in sys.modules if m.startswith('kubernetes.aio.client.models.') or m.startswith('kubernetes.aio.client.api.')])"
    )
    path = kubeconfig(tmp_path, "http://127.0.0.1:1")
    process = await anyio.run_process([sys.executable, "-c", code, str(path)])
    assert process.stdout.decode().strip() == "[]"


async def test_a_key_in_the_kubeconfig_is_copied_nowhere_and_one_beside_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    pair = Authority(tmp_path, "ca").client("system:node:pi", "system:nodes")
    held = {
        f"client-{kind}-data": base64.b64encode(path.read_bytes()).decode()
        for kind, path in (("certificate", pair.cert), ("key", pair.key))
    }
    async with await KubeApi.connect(str(kubeconfig(tmp_path, "https://127.0.0.1:1", **held))) as api:
        assert list(temporary.iterdir()) == []
        assert api.key_file is None
    beside = {"client-certificate": str(pair.cert), "client-key": str(pair.key)}
    async with await KubeApi.connect(str(kubeconfig(tmp_path, "https://127.0.0.1:1", **beside))) as api:
        assert api.key_file == pair.key

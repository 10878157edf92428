"""Credentials that run out while a gateway lives: tokens, certificates, plugins. A 401 is when it learns of it."""

from __future__ import annotations

import json
import logging
import shlex
import ssl
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.errors import ConfigError
from gateway.kube import api as api_module
from gateway.kube.api import KubeApi
from gateway.kube.credentials import read_credentials
from gateway.kube.errors import Unauthorized
from gateway.tests.kube_server import Answer, KubeServer, WatchAnswer, kube_server, kubeconfig

POD = "/api/v1/namespaces/n/pods/p"
PODS = "/api/v1/pods"
REFUSED = Answer(401, {"kind": "Status", "code": 401, "reason": "Unauthorized", "message": "Unauthorized"})


def tokens(server: KubeServer) -> list[str]:
    return [asked.headers["authorization"].removeprefix("Bearer ") for asked in server.asked]


def plugin(folder: Path, *lines: str) -> dict[str, Any]:
    """A user who has a credential plugin; every start of it is a line of the file `starts`."""
    script = folder / "plugin"
    script.write_text("\n".join(["#!/bin/sh", f"echo start >> {shlex.quote(str(folder / 'starts'))}", *lines]))
    script.chmod(0o755)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script), "interactiveMode": "Never"}}


def credential(token: str) -> str:
    status = {"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": token}}
    return f"echo {shlex.quote(json.dumps(status))}"


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text().splitlines())


def test_an_authority_is_trusted_that_go_trusts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose certificates name no key identifiers, as openssl made them for years. Python 3.13 has begun to refuse them."""
    default = ssl.create_default_context

    def of_python_3_13(*args: Any, **kwargs: Any) -> ssl.SSLContext:
        context = default(*args, **kwargs)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", of_python_3_13)
    for client in read_credentials(str(kubeconfig(tmp_path, "https://127.0.0.1:1")), "test"):
        assert not client.rest_client.ssl_context.verify_flags & ssl.VERIFY_X509_STRICT


async def test_a_token_that_ran_out_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    async with (
        kube_server(tmp_path) as (server, _),
        await KubeApi.connect(str(kubeconfig(tmp_path, server.url, tokenFile=str(file)))) as api,
    ):
        server.will("GET", POD, REFUSED, Answer())
        server.will("POST", POD, Answer())
        file.write_text("new\n")
        with pytest.raises(Unauthorized):
            await api.get(POD)
        await api.get(POD)
        await api.create(POD, {})
    assert tokens(server) == ["old", "new", "new"]


async def test_a_plugin_is_asked_again_when_its_token_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "said"
    token.write_text(credential("first"))
    async with (
        kube_server(tmp_path) as (server, _),
        await KubeApi.connect(str(kubeconfig(tmp_path, server.url, **plugin(tmp_path, f". {shlex.quote(str(token))}")))) as api,
    ):
        server.will("GET", POD, REFUSED, Answer())
        token.write_text(credential("second"))
        with pytest.raises(Unauthorized):
            await api.get(POD)
        await api.get(POD)
    assert tokens(server) == ["first", "second"]
    assert starts(tmp_path) == 2


async def test_a_watch_that_is_refused_reads_them_again_too(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "http://unused", token="old")
    async with kube_server(tmp_path) as (server, _):
        kubeconfig(tmp_path, server.url, token="old")
        async with await KubeApi.connect(str(path)) as api:
            server.will("WATCH", PODS, REFUSED, WatchAnswer.of())
            kubeconfig(tmp_path, server.url, token="new")
            with pytest.raises(Unauthorized):
                async with api.watch(PODS, "7"):
                    pass
            async with api.watch(PODS, "7") as events:
                assert [event async for event in events] == []
    assert tokens(server) == ["old", "new"]


async def test_a_watch_with_the_credentials_before_goes_on(tmp_path: Path) -> None:
    """Until the server ends it, as it does every few minutes: to list everything again would be no gain."""
    ends = anyio.Event()
    async with kube_server(tmp_path) as (server, _), await KubeApi.connect(str(kubeconfig(tmp_path, server.url, token="t"))) as api:
        server.will("WATCH", PODS, WatchAnswer.of(("ADDED", {}), ends=ends))
        server.will("GET", POD, REFUSED)
        async with api.watch(PODS, "7") as events:
            await anext(events)
            with pytest.raises(Unauthorized):
                await api.get(POD)
            ends.set()
            with anyio.fail_after(5):
                assert [event async for event in events] == []


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_request_under_way_with_the_credentials_before_gets_its_answer(tmp_path: Path, method: str) -> None:
    ends = anyio.Event()
    async with kube_server(tmp_path) as (server, _), await KubeApi.connect(str(kubeconfig(tmp_path, server.url, token="t"))) as api:
        server.will(method, PODS, WatchAnswer([b'{"kind": "Pod"}'], ends=ends))
        server.will("GET", POD, REFUSED)

        async def ask() -> None:
            with anyio.fail_after(5):
                assert await (api.get(PODS) if method == "GET" else api.create(PODS, {})) == {"kind": "Pod"}

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await server.until(method, PODS, 1)
            with pytest.raises(Unauthorized):
                await api.get(POD)
            ends.set()


async def test_connections_of_the_credentials_before_are_closed_when_nobody_uses_them(tmp_path: Path) -> None:
    async with kube_server(tmp_path) as (server, _), await KubeApi.connect(str(kubeconfig(tmp_path, server.url, token="t"))) as api:
        server.will("GET", POD, REFUSED)
        with pytest.raises(Unauthorized):
            await api.get(POD)
        with anyio.fail_after(5):
            await server.until_open(0)


async def test_credentials_that_stay_refused_are_read_again_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        kube_server(tmp_path) as (server, _),
        await KubeApi.connect(str(kubeconfig(tmp_path, server.url, **plugin(tmp_path, credential("t"))))) as api,
    ):
        server.will("GET", POD, REFUSED)
        for _ in range(5):
            with pytest.raises(Unauthorized):
                await api.get(POD)
        assert starts(tmp_path) == 2
        monkeypatch.setattr(api, "_read_again_at", 0.0)
        with pytest.raises(Unauthorized):
            await api.get(POD)
        assert starts(tmp_path) == 3


async def test_a_late_refusal_of_the_credentials_before_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "READ_AGAIN_S", 0.0)
    async with (
        kube_server(tmp_path) as (server, _),
        await KubeApi.connect(str(kubeconfig(tmp_path, server.url, **plugin(tmp_path, credential("t"))))) as api,
    ):
        server.will("GET", POD, REFUSED)
        server.will("GET", PODS, REFUSED)
        before = api._clients
        with pytest.raises(Unauthorized):
            await api.get(POD)
        await api._refused(before, 401)
    assert starts(tmp_path) == 2


async def test_credentials_that_cannot_be_read_any_more_stay_as_they_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = kubeconfig(tmp_path, "http://unused", token="t")
    async with kube_server(tmp_path) as (server, _):
        kubeconfig(tmp_path, server.url, token="t")
        async with await KubeApi.connect(str(path)) as api:
            server.will("GET", POD, REFUSED, Answer())
            path.write_text("{")
            with caplog.at_level(logging.WARNING), pytest.raises(Unauthorized):
                await api.get(POD)
            await api.get(POD)
    assert [record.getMessage() for record in caplog.records] == [
        "API server does not know us; reading the credentials again",
        "credentials cannot be read",
    ]
    assert "cannot be used" in caplog.records[1].why  # type: ignore[attr-defined]  # of the record's extra
    assert tokens(server) == ["t", "t"]


async def test_a_plugin_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.kube.credentials.PLUGIN_TIMEOUT_S", 0.2)
    made = plugin(tmp_path, f"echo $$ > {shlex.quote(str(tmp_path / 'pid'))}", "exec sleep 3600")
    with anyio.fail_after(10), pytest.raises(ConfigError, match=r"its credential plugin did not end within 0\.2 s"):
        await KubeApi.connect(str(kubeconfig(tmp_path, "http://127.0.0.1:1", **made)))
    pid = int(await anyio.Path(tmp_path / "pid").read_text())
    assert not await anyio.Path(f"/proc/{pid}").exists()

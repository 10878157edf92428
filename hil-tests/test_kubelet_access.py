"""The HTTPS endpoint asks a real API server who may: certificates of the cluster, ServiceAccount tokens, RBAC on nodes/<subresource>.

The gateway asks under its node identity, which the Node authorizer must allow (no 403 of its own in the audit log).
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyio import to_thread
from control_plane import ControlPlane
from kube_gateway import admin, kube_gateway, make_pod, refusals

from gateway.kube.api import KubeApi
from gateway.kubelet.auth import Gatekeeper
from gateway.kubelet.listeners import listen_tcp
from gateway.kubelet.routes import Endpoint, kubelet_routes
from gateway.kubelet.seams import ContainerLogs, PodDirectory
from gateway.kubelet.server import HttpServer
from gateway.kubelet.tls import serving_tls
from gateway.tests.endpoint_fakes import FakeConversations, FakeLogs, FakePods, FixedVitals, pod, serving


@dataclass
class Caller:
    """Somebody at the port of one node."""

    port: int
    ca: Path
    control_plane: ControlPlane

    async def get(self, path: str, user: str | None = None, token: str | None = None) -> tuple[int, str]:
        return await to_thread.run_sync(functools.partial(self._get, path, user, token))

    def _get(self, path: str, user: str | None, token: str | None) -> tuple[int, str]:
        context = ssl.create_default_context(cafile=str(self.ca))
        if user:
            pair = self.control_plane.client_certificate(user)
            context.load_cert_chain(pair.cert, pair.key)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=30)) as connection:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


@contextlib.asynccontextmanager
async def endpoint(control_plane: ControlPlane, node: str, pods: PodDirectory, logs: ContainerLogs) -> AsyncIterator[Caller]:
    kubeconfig = await to_thread.run_sync(control_plane.node_identity, node)
    cert, key = await to_thread.run_sync(control_plane.serving_certificate, node)
    ca = control_plane.client_ca_file
    tls = await serving_tls(
        cert_file=str(cert), key_file=str(key), client_ca=str(ca), state_directory=cert.parent, node_name=node, addresses=["127.0.0.1"]
    )
    async with await KubeApi.connect(str(kubeconfig)) as api:
        server = HttpServer(
            Endpoint(kubelet_routes(pods, logs, FixedVitals(), FakeConversations()), Gatekeeper(api, node)), tls=tls.context
        )
        async with serving(server, await listen_tcp("127.0.0.1", 0)) as port:
            yield Caller(port, ca, control_plane)


async def allow(control_plane: ControlPlane, name: str, subject: dict[str, Any], resource: str) -> None:
    """A ClusterRole that may get `resource`, bound to one subject."""
    meta = {"metadata": {"name": name}}
    api = "/apis/rbac.authorization.k8s.io/v1"
    await admin(
        control_plane, "POST", f"{api}/clusterroles", {**meta, "rules": [{"apiGroups": [""], "resources": [resource], "verbs": ["get"]}]}
    )
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    await admin(control_plane, "POST", f"{api}/clusterrolebindings", {**meta, "roleRef": role, "subjects": [subject]})


async def token_of(control_plane: ControlPlane, account: str) -> str:
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    await admin(control_plane, "POST", accounts, {"metadata": {"name": account}})
    answer = await admin(control_plane, "POST", f"{accounts}/{account}/token", {"spec": {}})
    return str(answer["status"]["token"])


async def test_strangers_are_401_and_users_without_rights_are_403(control_plane: ControlPlane) -> None:
    async with endpoint(control_plane, "access-a", FakePods(), FakeLogs()) as caller:
        assert await caller.get("/pods") == (401, "Unauthorized")
        assert await caller.get("/pods", token="not-a-token") == (401, "Unauthorized")
        status, text = await caller.get("/pods", user="mallory")
        assert (status, text) == (403, "Forbidden (user=mallory, verb=get, resource=nodes, subresource(s)=[pods proxy])\n")
        token = await token_of(control_plane, "access-nobody")
        status, text = await caller.get("/healthz", token=token)
        assert status == 403
        assert "user=system:serviceaccount:default:access-nobody" in text
    assert refusals(control_plane, "access-a") == []


async def test_a_scraper_sees_metrics_and_nothing_else(control_plane: ControlPlane) -> None:
    token = await token_of(control_plane, "access-scraper")
    account = {"kind": "ServiceAccount", "namespace": "default", "name": "access-scraper"}
    await allow(control_plane, "access-scraper", account, "nodes/metrics")
    async with endpoint(control_plane, "access-b", FakePods(), FakeLogs()) as caller:
        assert (await caller.get("/metrics/nothing-yet", token=token))[0] == 404
        assert (await caller.get("/pods", token=token))[0] == 403
        assert (await caller.get("/containerLogs/default/hello/main", token=token))[0] == 403


async def test_a_reader_of_the_proxy_sees_pods_and_logs_and_runs_nothing(control_plane: ControlPlane) -> None:
    user = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "access-reader"}
    await allow(control_plane, "access-reader", user, "nodes/proxy")
    logs = FakeLogs({"wirelet://hello-main-1": b"line\n"})
    async with endpoint(control_plane, "access-c", FakePods([pod("hello")]), logs) as caller:
        status, text = await caller.get("/pods", user="access-reader")
        assert (status, json.loads(text)["kind"]) == (200, "PodList")
        assert await caller.get("/containerLogs/default/hello/main", user="access-reader") == (200, "line\n")
        assert (await caller.get("/exec/default/hello/main", user="access-reader"))[0] == 403


async def test_the_api_server_itself_reads_a_log_for_kubectl(control_plane: ControlPlane) -> None:
    name = "access-d"
    logs = FakeLogs({f"wirelet://{name}-hello-main-1": b"one\ntwo\n"})
    async with (
        endpoint(control_plane, name, FakePods([pod(f"{name}-hello")]), logs) as caller,
        kube_gateway(control_plane, name, port=caller.port),
    ):
        await make_pod(control_plane, "default", f"{name}-hello", name)
        kubectl = functools.partial(control_plane.kubectl, "logs", f"{name}-hello", "--tail=7")
        assert await to_thread.run_sync(kubectl) == "one\ntwo\n"
        assert logs.asked[-1][1].tail_lines == 7
    assert refusals(control_plane, name) == []

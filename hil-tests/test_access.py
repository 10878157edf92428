"""The door of a running gateway: who may what on every route, what hostile clients reach (nothing), and where a Secret must never be seen.

One gateway for the whole file, a node of the real control plane, logging at DEBUG.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import secrets
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from control_plane import ControlPlane
from lab import Lab, condition, waiting_reason
from pki import CertificateAuthority
from workbench import Workbench

from gateway.kubelet.routes import kubelet_routes
from gateway.kubelet.server import Limits
from gateway.tests.endpoint_fakes import FakeConversations, FakeLogs, FakePods, FixedVitals
from gateway.tests.exposition_parser import Scrape, parse

POD: Final = "hello"
REQUEST_TIMEOUT_S: Final = 30.0
HEAD_S: Final = Limits().head_s
DRIP_S: Final = 0.25
ROUTES: Final = sorted(
    {
        (method, route.pattern)
        for route in kubelet_routes(FakePods(), FakeLogs(), FixedVitals(), FakeConversations())
        for method in route.methods
    }
)
"""Of the running server: app.py serves exactly these."""
UNKNOWN: Final = ("/", "/nothing", "/metrics/nothing", "/pods/x", "/containerLogs/a/b", "/wirelet/devices", "/debug/pprof/", "/logs/")


@pytest.fixture(scope="module")
def lab(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    namespace = f"access-{os.getpid()}"
    control_plane.create_namespace(namespace)
    workbench = Workbench(tmp_path_factory.mktemp("access"))
    made = Lab(control_plane, workbench, namespace)
    try:
        made.boards = workbench.boards(1, "--slots", "4")
        made.gateway = workbench.gateway(made.configuration(boards=1, slots=4, shared=True), "--log-level", "DEBUG", wait=False)
        made.wait_for_node(lambda node: condition(node, "Ready").get("status") == "True")
        made.wait_for_node(lambda node: node["status"]["allocatable"].get(made.resource) == "4")
        made.run(POD, "hello")
        made.wait_for_ready(POD)
        allow_everything(made, "watcher")
        yield made
        assert made.refused_requests() == []
        assert "Traceback" not in made.gateway.log()
    finally:
        made.close()
        workbench.clear()
        control_plane.kubectl("delete", "namespace", namespace, "--wait=false")


def user_of(lab: Lab, name: str) -> str:
    """A user that only this lab knows."""
    return f"{name}-{lab.node}"


def allow_everything(lab: Lab, name: str) -> None:
    """Bind a user to get and create on every subresource of nodes that a path may ask for."""
    api, user = "/apis/rbac.authorization.k8s.io/v1", user_of(lab, name)
    resources = [f"nodes/{name}" for name in ("proxy", "metrics", "stats", "configz", "healthz", "pods", "log")]
    rules = [{"apiGroups": [""], "resources": resources, "verbs": ["get", "create"]}]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]
    lab.control_plane.request("POST", f"{api}/clusterroles", {"metadata": {"name": user}, "rules": rules})
    lab.control_plane.request("POST", f"{api}/clusterrolebindings", {"metadata": {"name": user}, "roleRef": role, "subjects": subjects})


def context(lab: Lab, user: str | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(lab.control_plane.client_ca_file))
    if user:
        pair = lab.control_plane.client_certificate(user_of(lab, user))
        made.load_cert_chain(pair.cert, pair.key)
    return made


def port(lab: Lab) -> int:
    return int(lab.gateway.configuration["server"]["port"])


class Visitor:
    """One connection of somebody; opened anew when the gateway closes it."""

    def __init__(self, lab: Lab, user: str | None = None, token: str | None = None) -> None:
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._connection = http.client.HTTPSConnection("127.0.0.1", port(lab), context=context(lab, user), timeout=REQUEST_TIMEOUT_S)

    def ask(self, method: str, path: str) -> tuple[int, str]:
        self._connection.request(method, path, headers=self._headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read().decode()

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def concrete(lab: Lab, pattern: str) -> str:
    values = {"{namespace}": lab.namespace, "{pod}": POD, "{container}": "main", "{uid}": "any"}
    path = "/".join(values.get(part, part) for part in pattern.split("/"))
    return f"{path}?command=true&output=1" if pattern.startswith(("/exec/", "/attach/")) else path


def answer_to(pattern: str) -> int:
    """What those who may get: no pod has the uid, and nobody here speaks WebSocket."""
    if pattern.startswith(("/exec/", "/attach/")) and "{uid}" in pattern:
        return 404
    return 501 if pattern.split("/")[1] in ("exec", "attach", "portForward", "run") else 200


# -- who may what


def test_every_route_of_the_running_server_is_for_those_who_may(lab: Lab) -> None:
    assert {"/metrics", "/configz", "/pods", "/exec/{namespace}/{pod}/{container}"} <= {pattern for _, pattern in ROUTES}
    with (
        Visitor(lab) as stranger,
        Visitor(lab, token="guessed") as guesser,
        Visitor(lab, "mallory") as mallory,
        Visitor(lab, "watcher") as watcher,
    ):
        for method, pattern in ROUTES:
            path = concrete(lab, pattern)
            assert stranger.ask(method, path) == (401, "Unauthorized"), path
            assert guesser.ask(method, path) == (401, "Unauthorized"), path
            status, text = mallory.ask(method, path)
            assert (status, text.partition(" ")[0]) == (403, "Forbidden"), path
            assert watcher.ask(method, path)[0] == answer_to(pattern), path


def test_an_unknown_path_is_unknown_only_to_those_who_may_ask(lab: Lab) -> None:
    with Visitor(lab) as stranger, Visitor(lab, "mallory") as mallory, Visitor(lab, "watcher") as watcher:
        for path in UNKNOWN:
            assert [visitor.ask("GET", path)[0] for visitor in (stranger, mallory, watcher)] == [401, 403, 404], path


def test_a_certificate_of_another_authority_ends_the_connection(lab: Lab, tmp_path: Path) -> None:
    pair = CertificateAuthority(tmp_path).client("admin", "kubernetes-admin", ["system:masters"])
    tls = context(lab)
    tls.load_cert_chain(pair.cert, pair.key)
    with contextlib.suppress(OSError), tls.wrap_socket(connect(lab), server_hostname="127.0.0.1") as sock:
        sock.sendall(b"GET /pods HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer_of(sock) == b""


# -- what monitoring sees


def scrape(lab: Lab, path: str = "/metrics") -> Scrape:
    with Visitor(lab, "watcher") as watcher:
        status, text = watcher.ask("GET", path)
    assert status == 200, text
    return parse(text)


def test_metrics_of_a_gateway_that_works(lab: Lab) -> None:
    found = scrape(lab)
    assert found.total("wirelet_device_up") == 1
    assert found.value("wirelet_pod_starts_total", device="board-0") >= 1
    assert found.value("wirelet_pods", phase="Running") >= 1
    assert found.total("wirelet_frames_received_total", device="board-0") > 0
    assert found.total("wirelet_api_requests_total", method="PATCH", code="200") > 0
    assert found.total("wirelet_api_requests_total", code="403") == 0
    assert found.total("wirelet_log_bytes") > 0
    assert found.value("wirelet_endpoint_answers_total", code="200") > 0
    again = scrape(lab)
    counters = [key for key in found.values if found.types[key[0]] == "counter"]
    assert all(again.values[key] >= found.values[key] for key in counters)


def test_usage_and_statistics_tell_what_there_is(lab: Lab) -> None:
    found = scrape(lab, "/metrics/resource")
    assert found.value("node_cpu_usage_seconds_total") > 0
    assert found.value("node_memory_working_set_bytes") > 0
    assert found.value("container_start_time_seconds", namespace=lab.namespace, pod=POD, container="main") > 1.7e9
    assert scrape(lab, "/metrics/cadvisor").values == scrape(lab, "/metrics/probes").values == {}
    with Visitor(lab, "watcher") as watcher:
        summary = json.loads(watcher.ask("GET", "/stats/summary")[1])
        running = json.loads(watcher.ask("GET", "/runningpods/")[1])
        configuration = json.loads(watcher.ask("GET", "/configz")[1])["wirelet"]
    assert scrape(lab).value("wirelet_device_heap_used_bytes", device="board-0") > 0  # what the board itself reports
    assert summary["node"]["nodeName"] == lab.node
    assert POD in [pod["podRef"]["name"] for pod in summary["pods"]]
    assert POD in [pod["metadata"]["name"] for pod in running["items"]]
    assert configuration["node"]["name"] == lab.node


# -- hostile clients


def connect(lab: Lab) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port(lab)), timeout=REQUEST_TIMEOUT_S)


def secured(lab: Lab) -> ssl.SSLSocket:
    return context(lab).wrap_socket(connect(lab), server_hostname="127.0.0.1")


def answer_of(sock: socket.socket) -> bytes:
    """What comes until the far end closes; a reset is an end too."""
    received = b""
    with contextlib.suppress(OSError):
        while data := sock.recv(65536):
            received += data
    return received


HEAD: Final = b"GET /pods HTTP/1.1\r\nHost: x\r\n"
BYE: Final = b"Connection: close\r\n"
CHUNK: Final = b"ffff\r\n" + b"a" * 65535 + b"\r\n"
SMUGGLED: Final = b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HEAD + BYE + b"\r\n"
OVER_TLS: Final = {
    "a head without an end": (HEAD + b"X-A: " + b"a" * 200_000, b"431"),
    "twenty thousand headers": (HEAD + b"".join(b"X-%d: a\r\n" % number for number in range(20_000)), b"431"),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
    "a body without an end": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + 2 * CHUNK, b"413"),
    "a body of a length nobody has": (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n" + bytes(70_000), b"413"),
    "a request within a request": (HEAD + SMUGGLED, b"401"),
    "no HTTP": (bytes(range(128, 256)) * 10 + b"\r\n\r\n", b"400"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"4"),
    "a null in the path": (b"GET /pods%00/../x HTTP/1.1\r\nHost: x\r\n" + BYE + b"\r\n", b"401"),
    "a way out of the path": (b"GET /healthz/%2e%2e/pods HTTP/1.1\r\nHost: x\r\n" + BYE + b"\r\n", b"401"),
    "lone line feeds": (b"GET /pods HTTP/1.1\nHost: x\nConnection: close\n\n", b"401"),
    "two credentials": (HEAD + b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", b"400"),
    "a credential without an end": (HEAD + BYE + b"Authorization: Bearer " + b"a" * 30_000 + b"\r\n\r\n", b"401"),
}
"""What is sent, and how the status of the first answer begins: never anything but a refusal."""


@pytest.mark.parametrize("case", OVER_TLS)
def test_what_is_no_proper_request_is_answered_with_the_door(lab: Lab, case: str) -> None:
    data, begin = OVER_TLS[case]
    with secured(lab) as sock:
        with contextlib.suppress(OSError):  # it may close before all is sent
            sock.sendall(data)
        assert answer_of(sock).startswith(b"HTTP/1.1 " + begin)


WITHOUT_TLS: Final = {
    "nothing": b"",
    "plain HTTP": b"GET /pods HTTP/1.1\r\nHost: x\r\n\r\n",
    "random bytes": os.urandom(4096),
    "half a hello": bytes.fromhex("16030100c8010000c40303") + bytes(20),
    "a record of the greatest length": b"\x16\x03\x01\xff\xff" + bytes(65535),
    "an old TLS": bytes.fromhex("160300002f0100002b0300") + bytes(32) + bytes.fromhex("00000400ff000a0100"),
}


@pytest.mark.parametrize("case", WITHOUT_TLS)
def test_what_is_no_tls_ends_the_connection(lab: Lab, case: str) -> None:
    with connect(lab) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(WITHOUT_TLS[case])
            sock.shutdown(socket.SHUT_WR)
        answer = answer_of(sock)
    assert b"PodList" not in answer
    assert len(answer) < 1000


def test_a_head_that_drips_and_a_hello_that_never_comes_are_cut_off(lab: Lab) -> None:
    begun = time.monotonic()
    with secured(lab) as dripping, connect(lab) as silent:
        dripping.sendall(HEAD + b"X-Slow: ")
        dripping.settimeout(DRIP_S)
        answer = b""
        while not answer:
            assert time.monotonic() - begun < 2 * HEAD_S, "the head may drip on"
            dripping.sendall(b"a")
            with contextlib.suppress(TimeoutError):
                answer = dripping.recv(65536)
        assert answer.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - begun > HEAD_S / 2  # a slow line is no attack
        assert silent.recv(1) == b""
    assert time.monotonic() - begun < 2 * HEAD_S


def test_a_crowd_of_slow_and_silent_strangers_keeps_nobody_from_a_log(lab: Lab) -> None:
    before = scrape(lab)
    with contextlib.ExitStack() as crowd:
        for number in range(300):  # more than all connections that the endpoint has
            kind = number % 3
            # One that is sent away meanwhile is replaced by the next of the crowd.
            with contextlib.suppress(OSError):
                sock = crowd.enter_context(connect(lab) if kind else secured(lab))
                if kind == 0:
                    sock.sendall(b"GET /pods HTTP/1.1\r\nX-Slow: ")
                elif kind == 1:
                    sock.sendall(b"\x16\x03\x01")
        begun = time.monotonic()
        assert "hello" in lab.kubectl("logs", POD)
        assert scrape(lab).value("process_open_fds") < before.value("process_open_fds") + 300
        assert time.monotonic() - begun < REQUEST_TIMEOUT_S
    lab.wait(lambda: scrape(lab).value("process_open_fds") <= before.value("process_open_fds") + 10, "their connections to be closed")
    grown = scrape(lab).value("process_resident_memory_bytes") - before.value("process_resident_memory_bytes")
    assert grown < 32 << 20
    assert scrape(lab).total("wirelet_device_up") == 1


# -- files and secrets


def test_the_files_of_the_gateway_are_its_owners(lab: Lab) -> None:
    folder = lab.gateway.folder
    assert stat.S_IMODE(lab.gateway.socket.stat().st_mode) == 0o600
    for directory in (folder / "run", folder / "state", folder / "run" / "logs", folder / "run" / "checkpoints"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700, directory
    for path in itertools.chain((folder / "run" / "logs").iterdir(), (folder / "run" / "checkpoints").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_secret_is_seen_by_its_device_and_nowhere_else(lab: Lab) -> None:
    password, token = secrets.token_hex(16), secrets.token_hex(16)
    secret = {"metadata": {"name": "wifi", "namespace": lab.namespace}, "stringData": {"psk": password}}
    lab.control_plane.apply({"apiVersion": "v1", "kind": "Secret", **secret})
    env = [{"name": "PSK", "valueFrom": {"secretKeyRef": {"name": "wifi", "key": "psk"}}}]
    lab.run("crash", "crash", "$(PSK)", container={"env": env})
    lab.run("too-big", "hello", "$(PSK)" * 1000, container={"env": env})
    lab.run("unknown", "no-such-program", "$(PSK)", container={"env": env, "envFrom": [{"secretRef": {"name": "wifi"}}]})
    lab.run("shows", "env", restartPolicy="Never", container={"env": env})
    lab.wait_for_pod("crash", lambda pod: waiting_reason(pod) == "CrashLoopBackOff")
    lab.wait_for_pod("too-big", lambda pod: waiting_reason(pod) == "CreateContainerConfigError")
    lab.wait_for_pod("unknown", lambda pod: waiting_reason(pod) == "ErrImageNeverPull")
    lab.wait_for_phase("shows", "Succeeded")
    assert password in lab.kubectl("logs", "shows"), "the device has it"
    with Visitor(lab, token=token) as visitor:
        assert visitor.ask("GET", "/pods")[0] == 401

    for name, text in everything(lab).items():
        assert password.encode() not in text, name
        assert token.encode() not in text, name


def everything(lab: Lab) -> dict[str, bytes]:
    """All that the gateway writes, tells or shows, but for the log of the pod that prints its environment."""
    found: dict[str, Any] = {"gateway.log": lab.gateway.log().encode()}
    folder = lab.gateway.folder
    found |= {str(path): path.read_bytes() for path in (folder / "state").rglob("*") if path.is_file()}
    rings = [path for path in (folder / "run").rglob("*") if path.is_file()]
    shown = lab.pod("shows")
    assert shown is not None
    found |= {str(path): data for path in rings if shown["metadata"]["uid"].encode() not in (data := path.read_bytes())[:1024]}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found[f"{process}/cmdline"] = (process / "cmdline").read_bytes()
    found["environ"] = Path(f"/proc/{lab.gateway.process.pid}/environ").read_bytes()
    found["events"] = lab.kubectl("get", "events", "-o", "yaml").encode()
    found["pods"] = lab.kubectl("get", "pods", "-o", "yaml").encode()
    found["describe"] = lab.kubectl("describe", "pods").encode()
    for command in ("get devices -o json", "get pods -o json", "get events -o json", "logs device/board-0"):
        found[command] = lab.gateway.cli(*command.split()).encode()
    with Visitor(lab, "watcher") as watcher:
        for path in ("/pods", "/runningpods/", "/metrics", "/stats/summary", "/configz"):
            found[path] = watcher.ask("GET", path)[1].encode()
    return found

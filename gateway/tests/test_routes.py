"""The routes over real HTTPS with client certificates and tokens, and over the unix socket: who may, what is answered, what is refused."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from gateway.kubelet.auth import Gatekeeper
from gateway.kubelet.exchange import Peer, Request, RequestRefused
from gateway.kubelet.listeners import listen_tcp, listen_unix
from gateway.kubelet.pod_table import running_pod, status_word
from gateway.kubelet.routes import Endpoint, kubelet_routes, local_routes
from gateway.kubelet.seams import DeviceRow, PortRow
from gateway.kubelet.server import HttpServer, Limits
from gateway.kubelet.tls import ServingTls
from gateway.tests.endpoint_fakes import (
    DEADLINE_S,
    Authority,
    FakeCare,
    FakeConversations,
    FakeDeviceLogs,
    FakeLogs,
    FakePods,
    FakeReviews,
    FixedDevices,
    FixedEvents,
    FixedVitals,
    client_context,
    pod,
    read_until,
    serving,
    talk,
)

ROOMY = Limits(linger_s=0.05)
ROUTES = [
    ("GET", "/healthz", ("get", "healthz"), 200),
    ("GET", "/healthz/ping", ("get", "healthz"), 200),
    ("GET", "/pods", ("get", "pods"), 200),
    ("GET", "/runningpods/", ("get", "pods"), 200),
    ("GET", "/metrics", ("get", "metrics"), 200),
    ("GET", "/metrics/resource", ("get", "metrics"), 200),
    ("GET", "/metrics/cadvisor", ("get", "metrics"), 200),
    ("GET", "/metrics/probes", ("get", "metrics"), 200),
    ("GET", "/stats/summary", ("get", "stats"), 200),
    ("GET", "/configz", ("get", "configz"), 200),
    ("GET", "/containerLogs/default/hello/main", ("get", "proxy"), 200),
    ("POST", "/containerLogs/default/hello/main", ("create", "proxy"), 405),
    ("POST", "/pods", ("create", "pods"), 405),
    ("DELETE", "/healthz", ("delete", "healthz"), 405),
    ("HEAD", "/pods", ("", "pods"), 405),
    ("GET", "/exec/default/hello/main?command=ls&output=1", ("create", "proxy"), 501),
    ("POST", "/exec/default/hello/uid/main", ("create", "proxy"), 404),
    ("POST", "/attach/default/hello/main?output=1", ("create", "proxy"), 501),
    ("GET", "/portForward/default/hello", ("create", "proxy"), 501),
    ("POST", "/run/default/hello/main", ("create", "proxy"), 501),
    ("GET", "/run/default/hello/main", ("create", "proxy"), 405),
    ("GET", "/nothing/here", ("get", "proxy"), 404),
    ("GET", "/metrics/nothing", ("get", "metrics"), 404),
    ("GET", "/containerLogs/default/hello", ("get", "proxy"), 404),
    ("GET", "/containerLogs/default//main", ("get", "proxy"), 404),
    ("GET", "/healthz/../containerLogs/default/hello/main", ("get", "healthz"), 404),
    ("GET", "//pods", ("get", "proxy"), 404),
    ("GET", "/wirelet/devices", ("get", "proxy"), 404),
    ("GET", "/wirelet/pods", ("get", "proxy"), 404),
]


@dataclass
class Door:
    """The HTTPS port and those who knock."""

    port: int
    reviews: FakeReviews
    authority: Authority

    async def ask(self, method: str, path: str, user: str | None = None, token: str | None = None) -> tuple[int, dict[str, str], bytes]:
        context = await to_thread.run_sync(lambda: client_context(self.authority, self.authority.client(user) if user else None))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await to_thread.run_sync(exchange, self.port, context, method, path, headers)


def exchange(port: int, context: ssl.SSLContext, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


PODS = FakePods([pod("hello"), pod("two", "a", "b", namespace="lab")])


def logs() -> FakeLogs:
    return FakeLogs({"wirelet://hello-main-1": b"one\ntwo\n"})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "cluster-ca")


@pytest.fixture
def tls(authority: Authority) -> ServingTls:
    issued = authority.server()
    return ServingTls(issued.cert, issued.key, authority.file)


@pytest.fixture
async def door(tls: ServingTls, authority: Authority) -> AsyncIterator[Door]:
    reviews = FakeReviews(tokens={"scraper-token": {"username": "scraper"}})
    endpoint = Endpoint(kubelet_routes(PODS, logs(), FixedVitals(), FakeConversations()), Gatekeeper(reviews, "pi-lab-3"))
    server = HttpServer(endpoint, tls=tls.context, limits=ROOMY)
    async with serving(server, await listen_tcp("127.0.0.1", 0)) as port:
        yield Door(port, reviews, authority)


@pytest.mark.parametrize(("method", "path", "access", "status"), ROUTES)
async def test_every_route_is_for_those_who_may(door: Door, method: str, path: str, access: tuple[str, str], status: int) -> None:
    assert (await door.ask(method, path))[0] == 401
    assert (await door.ask(method, path, token="guess"))[0] == 401
    assert (await door.ask(method, path, user="alice"))[0] == 403
    door.reviews.allowed.add(("bob", *access))
    assert (await door.ask(method, path, user="bob"))[0] == status
    door.reviews.allowed.add(("scraper", *access))
    assert (await door.ask(method, path, token="scraper-token"))[0] == status


@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("/containerLogs/lab/hello/main", ["lab", "hello", "main"]),
        ("/containerLogs/lab//main", None),
        ("/containerLogs/lab/hello/", None),
        ("/containerLogs/lab/hello/main/", None),
    ],
)
def test_a_part_in_braces_is_one_segment_that_is_not_empty(path: str, arguments: list[str] | None) -> None:
    (route,) = [
        route for route in kubelet_routes(PODS, logs(), FixedVitals(), FakeConversations()) if route.pattern.startswith("/containerLogs/")
    ]
    assert route.arguments(path) == arguments


async def test_what_those_who_may_get(door: Door) -> None:
    door.reviews.allowed |= {("alice", verb, "proxy") for verb in ("get", "create")}
    status, headers, body = await door.ask("GET", "/pods", user="alice")
    assert headers["content-type"] == "application/json"
    listed = json.loads(body)
    assert (listed["kind"], listed["apiVersion"]) == ("PodList", "v1")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["hello", "two"]
    running = json.loads((await door.ask("GET", "/runningpods/", user="alice"))[2])["items"]
    assert [item["spec"]["containers"] for item in running] == [
        [{"name": "main", "image": "main"}],
        [{"name": "a", "image": "a"}, {"name": "b", "image": "b"}],
    ]
    assert (await door.ask("GET", "/healthz", user="alice"))[2] == b"ok"
    status, headers, body = await door.ask("GET", "/containerLogs/default/hello/main", user="alice")
    assert (status, body) == (200, b"one\ntwo\n")
    assert headers["content-type"].startswith("text/plain")
    status, headers, body = await door.ask("POST", "/containerLogs/default/hello/main", user="alice")
    assert (status, headers["allow"], body) == (405, "GET", b"Method Not Allowed")
    status, _, body = await door.ask("POST", "/portForward/default/hello", user="alice")
    assert body == b"portForward is not served by this node"


async def test_what_monitoring_gets(door: Door) -> None:
    door.reviews.allowed |= {("scraper", "get", "metrics"), ("scraper", "get", "stats"), ("scraper", "get", "configz")}

    async def scrape(path: str) -> tuple[str, bytes]:
        _, headers, body = await door.ask("GET", path, token="scraper-token")
        return headers["content-type"], body

    text = "text/plain; version=0.0.4; charset=utf-8"
    family = b'# HELP wirelet_sessions_total Sessions.\n# TYPE wirelet_sessions_total counter\nwirelet_sessions_total{device="board-a"} 3\n'
    assert await scrape("/metrics") == (text, family)
    assert (await scrape("/metrics/resource"))[1].endswith(b"\nnode_cpu_usage_seconds_total 1.5 1000\n")
    assert await scrape("/metrics/cadvisor") == await scrape("/metrics/probes") == (text, b"")
    assert json.loads((await scrape("/stats/summary"))[1])["node"]["nodeName"] == "pi-lab-3"
    assert json.loads((await scrape("/configz"))[1])["wirelet"]["kind"] == "GatewayConfiguration"


def test_a_pod_without_a_running_container_is_not_running() -> None:
    subject = pod("two", "a", "b")
    subject["status"]["containerStatuses"][0]["state"] = {"terminated": {"exitCode": 0}}
    running = running_pod(subject)
    assert running is not None
    assert running["spec"] == {"containers": [{"name": "b", "image": "b"}]}
    assert running_pod({**subject, "status": {"containerStatuses": [ended(0)]}}) is None
    assert running_pod({"metadata": {"name": "new"}}) is None


async def test_answers_are_counted_by_status() -> None:
    endpoint = Endpoint(kubelet_routes(PODS, logs(), FixedVitals(), FakeConversations()))
    local = Peer("", is_local=True)
    await endpoint(Request("GET", "/healthz", {}, {}, local))
    for request in (Request("GET", "/nothing", {}, {}, local), Request("GET", "/healthz", {}, {}, Peer("10.0.0.1:1"))):
        with pytest.raises(RequestRefused):
            await endpoint(request)
    assert endpoint.answers == {200: 1, 404: 1, 401: 1}


async def test_an_api_server_that_is_down_lets_nobody_in(door: Door) -> None:
    door.reviews.is_down = True
    status, headers, _ = await door.ask("GET", "/pods", user="alice")
    assert (status, headers["retry-after"]) == (503, "1")


async def test_a_server_without_a_gatekeeper_knows_no_strangers() -> None:
    with pytest.raises(RequestRefused) as caught:
        await Endpoint(kubelet_routes(PODS, logs(), FixedVitals(), FakeConversations()))(
            Request("GET", "/pods", {}, {}, Peer("10.0.0.1:1"))
        )
    assert caught.value.reply.status == 401


DEVICES = [
    DeviceRow("board-a", "esp32", "serial:/dev/ttyUSB0", "Ready", "", 1, 4, "b7", ("hello", "echo"), 1000.5),
    DeviceRow("board-b", "esp32", "serial:/dev/ttyUSB1", "Disconnected", "no such port"),
]


@pytest.fixture
async def socket_path(tmp_path: Path) -> AsyncIterator[str]:
    events = FixedEvents([{"type": "Normal", "reason": "Started"}])
    local = local_routes(PODS, FixedDevices(DEVICES), events, FakeDeviceLogs({"board-a": b"boot\n"}), FakeCare())
    server = HttpServer(Endpoint((*kubelet_routes(PODS, logs(), FixedVitals(), FakeConversations()), *local)), limits=ROOMY)
    async with serving(server, await listen_unix(tmp_path / "run" / "wirelet.sock")) as path:
        yield path


async def local(path: str, target: str) -> tuple[int, bytes]:
    answer = await talk(path, f"GET {target} HTTP/1.0\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def test_the_unix_socket_has_every_route_without_credentials(socket_path: str) -> None:
    for target in ("/healthz", "/pods", "/containerLogs/default/hello/main", "/wirelet/pods", "/wirelet/devices", "/wirelet/events"):
        assert (await local(socket_path, target))[0] == 200
    assert (await local(socket_path, "/nothing"))[0] == 404


async def test_the_unix_socket_is_for_its_owner_only(socket_path: str) -> None:
    assert (await anyio.Path(socket_path).stat()).st_mode & 0o777 == 0o600


async def test_devices_as_the_command_line_sees_them(socket_path: str) -> None:
    _, body = await local(socket_path, "/wirelet/devices")
    one, two = json.loads(body)["items"]
    assert one == {
        "name": "board-a",
        "class": "esp32",
        "link": "serial:/dev/ttyUSB0",
        "state": "Ready",
        "message": "",
        "slots": {"used": 1, "total": 4},
        "boot": "b7",
        "programs": ["hello", "echo"],
        "lastSeen": 1000.5,
        "deviceId": "",
        "port": "",
        "typists": [],
        "links": [],
    }
    assert (two["state"], two["message"], two["lastSeen"]) == ("Disconnected", "no such port", None)


async def test_a_device_is_lent_until_the_client_leaves(tmp_path: Path) -> None:
    care = FakeCare()
    routes = local_routes(PODS, FixedDevices(DEVICES), FixedEvents([]), FakeDeviceLogs({}), care)
    async with serving(HttpServer(Endpoint(routes), limits=ROOMY), await listen_unix(tmp_path / "wirelet.sock")) as path:
        async with await anyio.connect_unix(path) as client:
            await client.send(b"POST /wirelet/devices/board-a/lend?borrower=me%3A+flash HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b'{"port": "/dev/ttyUSB0", "fence": "/dev/null"}\n' in await read_until(client, b"}\n")
            assert care.lent == ["me: flash"]
        with anyio.fail_after(DEADLINE_S):
            await care.is_free.wait()
        assert (await local(path, "/wirelet/devices/board-a/lend"))[0] == 405


async def test_unused_ports_as_the_command_line_sees_them(tmp_path: Path) -> None:
    port = PortRow("0403:6001 at port 1-2", "/dev/ttyUSB4", {"usbSerial": "A5"})
    for devices, status in ((FixedDevices(DEVICES, [port]), 200), (FixedDevices(DEVICES, None), 503)):
        routes = local_routes(PODS, devices, FixedEvents([]), FakeDeviceLogs({}), FakeCare())
        async with serving(HttpServer(Endpoint(routes), limits=ROOMY), await listen_unix(tmp_path / str(status) / "wirelet.sock")) as path:
            answer = await local(path, "/wirelet/ports")
        assert answer[0] == status
        if status == 200:
            item = {"description": "0403:6001 at port 1-2", "node": "/dev/ttyUSB4", "match": {"usbSerial": "A5"}, "link": "serial"}
            assert json.loads(answer[1]) == {"items": [item]}
        else:
            assert b"udev hangs" in answer[1]


async def test_pods_and_events_as_the_command_line_sees_them(socket_path: str) -> None:
    rows = json.loads((await local(socket_path, "/wirelet/pods"))[1])["items"]
    assert [(row["namespace"], row["name"], row["ready"], row["containers"], row["status"]) for row in rows] == [
        ("default", "hello", 1, ["main"], "Running"),
        ("lab", "two", 2, ["a", "b"], "Running"),
    ]
    assert json.loads((await local(socket_path, "/wirelet/events"))[1])["items"] == [{"type": "Normal", "reason": "Started"}]


async def test_the_log_of_a_device(socket_path: str) -> None:
    assert await local(socket_path, "/wirelet/deviceLogs/board-a") == (200, b"boot\n")
    assert await local(socket_path, "/wirelet/deviceLogs/board-z") == (404, b'no device "board-z"')
    assert (await local(socket_path, "/wirelet/deviceLogs/board-a?tailLines=-1"))[0] == 422


async def test_a_socket_that_a_gateway_serves_is_not_taken_over(socket_path: str) -> None:
    with pytest.raises(Exception, match="another gateway serves"):
        await listen_unix(Path(socket_path))
    assert (await local(socket_path, "/healthz"))[0] == 200


async def test_a_socket_that_nobody_serves_is_replaced(tmp_path: Path) -> None:
    (await listen_unix(tmp_path / "s")).close()
    listener = await listen_unix(tmp_path / "s", mode=0o660)
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o660
    listener.close()


@pytest.mark.parametrize(
    ("name", "text"), [("file", "a file of this name is in the way"), ("x" * 120, "is longer than a socket's path may be")]
)
async def test_a_socket_that_cannot_be_made_is_one_line(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match=text):
        await listen_unix(tmp_path / name)


async def test_a_port_that_cannot_be_had_is_one_line() -> None:
    with await listen_tcp("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Exception, match=f"server.port: port {port} on 127.0.0.1 is taken"):
            await listen_tcp("127.0.0.1", port)
    with pytest.raises(Exception, match=r"server\.address: 192\.0\.2\.1 is not an address of this host"):
        await listen_tcp("192.0.2.1", 0)
    with pytest.raises(Exception, match=r"server\.address: must be an IP address"):
        await listen_tcp("no.such.host.invalid", 0)


def waiting(reason: str) -> dict[str, Any]:
    return {"name": "main", "state": {"waiting": {"reason": reason}}}


def ended(code: int, **more: Any) -> dict[str, Any]:
    return {"name": "main", "state": {"terminated": {"exitCode": code, **more}}}


# kubectl's own cases: pkg/printers/internalversion/printers_test.go, TestPrintPod.
@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({}, "Pending"),
        ({"phase": "Failed", "reason": "OutOfwirelet.dev/esp32"}, "OutOfwirelet.dev/esp32"),
        ({"phase": "Pending", "containerStatuses": [waiting("ErrImageNeverPull")]}, "ErrImageNeverPull"),
        ({"phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff")]}, "CrashLoopBackOff"),
        ({"phase": "Succeeded", "containerStatuses": [ended(0, reason="Completed")]}, "Completed"),
        ({"phase": "Failed", "containerStatuses": [ended(3)]}, "ExitCode:3"),
        ({"phase": "Failed", "containerStatuses": [ended(137, signal=9)]}, "Signal:9"),
        (
            {"containerStatuses": [ended(0, reason="Completed"), {"name": "b", "ready": True, "state": {"running": {}}}]},
            "Running",
        ),
        ({"initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}, "Init:0/2"),
        ({"initContainerStatuses": [ended(0), {"name": "j", "state": {"waiting": {"reason": "PodInitializing"}}}]}, "Init:1/2"),
        ({"initContainerStatuses": [ended(1, reason="Error")]}, "Init:Error"),
        ({"initContainerStatuses": [waiting("CrashLoopBackOff")]}, "Init:CrashLoopBackOff"),
    ],
)
def test_the_status_word_says_most(status: dict[str, Any], word: str) -> None:
    subject = {"metadata": {"name": "p"}, "spec": {"initContainers": [{"name": "i"}, {"name": "j"}]}, "status": status}
    assert status_word(subject) == word


def test_a_pod_that_is_going_is_terminating() -> None:
    going = {"metadata": {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Running"}}
    assert status_word(going) == "Terminating"


async def test_many_clients_at_once_get_each_their_own_answer(door: Door) -> None:
    door.reviews.allowed.add(("alice", "get", "proxy"))
    context = await to_thread.run_sync(lambda: client_context(door.authority, door.authority.client("alice")))
    bodies: list[bytes] = []

    async def one() -> None:
        bodies.append((await to_thread.run_sync(exchange, door.port, context, "GET", "/containerLogs/default/hello/main", {}))[2])

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(one)
    assert bodies == [b"one\ntwo\n"] * 20

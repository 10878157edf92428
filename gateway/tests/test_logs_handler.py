"""`/containerLogs` as the kubelet answers it: options, texts, the attempt that is meant, and followers who leave.

The texts are those of Kubernetes 1.36: pkg/kubelet/server/server.go (getContainerLogs, getPods) and pkg/kubelet/kubelet_pods.go
(validateContainerLogStatus).
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kubelet.auth import Gatekeeper
from gateway.kubelet.container_logs import INVALID, UNDECODABLE, ContainerLogsHandler, choose_attempt, parse_log_options
from gateway.kubelet.exchange import Peer, Request, RequestRefused, StreamReply, parse_target
from gateway.kubelet.listeners import listen_tcp
from gateway.kubelet.routes import Endpoint, kubelet_routes
from gateway.kubelet.seams import LogsUnavailable
from gateway.kubelet.server import HttpServer, Limits
from gateway.kubelet.tls import ServingTls
from gateway.logs.reader import LogOptions
from gateway.tests.endpoint_fakes import (
    Authority,
    FakeConversations,
    FakeLogs,
    FakePods,
    FakeReviews,
    FixedVitals,
    client_context,
    pod,
    read_until,
    serving,
)


def options_of(query: str) -> LogOptions:
    return parse_log_options(parse_target(f"/x?{query}".encode())[1])


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", LogOptions()),
        ("follow=true&previous=true&timestamps=true", LogOptions(follow=True, previous=True, timestamps=True)),
        # apimachinery: only absence, "false" and "0" are false.
        ("follow=false&previous=0&timestamps=FALSE", LogOptions()),
        ("follow=&previous=yes&timestamps=no", LogOptions(follow=True, previous=True, timestamps=True)),
        ("tailLines=10", LogOptions(tail_lines=10)),
        ("tailLines=0", LogOptions(tail_lines=0)),
        ("tailLines=%2B5", LogOptions(tail_lines=5)),
        ("tail=7", LogOptions(tail_lines=7)),
        ("tail=7&tailLines=3", LogOptions(tail_lines=7)),
        ("tail=all&tailLines=3", LogOptions()),
        ("tail=&tailLines=3", LogOptions(tail_lines=3)),
        ("tailLines=1&tailLines=2", LogOptions(tail_lines=1)),
        ("sinceSeconds=1&limitBytes=1", LogOptions(since_seconds=1, limit_bytes=1)),
        ("sinceTime=2026-08-01T10:00:00Z", LogOptions(since_time=datetime(2026, 8, 1, 10, tzinfo=UTC))),
        ("sinceTime=2026-08-01T10:00:00.123456789Z", LogOptions(since_time=datetime(2026, 8, 1, 10, 0, 0, 123456, tzinfo=UTC))),
        ("sinceTime=2026-08-01T10:00:00.5%2B02:00", LogOptions(since_time=datetime(2026, 8, 1, 8, 0, 0, 500000, UTC))),
        ("sinceTime=&follow=true", LogOptions(follow=True)),
        ("sinceTime=null", LogOptions()),
        ("stream=All", LogOptions()),
        ("unknown=1&limitBytes=9223372036854775807", LogOptions(limit_bytes=2**63 - 1)),
    ],
)
def test_options_are_read_as_the_kubelet_reads_them(query: str, options: LogOptions) -> None:
    assert options_of(query) == options


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("tailLines=-1", 422, INVALID),
        ("tail=-1", 422, INVALID),
        ("limitBytes=0", 422, INVALID),
        ("sinceSeconds=0", 422, INVALID),
        ("sinceSeconds=1&sinceTime=2026-08-01T10:00:00Z", 422, INVALID),
        ("sinceSeconds=1&sinceTime=", 422, INVALID),
        ("stream=Both", 422, INVALID),
        ("tailLines=ten", 400, UNDECODABLE),
        ("tailLines=", 400, UNDECODABLE),
        ("tailLines=1_0", 400, UNDECODABLE),
        ("tailLines=%D9%A1", 400, UNDECODABLE),  # an Arabic one, which Python's int() takes
        ("tail=ALL", 400, UNDECODABLE),
        ("limitBytes=9223372036854775808", 400, UNDECODABLE),
        ("limitBytes=99999999999999999999999", 400, UNDECODABLE),
        ("sinceSeconds=1.5", 400, UNDECODABLE),
        ("sinceTime=yesterday", 400, UNDECODABLE),
        ("sinceTime=2026-08-01", 400, UNDECODABLE),
        ("sinceTime=2026-13-01T10:00:00Z", 400, UNDECODABLE),
        ("sinceTime=2026-08-01T10:00:00", 400, UNDECODABLE),
        ("sinceTime=2026-08-01T10:00:00%2B99:00", 400, UNDECODABLE),
    ],
)
def test_impossible_options_are_refused_in_the_kubelets_words(query: str, status: int, text: str) -> None:
    with pytest.raises(RequestRefused) as caught:
        options_of(query)
    assert (caught.value.reply.status, caught.value.reply.body.decode()) == (status, text)


NAMES = ["tail", "tailLines", "sinceSeconds", "sinceTime", "limitBytes", "follow", "stream"]


@given(st.dictionaries(st.sampled_from(NAMES), st.lists(st.text(), min_size=1)))
def test_any_query_gives_usable_options_or_a_refusal(query: dict[str, list[str]]) -> None:
    try:
        options = parse_log_options(query)
    except RequestRefused:
        return
    assert options.tail_lines is None or options.tail_lines >= 0
    assert options.limit_bytes is None or options.limit_bytes >= 1


def with_status(**entry: Any) -> dict[str, Any]:
    return pod("p", "c", containerStatuses=[{"name": "c", **entry}])


def waiting(reason: str) -> dict[str, Any]:
    return with_status(state={"waiting": {"reason": reason}})


ENDED = {"terminated": {"containerID": "wirelet://2", "exitCode": 0}}
EARLIER = {"terminated": {"containerID": "wirelet://1", "exitCode": 1}}


@pytest.mark.parametrize(
    ("entry", "previous", "found"),
    [
        ({"state": {"running": {}}, "containerID": "wirelet://2"}, False, "wirelet://2"),
        ({"state": ENDED}, False, "wirelet://2"),
        ({"state": ENDED, "lastState": EARLIER}, False, "wirelet://2"),
        ({"state": ENDED, "lastState": EARLIER}, True, "wirelet://1"),
        ({"state": {"running": {}}, "lastState": EARLIER, "containerID": "wirelet://2"}, True, "wirelet://1"),
        ({"state": {"terminated": {"containerID": ""}}, "lastState": EARLIER}, False, "wirelet://1"),
        # In CrashLoopBackOff a plain `kubectl logs` prints the last attempt.
        ({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": EARLIER}, False, "wirelet://1"),
    ],
)
def test_the_attempt_that_is_meant(entry: dict[str, Any], previous: bool, found: str) -> None:
    assert choose_attempt(with_status(**entry), "c", previous=previous) == found


@pytest.mark.parametrize(
    ("subject", "previous", "text"),
    [
        (pod("p", "c", containerStatuses=[]), False, 'container "c" in pod "p" is not available'),
        (waiting("ContainerCreating"), False, 'container "c" in pod "p" is waiting to start: ContainerCreating'),
        (waiting("PodInitializing"), False, 'container "c" in pod "p" is waiting to start: PodInitializing'),
        (waiting("ErrImagePull"), False, 'container "c" in pod "p" is waiting to start: image can\'t be pulled'),
        (waiting("ImagePullBackOff"), False, 'container "c" in pod "p" is waiting to start: trying and failing to pull image'),
        (with_status(state={"waiting": {}}), False, 'container "c" in pod "p" is waiting to start: '),
        (with_status(state={}), False, 'container "c" in pod "p" is waiting to start - no logs yet'),
        (with_status(state={"terminated": {"containerID": ""}}), False, 'container "c" in pod "p" is terminated'),
        (with_status(state={"waiting": {}}, lastState={"terminated": {}}), False, 'container "c" in pod "p" is terminated'),
        (with_status(state={"running": {}}, containerID="x"), True, 'previous terminated container "c" in pod "p" not found'),
    ],
)
def test_a_state_without_a_log_is_told_in_the_kubelets_words(subject: dict[str, Any], previous: bool, text: str) -> None:
    with pytest.raises(LogsUnavailable) as caught:
        choose_attempt(subject, "c", previous=previous)
    assert (caught.value.status, caught.value.text) == (400, text)


def request(query: str = "") -> Request:
    path, fields = parse_target(f"/containerLogs/default/hello/main?{query}".encode())
    return Request("GET", path, fields, {}, Peer("x"))


@pytest.mark.parametrize(
    ("arguments", "query", "status", "text"),
    [
        (("default", "gone", "main"), "", 404, 'pod "gone" does not exist'),
        (("lab", "hello", "main"), "", 404, 'pod "hello" does not exist'),
        (("default", "hello", "other"), "", 404, 'container "other" not found in pod "hello"'),
        (("default", "gone", "main"), "tailLines=-1", 422, INVALID),
        (
            ("default", "hello", "main"),
            "stream=Stderr",
            400,
            'unable to return the given log stream: "Stderr". Please enable PodLogsQuerySplitStreams feature gate in kubelet',
        ),
        (("default", "hello", "main"), "previous=true", 400, 'previous terminated container "main" in pod "hello" not found'),
        (("default", "hello", "main"), "", 400, 'the log of container "main" is gone'),
    ],
)
async def test_refusals(arguments: tuple[str, str, str], query: str, status: int, text: str) -> None:
    handler = ContainerLogsHandler(FakePods([pod("hello")]), FakeLogs())
    with pytest.raises(RequestRefused) as caught:
        await handler(request(query), arguments)
    assert (caught.value.reply.status, caught.value.reply.body.decode()) == (status, text)


@pytest.mark.parametrize("kind", ["initContainers", "ephemeralContainers"])
async def test_containers_of_every_kind_have_logs(kind: str) -> None:
    subject = pod("hello")
    subject["spec"][kind] = [{"name": "extra"}]
    subject["status"][kind.replace("Containers", "ContainerStatuses")] = [{"name": "extra", "state": ENDED}]
    logs = FakeLogs({"wirelet://2": b"extra\n"})
    answer = await ContainerLogsHandler(FakePods([subject]), logs)(request("tailLines=3"), ("default", "hello", "extra"))
    assert isinstance(answer, StreamReply)
    assert [piece async for piece in answer.pieces] == [b"extra\n"]
    assert logs.asked == [("wirelet://2", LogOptions(tail_lines=3))]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


@pytest.fixture
def tls(authority: Authority) -> ServingTls:
    issued = authority.server()
    return ServingTls(issued.cert, issued.key, authority.file)


@pytest.mark.parametrize(("name", "expected"), [("hello", b"a \xff line\r\n"), ("quiet", b"chunked\r\n\r\n")])
async def test_a_follower_over_tls_gets_lines_at_once_and_its_reader_ends_when_it_leaves(
    tls: ServingTls, authority: Authority, name: str, expected: bytes
) -> None:
    logs = FakeLogs({"wirelet://hello-main-1": b"a \xff line\r\n", "wirelet://quiet-main-1": b""})
    reviews = FakeReviews(tokens={"t": {"username": "alice"}}, allowed={("alice", "get", "proxy")})
    routes = kubelet_routes(FakePods([pod("hello"), pod("quiet")]), logs, FixedVitals(), FakeConversations())
    endpoint = Endpoint(routes, Gatekeeper(reviews, "node"))
    context = await anyio.to_thread.run_sync(partial(client_context, authority))
    server = HttpServer(endpoint, tls=tls.context, limits=Limits(linger_s=0.05))
    async with serving(server, await listen_tcp("127.0.0.1", 0)) as port:
        client = await anyio.connect_tcp("127.0.0.1", port, ssl_context=context, tls_standard_compatible=False)
        async with client:
            target = f"/containerLogs/default/{name}/main?follow=true"
            await client.send(f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\n\r\n".encode())
            await read_until(client, expected)
            assert not logs.left.is_set()
        with anyio.fail_after(5):
            await logs.left.wait()

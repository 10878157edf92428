"""What the answer to a status PATCH says counts, also what nobody here wrote."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio
import pytest

from gateway.kube.events import KubeEvents
from gateway.kube.pods import KubePodSource, KubeStatusSink
from gateway.pods.seams import PodUid, SourceUnavailable
from gateway.tests.kube_server import Answer, KubeServer, WatchAnswer, kube_server

PODS = "/api/v1/pods"
POD = "/api/v1/namespaces/n/pods/p"
STATUS = f"{POD}/status"
DELETED = {"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30}
CONTAINERS = [{"name": "main", "restartCount": 1, "state": {}}]


def pod(
    version: int, phase: str = "Running", ready: str = "True", *, metadata: Mapping[str, Any] = MappingProxyType({}), **status: Any
) -> dict[str, Any]:
    metadata = {"namespace": "n", "name": "p", "uid": "u", "generation": 1, "resourceVersion": str(version), **metadata}
    conditions = [{"type": "Ready", "status": ready}, {"type": "example.com/theirs", "status": "False"}]
    return {"metadata": metadata, "spec": {"containers": []}, "status": {"phase": phase, "conditions": conditions, **status}}


WANTED: dict[str, Any] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": CONTAINERS}


@asynccontextmanager
async def followed(folder: Path, patched: Answer | WatchAnswer, *watches: WatchAnswer) -> AsyncIterator[Followed]:
    """A source that has listed version 5 and watches from there, and a sink whose PATCH is answered so."""
    async with kube_server(folder) as (server, api), anyio.create_task_group() as tasks:
        source = KubePodSource(api, "x")
        told: list[PodUid] = []
        synced = anyio.Event()
        source.when_synced(synced.set)
        source.subscribe(told.append)
        server.will("GET", PODS, Answer(200, {"metadata": {"resourceVersion": "5"}, "items": [pod(5)]}))
        server.will("WATCH", PODS, *watches)
        server.will("PATCH", STATUS, patched)
        tasks.start_soon(source.run)
        await synced.wait()
        told.clear()
        yield Followed(server, source, KubeStatusSink(api, source, KubeEvents(api, "x")), told)
        tasks.cancel_scope.cancel()


@dataclass(frozen=True, slots=True)
class Followed:
    server: KubeServer
    source: KubePodSource
    sink: KubeStatusSink
    told: list[PodUid]

    async def until_version(self, version: int) -> None:
        with anyio.fail_after(5):
            while (self.source.get(PodUid("u")) or {})["metadata"]["resourceVersion"] != str(version):  # noqa: ASYNC110 - no event tells
                await anyio.sleep(0.01)


@pytest.mark.parametrize(
    ("answered", "is_told"),
    [
        pytest.param(pod(7, containerStatuses=CONTAINERS), False, id="as wanted"),
        pytest.param(pod(7, ready="False", containerStatuses=CONTAINERS), True, id="the node lifecycle controller was quicker"),
        pytest.param(pod(7, containerStatuses=CONTAINERS, metadata=DELETED), True, id="somebody deleted it"),
        pytest.param(pod(7, containerStatuses=CONTAINERS, metadata={"generation": 2}), True, id="somebody set another image"),
        pytest.param(pod(7, phase="Failed", containerStatuses=CONTAINERS), True, id="the garbage collector was quicker"),
    ],
)
async def test_what_somebody_wrote_before_our_answer_is_looked_at_although_the_watch_tells_nothing_newer(
    tmp_path: Path, answered: dict[str, Any], is_told: bool
) -> None:
    async with followed(tmp_path, Answer(200, answered), WatchAnswer([], ends=anyio.Event())) as it:
        await it.sink.write_status(pod(5), WANTED)
        assert it.told == ["u"] * is_told
        newest = it.source.get(PodUid("u"))
        assert newest is not None
        assert newest["status"]["phase"] == answered["status"]["phase"]


@pytest.mark.parametrize(
    ("versions", "is_told"),
    [
        pytest.param([7], False, id="our own write"),
        pytest.param([6, 7], True, id="somebody wrote before"),
        pytest.param([7, 8], True, id="somebody wrote after"),
    ],
)
async def test_our_own_write_is_no_news_although_the_watch_tells_it_before_the_answer_comes(
    tmp_path: Path, versions: list[int], is_told: bool
) -> None:
    is_asked, is_seen = anyio.Event(), anyio.Event()
    echoes = [("MODIFIED", pod(version, containerStatuses=CONTAINERS)) for version in versions]
    answer = WatchAnswer([json.dumps(pod(7, containerStatuses=CONTAINERS)).encode()], ends=is_seen)
    watches = WatchAnswer([], ends=is_asked), WatchAnswer.of(*echoes, ends=anyio.Event())
    async with followed(tmp_path, answer, *watches) as it:
        async with anyio.create_task_group() as writes:
            writes.start_soon(it.sink.write_status, pod(5), WANTED)
            await it.server.until("PATCH", STATUS, 1)
            is_asked.set()
            await it.until_version(versions[-1])
            assert it.told == []
            is_seen.set()
        assert it.told == ["u"] * is_told


async def test_what_the_watch_told_while_a_write_failed_is_looked_at(tmp_path: Path) -> None:
    is_asked, is_seen = anyio.Event(), anyio.Event()
    watches = WatchAnswer([], ends=is_asked), WatchAnswer.of(("MODIFIED", pod(7)), ends=anyio.Event())
    async with followed(tmp_path, WatchAnswer([b"{"], ends=is_seen, cut=True), *watches) as it:

        async def write() -> None:
            with pytest.raises(SourceUnavailable):
                await it.sink.write_status(pod(5), WANTED)

        async with anyio.create_task_group() as writes:
            writes.start_soon(write)
            await it.server.until("PATCH", STATUS, 1)
            is_asked.set()
            await it.until_version(7)
            is_seen.set()
        assert it.told == ["u"]


@pytest.mark.parametrize("body", [b"404 page not found\n", b"<html>", b"{}"])
async def test_a_404_that_is_not_of_the_api_server_says_nothing_about_the_pod(tmp_path: Path, body: bytes) -> None:
    async with followed(tmp_path, Answer(404, body), WatchAnswer([], ends=anyio.Event())) as it:
        it.server.will("DELETE", POD, Answer(404, body))
        with pytest.raises(SourceUnavailable):
            await it.sink.write_status(pod(5), WANTED)
        with pytest.raises(SourceUnavailable):
            await it.sink.finish(pod(5))
        assert it.source.get(PodUid("u")) is not None


async def test_a_pod_that_is_asked_to_go_is_looked_at_when_it_is_gone_and_not_when_its_grace_is(tmp_path: Path) -> None:
    is_asked, is_seen = anyio.Event(), anyio.Event()
    going = pod(6, metadata={**DELETED, "deletionGracePeriodSeconds": 0})
    watches = WatchAnswer([], ends=is_asked), WatchAnswer.of(("MODIFIED", going), ends=is_seen), WatchAnswer.of(("DELETED", pod(7)))
    async with followed(tmp_path, Answer(), *watches) as it:
        it.server.will("DELETE", POD, WatchAnswer([b"{}"], ends=is_seen))
        async with anyio.create_task_group() as writes:
            writes.start_soon(it.sink.finish, pod(5))
            await it.server.until("DELETE", POD, 1)
            is_asked.set()
            await it.until_version(6)
            assert it.told == []
            is_seen.set()
        await it.server.until("WATCH", PODS, 4)
        assert it.told == ["u"]

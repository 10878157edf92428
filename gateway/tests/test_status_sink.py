"""What is written about a pod: to the pod that is meant, once, and what follows from each refusal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.kube.events import KubeEvents
from gateway.kube.pods import KubePodSource, KubeStatusSink
from gateway.pods.seams import JsonObject, PodUid, SourceUnavailable
from gateway.tests.kube_server import Answer, KubeServer, WatchAnswer, kube_server

PODS, POD = "/api/v1/pods", "/api/v1/namespaces/n/pods/p"
UID = PodUid("u")
RUNNING = {"phase": "Running"}
OTHER_UID = {"causes": [{"reason": "FieldValueInvalid", "field": "metadata.uid"}]}


def pod(version: int = 1, status: JsonObject | None = None, **metadata: Any) -> JsonObject:
    named = {"namespace": "n", "name": "p", "uid": UID, "resourceVersion": str(version)}
    return {"metadata": named | metadata, "spec": {"containers": []}, "status": status or {}}


def refusal(code: int, reason: str, message: str = "no", **more: Any) -> Answer:
    return Answer(code, {"kind": "Status", "code": code, "reason": reason, "message": message, **more})


class Desk:
    def __init__(self, server: KubeServer, source: KubePodSource, sink: KubeStatusSink) -> None:
        self.server = server
        self.source = source
        self.sink = sink

    @property
    def is_known(self) -> bool:
        return self.source.get(UID) is not None


@asynccontextmanager
async def following(folder: Path, known: JsonObject | None = None) -> AsyncIterator[Desk]:
    """The source knows one pod."""
    async with kube_server(folder) as (server, api), anyio.create_task_group() as tasks:
        server.will("GET", PODS, Answer(200, {"metadata": {"resourceVersion": "1"}, "items": [known or pod()]}))
        server.will("WATCH", PODS, WatchAnswer([], ends=anyio.Event()))
        source = KubePodSource(api, "x")
        synced = anyio.Event()
        source.when_synced(synced.set)
        tasks.start_soon(source.run)
        await synced.wait()
        yield Desk(server, source, KubeStatusSink(api, source, KubeEvents(api, "x")))
        tasks.cancel_scope.cancel()


async def test_a_status_is_written_once(tmp_path: Path) -> None:
    """The answer is the newest version, before the watch says so."""
    async with following(tmp_path) as desk:
        desk.server.will("PATCH", f"{POD}/status", Answer(200, pod(2, RUNNING)))
        for _ in range(3):
            await desk.sink.write_status(pod(), RUNNING)
        (asked,) = desk.server.seen("PATCH", f"{POD}/status")
        assert asked.body == {"metadata": {"uid": UID}, "status": RUNNING}
        assert asked.headers["content-type"] == "application/strategic-merge-patch+json"


async def test_a_status_of_a_pod_whose_name_another_one_has_is_dropped(tmp_path: Path) -> None:
    async with following(tmp_path) as desk:
        desk.server.will("PATCH", f"{POD}/status", refusal(422, "Invalid", details=OTHER_UID))
        await desk.sink.write_status(pod(), RUNNING)
        assert not desk.is_known
        await desk.sink.write_status(pod(), RUNNING)
        assert len(desk.server.seen("PATCH", f"{POD}/status")) == 1


async def test_a_status_that_the_server_refuses_is_told_and_tried_again(tmp_path: Path) -> None:
    async with following(tmp_path) as desk:
        desk.server.will("PATCH", f"{POD}/status", refusal(422, "Invalid", details={"causes": [{"field": "status.hostIPs"}]}))
        with pytest.raises(SourceUnavailable):
            await desk.sink.write_status(pod(), RUNNING)
        assert desk.is_known


async def test_a_pod_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    async with following(tmp_path) as desk:
        await desk.sink.write_status(pod(), RUNNING)
        assert len(desk.server.seen("PATCH", f"{POD}/status")) == 1
        assert not desk.is_known


async def test_a_pod_that_ended_is_deleted_with_its_uid(tmp_path: Path) -> None:
    async with following(tmp_path) as desk:
        await desk.sink.finish(pod())
        (asked,) = desk.server.seen("DELETE", POD)
        assert asked.body["preconditions"] == {"uid": UID}
        assert asked.body["gracePeriodSeconds"] == 0
        assert not desk.is_known


async def test_a_pod_that_waits_for_a_finalizer_is_not_asked_again(tmp_path: Path) -> None:
    waits = pod(finalizers=["example.org/x"], deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=0)
    async with following(tmp_path, waits) as desk:
        await desk.sink.finish(waits)
        assert desk.server.seen("DELETE", POD) == []


async def test_a_delete_that_met_another_pod_of_the_name_is_over(tmp_path: Path) -> None:
    async with following(tmp_path) as desk:
        other = "Precondition failed: UID in precondition: u, UID in object meta: v"
        desk.server.will("DELETE", POD, refusal(409, "Conflict", "the object was changed"), refusal(409, "Conflict", other))
        with pytest.raises(SourceUnavailable):
            await desk.sink.finish(pod())
        assert desk.is_known
        await desk.sink.finish(pod())
        assert not desk.is_known


async def test_a_server_that_is_away_is_told(tmp_path: Path) -> None:
    async with following(tmp_path) as desk:
        desk.server.will("PATCH", f"{POD}/status", Answer(503))
        desk.server.will("DELETE", POD, Answer(503))
        with pytest.raises(SourceUnavailable):
            await desk.sink.write_status(pod(), RUNNING)
        with pytest.raises(SourceUnavailable):
            await desk.sink.finish(pod())
        assert desk.is_known

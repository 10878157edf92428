"""What the answer to a status PATCH says counts, also what nobody here wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio
import pytest

from gateway.kube.events import KubeEvents
from gateway.kube.pods import KubePodSource, KubeStatusSink
from gateway.pods.seams import PodUid
from gateway.tests.kube_server import Answer, WatchAnswer, kube_server

PODS = "/api/v1/pods"
STATUS = "/api/v1/namespaces/n/pods/p/status"
DELETED = {"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": 30}
CONTAINERS = [{"name": "main", "restartCount": 1, "state": {}}]


def pod(
    version: int, phase: str = "Running", ready: str = "True", *, metadata: Mapping[str, Any] = MappingProxyType({}), **status: Any
) -> dict[str, Any]:
    metadata = {"namespace": "n", "name": "p", "uid": "u", "generation": 1, "resourceVersion": str(version), **metadata}
    conditions = [{"type": "Ready", "status": ready}, {"type": "example.com/theirs", "status": "False"}]
    return {"metadata": metadata, "spec": {"containers": []}, "status": {"phase": phase, "conditions": conditions, **status}}


WANTED: dict[str, Any] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "containerStatuses": CONTAINERS}


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
    never = anyio.Event()
    async with kube_server(tmp_path) as (server, api), anyio.create_task_group() as tasks:
        source = KubePodSource(api, "x")
        told: list[PodUid] = []
        synced = anyio.Event()
        source.when_synced(synced.set)
        source.subscribe(told.append)
        server.will("GET", PODS, Answer(200, {"metadata": {"resourceVersion": "5"}, "items": [pod(5)]}))
        server.will("WATCH", PODS, WatchAnswer([], ends=never))
        server.will("PATCH", STATUS, Answer(200, answered))
        tasks.start_soon(source.run)
        await synced.wait()
        told.clear()
        await KubeStatusSink(api, source, KubeEvents(api, "x")).write_status(pod(5), WANTED)
        assert told == ["u"] * is_told
        newest = source.get(PodUid("u"))
        assert newest is not None
        assert newest["status"]["phase"] == answered["status"]["phase"]
        tasks.cancel_scope.cancel()

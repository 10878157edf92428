"""What the endpoint asks of pods and logs: the pod that is meant, and the attempt that its containerID names."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.endpoint import AttemptLogs, SourcePods
from gateway.kubelet.seams import LogsUnavailable
from gateway.logs.clock import SystemClock
from gateway.logs.reader import LogOptions
from gateway.pods.seams import JsonObject
from gateway.tests.fakes_pods import FakeApi, TurnedClock
from gateway.tests.test_fleet import bench


def named(uid: str, namespace: str, **metadata: str) -> JsonObject:
    return {"metadata": {"uid": uid, "namespace": namespace, "name": "hello", **metadata}}


async def test_a_pod_is_found_in_its_namespace_and_the_living_one_first(tmp_path: Path) -> None:
    api = FakeApi(TurnedClock())
    for pod in (named("u1", "lab"), named("u2", "default", deletionTimestamp="2026-01-01T00:00:00Z"), named("u3", "default")):
        api.create(pod)
    async with bench(tmp_path) as desk:
        pods = SourcePods(api, desk.fleet)
        found = [pods.find("default", "hello"), pods.find("lab", "hello"), pods.find("lab", "other"), pods.find("kube-system", "hello")]
    assert [pod["metadata"]["uid"] if pod else None for pod in found] == ["u3", "u1", None, None]


@pytest.mark.parametrize("container_id", ["", "docker://cafe", "wirelet://0badcafe-x"])
async def test_a_container_id_of_another_kind_names_no_log(tmp_path: Path, container_id: str) -> None:
    async with bench(tmp_path) as desk:
        with pytest.raises(LogsUnavailable, match='the log of container "main" is not on this node'):
            await AttemptLogs(desk.logs, SystemClock()).open(named("u", "default"), "main", container_id, LogOptions())

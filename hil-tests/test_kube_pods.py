"""Pods of a node by the real API server: what the source tells, and what a status PATCH does and leaves alone."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest
from anyio import to_thread
from control_plane import ControlPlane
from kube_gateway import admin, kube_gateway, make_pod, refusals

from gateway.kube.api import KubeApi, PatchKind
from gateway.kube.errors import Gone, Unprocessable
from gateway.kube.status import ASSIGNED_DEVICE
from gateway.pods.seams import PodUid, SourceUnavailable

STARTED = "2026-01-02T03:04:05Z"


def running(ready: str = "True", **changes: Any) -> dict[str, Any]:
    """A status as the pod controller makes it."""
    return {
        "phase": "Running",
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
        "podIP": "127.0.0.1",
        "podIPs": [{"ip": "127.0.0.1"}],
        "startTime": STARTED,
        "qosClass": "BestEffort",
        "conditions": [
            {"type": "Ready", "status": ready, "lastTransitionTime": STARTED},
            {"type": "ContainersReady", "status": ready, "lastTransitionTime": STARTED},
        ],
        "containerStatuses": [
            {
                "name": "main",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "image": "hello",
                "imageID": "",
                "containerID": "wirelet://1",
                "state": {"running": {"startedAt": STARTED}},
                "lastState": {},
                "allocatedResourcesStatus": [{"name": "wirelet.dev/esp32", "resources": [{"resourceID": "board-a", "health": "Healthy"}]}],
            }
        ],
        **changes,
    }


async def get(control_plane: ControlPlane, namespace: str, name: str) -> Any:
    return await admin(control_plane, "GET", f"/api/v1/namespaces/{namespace}/pods/{name}")


def writes(control_plane: ControlPlane, node: str) -> int:
    events = control_plane.audit_events(f"system:node:{node}")
    return sum(event["verb"] == "patch" and event["objectRef"]["resource"] == "pods" for event in events)


async def test_a_status_is_written_once_and_an_equal_one_never(control_plane: ControlPlane, namespace: str) -> None:
    async with kube_gateway(control_plane, "status-a") as gateway:
        await make_pod(control_plane, namespace, "p", "status-a")
        pod = await gateway.pod("p")
        assert "managedFields" not in pod["metadata"]
        await gateway.sink.write_status(pod, running())
        await gateway.sink.write_status(pod, running())
        later = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T09:00:00Z"}]
        await gateway.sink.write_status(pod, running(conditions=later))
        stored = await get(control_plane, namespace, "p")
        assert writes(control_plane, "status-a") == 1
    assert stored["status"]["phase"] == "Running"
    assert stored["status"]["containerStatuses"][0]["state"] == {"running": {"startedAt": STARTED}}
    assert stored["metadata"]["annotations"][ASSIGNED_DEVICE] == "board-a"
    assert refusals(control_plane, "status-a") == []


async def test_the_health_of_a_requested_device_is_on_the_pod_and_of_a_shared_one_only_in_the_annotation(
    control_plane: ControlPlane, namespace: str
) -> None:
    async with kube_gateway(control_plane, "health-a") as gateway:
        paid = [{"name": "main", "image": "hello", "resources": {"limits": {"wirelet.dev/esp32": "1"}}}]
        await make_pod(control_plane, namespace, "paid", "health-a", spec={"containers": paid})
        await make_pod(control_plane, namespace, "shared", "health-a")
        for name in ("paid", "shared"):
            await gateway.sink.write_status(await gateway.pod(name), running())
        paid_pod, shared_pod = await get(control_plane, namespace, "paid"), await get(control_plane, namespace, "shared")
    health = paid_pod["status"]["containerStatuses"][0]["allocatedResourcesStatus"]
    assert health == [{"name": "wirelet.dev/esp32", "resources": [{"resourceID": "board-a", "health": "Healthy"}]}]
    assert "allocatedResourcesStatus" not in shared_pod["status"]["containerStatuses"][0]
    assert shared_pod["metadata"]["annotations"][ASSIGNED_DEVICE] == "board-a"


async def test_the_answer_to_a_write_counts_before_the_watch_tells_it(control_plane: ControlPlane, namespace: str) -> None:
    async with kube_gateway(control_plane, "status-b") as gateway:
        await make_pod(control_plane, namespace, "p", "status-b")
        pod = await gateway.pod("p")
        await gateway.sink.write_status(pod, running())
        newest = gateway.source.get(PodUid(pod["metadata"]["uid"]))
        assert newest is not None
        assert newest["status"]["phase"] == "Running"


async def test_foreign_conditions_and_readiness_gates_stay(control_plane: ControlPlane, namespace: str) -> None:
    async with kube_gateway(control_plane, "status-c") as gateway:
        await make_pod(control_plane, namespace, "p", "status-c")
        pod = await gateway.pod("p")
        await gateway.sink.write_status(pod, running())
        foreign = {"status": {"conditions": [{"type": "example.com/Calibrated", "status": "True"}]}}
        path = f"/api/v1/namespaces/{namespace}/pods/p/status"
        await admin(control_plane, "PATCH", path, foreign, "application/strategic-merge-patch+json")
        await gateway.sink.write_status(pod, running("False"))
        conditions = (await get(control_plane, namespace, "p"))["status"]["conditions"]
    assert {c["type"]: c["status"] for c in conditions} == {
        "Ready": "False",
        "ContainersReady": "False",
        "example.com/Calibrated": "True",
    }


async def test_a_changed_address_replaces_the_old_one(control_plane: ControlPlane, namespace: str) -> None:
    async with kube_gateway(control_plane, "status-d") as gateway:
        await make_pod(control_plane, namespace, "p", "status-d")
        pod = await gateway.pod("p")
        await gateway.sink.write_status(pod, running())
        moved: dict[str, Any] = {
            "podIP": "127.0.0.9",
            "podIPs": [{"ip": "127.0.0.9"}],
            "hostIP": "127.0.0.8",
            "hostIPs": [{"ip": "127.0.0.8"}],
        }
        await gateway.sink.write_status(pod, running(**moved))
        status = (await get(control_plane, namespace, "p"))["status"]
    assert {name: status[name] for name in moved} == moved


async def test_reason_and_message_go_when_they_are_no_longer_said(control_plane: ControlPlane, namespace: str) -> None:
    async with kube_gateway(control_plane, "status-e") as gateway:
        await make_pod(control_plane, namespace, "p", "status-e")
        pod = await gateway.pod("p")
        await gateway.sink.write_status(pod, running(reason="NodeLost", message="the node is gone"))
        told = (await get(control_plane, namespace, "p"))["status"]
        await gateway.sink.write_status(pod, running())
        silent = (await get(control_plane, namespace, "p"))["status"]
    assert told["reason"] == "NodeLost"
    assert "reason" not in silent
    assert "message" not in silent


async def test_another_pod_of_the_same_name_is_left_alone(control_plane: ControlPlane, namespace: str) -> None:
    async with kube_gateway(control_plane, "uid-a") as gateway:
        await make_pod(control_plane, namespace, "p", "uid-a")
        first = await gateway.pod("p")
        path = f"/api/v1/namespaces/{namespace}/pods/p"
        stale = {"metadata": {"uid": "00000000-0000-0000-0000-000000000000"}, "status": {"phase": "Failed"}}
        with pytest.raises(Unprocessable) as refused:
            await gateway.api.patch(f"{path}/status", stale, PatchKind.STRATEGIC)
        assert set(refused.value.causes) == {"metadata.uid"}

        await admin(control_plane, "DELETE", f"{path}?gracePeriodSeconds=0")
        await make_pod(control_plane, namespace, "p", "uid-a")
        second = await gateway.until(lambda: next((pod for pod in gateway.source.pods() if pod["metadata"]["uid"] != _uid(first)), None))
        await gateway.sink.write_status(first, running(phase="Failed"))
        await gateway.sink.finish(first)
        stored = await get(control_plane, namespace, "p")
    assert _uid(stored) == _uid(second)
    assert stored["status"]["phase"] == "Pending"
    assert refusals(control_plane, "uid-a") == []


async def test_a_finished_pod_is_removed_and_told_as_gone(control_plane: ControlPlane, namespace: str) -> None:
    async with kube_gateway(control_plane, "finish-a") as gateway:
        await make_pod(control_plane, namespace, "p", "finish-a")
        pod = await gateway.pod("p")
        await gateway.sink.write_status(pod, running())
        path = f"/api/v1/namespaces/{namespace}/pods/p"
        await admin(control_plane, "DELETE", path)
        uid = PodUid(_uid(pod))
        deleting = await gateway.until(lambda: _deleting(gateway.source.get(uid)))
        await gateway.sink.finish(deleting)
        await gateway.until(lambda: gateway.source.get(uid) is None)
        await gateway.sink.finish(deleting)
    status, _ = await to_thread.run_sync(control_plane.request, "GET", path)
    assert status == 404


async def test_finalizers_of_others_hold_the_pod_and_nobody_asks_twice(control_plane: ControlPlane, namespace: str) -> None:
    async with kube_gateway(control_plane, "finish-b") as gateway:
        await make_pod(control_plane, namespace, "p", "finish-b", metadata={"finalizers": ["example.com/report"]})
        pod = await gateway.pod("p")
        uid = PodUid(_uid(pod))
        path = f"/api/v1/namespaces/{namespace}/pods/p"
        await admin(control_plane, "DELETE", path)
        await gateway.sink.finish(await gateway.until(lambda: _deleting(gateway.source.get(uid))))
        held = await gateway.until(
            lambda: next((p for p in gateway.source.pods() if p["metadata"].get("deletionGracePeriodSeconds") == 0), None)
        )
        before = len(control_plane.audit_events("system:node:finish-b"))
        await gateway.sink.finish(held)
        assert all(event["verb"] != "delete" for event in control_plane.audit_events("system:node:finish-b")[before:])
        assert (await get(control_plane, namespace, "p"))["metadata"]["finalizers"] == ["example.com/report"]
        await admin(control_plane, "PATCH", path, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
        await gateway.until(lambda: gateway.source.get(uid) is None)


async def test_config_maps_and_secrets_of_a_pod_are_read_and_others_are_not(control_plane: ControlPlane, namespace: str) -> None:
    async with kube_gateway(control_plane, "refs-a") as gateway:
        await admin(control_plane, "POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}})
        secret = {"metadata": {"name": "s"}, "stringData": {"key": "väl"}}
        await admin(control_plane, "POST", f"/api/v1/namespaces/{namespace}/secrets", secret)
        sources = [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "s"}}, {"configMapRef": {"name": "absent", "optional": True}}]
        containers = [{"name": "main", "image": "hello", "envFrom": sources}]
        await make_pod(control_plane, namespace, "p", "refs-a", spec={"containers": containers})
        await gateway.pod("p")
        assert await gateway.source.config_map(namespace, "c") == {"a": "1"}
        assert await gateway.source.secret(namespace, "s") == {"key": "väl".encode()}
        assert await gateway.source.config_map(namespace, "absent") is None
        assert refusals(control_plane, "refs-a") == []
        with pytest.raises(SourceUnavailable, match="no relationship found"):
            await gateway.source.secret(namespace, "of-nobody")


async def test_a_hundred_pods_that_share_a_config_map_read_it_a_few_times(control_plane: ControlPlane, namespace: str) -> None:
    async with kube_gateway(control_plane, "refs-b") as gateway:
        await admin(control_plane, "POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}})
        containers = [{"name": "main", "image": "hello", "envFrom": [{"configMapRef": {"name": "c"}}]}]
        await make_pod(control_plane, namespace, "p", "refs-b", spec={"containers": containers})
        await gateway.pod("p")
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(gateway.source.config_map, namespace, "c")
        reads = [e for e in control_plane.audit_events("system:node:refs-b") if e["objectRef"]["resource"] == "configmaps"]
        assert len(reads) == 1


async def test_a_watch_that_is_too_old_is_gone(control_plane: ControlPlane, namespace: str) -> None:
    params = {"fieldSelector": "spec.nodeName=old-a"}
    async with await KubeApi.connect(str(control_plane.node_identity("old-a"))) as api:
        listing = await api.list_all("/api/v1/pods", params)
        await make_pod(control_plane, namespace, "p", "old-a")
        await to_thread.run_sync(control_plane.compact)
        await to_thread.run_sync(control_plane.restart, "kube-apiserver")
        with pytest.raises(Gone):
            await _read(api, listing.resource_version, params)


async def test_a_restarted_api_server_is_followed(control_plane: ControlPlane, namespace: str) -> None:
    async with kube_gateway(control_plane, "restart-a") as gateway:
        await make_pod(control_plane, namespace, "before", "restart-a")
        before = await gateway.pod("before")
        await to_thread.run_sync(control_plane.kill, "kube-apiserver")
        await to_thread.run_sync(control_plane.restart, "kube-apiserver")
        await admin(control_plane, "DELETE", f"/api/v1/namespaces/{namespace}/pods/before?gracePeriodSeconds=0")
        await make_pod(control_plane, namespace, "after", "restart-a")
        await gateway.pod("after")
        await gateway.until(lambda: gateway.source.get(PodUid(_uid(before))) is None)


async def test_a_hundred_statuses_are_written_within_a_second(control_plane: ControlPlane, namespace: str) -> None:
    async with kube_gateway(control_plane, "many-a") as gateway:
        for number in range(100):
            await make_pod(control_plane, namespace, f"p{number}", "many-a")
        await gateway.until(lambda: len(gateway.source.pods()) == 100)
        pods = gateway.source.pods()
        began = time.monotonic()
        async with anyio.create_task_group() as tasks:
            for pod in pods:
                tasks.start_soon(gateway.sink.write_status, pod, running())
        took_s = time.monotonic() - began
        print(f"100 statuses: {took_s * 1000:.0f} ms")
        assert writes(control_plane, "many-a") == 100
        assert refusals(control_plane, "many-a") == []


async def _read(api: KubeApi, version: str, params: dict[str, str]) -> None:
    async with api.watch("/api/v1/pods", version, params) as events:
        async for _ in events:
            pass


def _uid(pod: Any) -> str:
    return str(pod["metadata"]["uid"])


def _deleting(pod: Any) -> Any:
    return pod if pod is not None and "deletionTimestamp" in pod["metadata"] else None

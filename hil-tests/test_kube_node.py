"""The node registers, is kept and comes back, under its own narrow identity."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from control_plane import ControlPlane
from kube_gateway import WAIT_S, admin, facts, kube_gateway, refusals

from gateway.kube.api import KubeApi
from gateway.kube.lease import LEASES, NodeLease
from gateway.kube.node import KubeNode
from gateway.node.controller import NodeController
from gateway.node.facts import ClassSlots, HostFacts, NodeCondition
from gateway.node.seams import NodeNameTaken


async def test_the_node_is_registered_with_everything_the_scheduler_and_people_look_at(control_plane: ControlPlane) -> None:
    features = ("ExtendWebSocketsToKubelet",)
    async with kube_gateway(control_plane, "register-a", declared_features=features):
        node = await admin(control_plane, "GET", "/api/v1/nodes/register-a")
    assert node["metadata"]["labels"]["type"] == "virtual-kubelet"
    assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "wirelet"
    assert {"key": "virtual-kubelet.io/provider", "value": "wirelet", "effect": "NoSchedule"} in node["spec"]["taints"]
    status = node["status"]
    assert status["capacity"]["wirelet.dev/esp32"] == status["allocatable"]["wirelet.dev/esp32"] == "2"
    assert status["nodeInfo"]["kubeletVersion"] == "v1.36.3+wirelet.0.1.0"
    assert status["nodeInfo"]["containerRuntimeVersion"] == "wirelet://0.1.0"
    assert status["daemonEndpoints"]["kubeletEndpoint"]["Port"] == 10250
    assert status["declaredFeatures"] == list(features)
    conditions = {condition["type"]: condition["status"] for condition in status["conditions"]}
    assert conditions == {"Ready": "True", "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False"}
    assert refusals(control_plane, "register-a") == []


async def test_kubectl_sees_a_ready_node(control_plane: ControlPlane) -> None:
    async with kube_gateway(control_plane, "register-b"):
        await anyio.to_thread.run_sync(control_plane.kubectl, "wait", "node/register-b", "--for=condition=Ready", "--timeout=15s")


async def test_a_changed_fact_is_one_patch_and_no_change_is_none(control_plane: ControlPlane) -> None:
    async with kube_gateway(control_plane, "change-a") as gateway:
        await gateway.until(lambda: gateway.node.get())
        before = _writes(control_plane, "change-a", "nodes")
        gateway.facts = facts("change-a", classes={"esp32": ClassSlots(2, 1)})
        gateway.controller.changed()
        await _until_allocatable(gateway, "1")
        gateway.controller.changed()
        gateway.facts = facts(
            "change-a", internal_ip="127.0.0.2", conditions=[NodeCondition("ServingCertificate", False, "SelfSigned", "m")]
        )
        gateway.controller.changed()
        await _until_allocatable(gateway, "2")
        node = await admin(control_plane, "GET", "/api/v1/nodes/change-a")
    assert node["status"]["addresses"] == [{"type": "InternalIP", "address": "127.0.0.2"}, {"type": "Hostname", "address": "change-a"}]
    assert [c["reason"] for c in node["status"]["conditions"] if c["type"] == "ServingCertificate"] == ["SelfSigned"]
    assert _writes(control_plane, "change-a", "nodes") - before == 2
    assert refusals(control_plane, "change-a") == []


async def test_what_others_put_on_the_node_stays(control_plane: ControlPlane) -> None:
    async with kube_gateway(control_plane, "foreign-a") as gateway:
        foreign = {"status": {"conditions": [{"type": "Rack", "status": "True"}], "capacity": {"example.com/fan": "3"}}}
        path = "/api/v1/nodes/foreign-a"
        await admin(control_plane, "PATCH", f"{path}/status", foreign, "application/strategic-merge-patch+json")
        await admin(control_plane, "PATCH", path, {"metadata": {"labels": {"room": "b12"}}}, "application/merge-patch+json")
        gateway.facts = facts("foreign-a", classes={"rpi": ClassSlots(1, 1)})
        gateway.controller.changed()
        await gateway.until(lambda: "wirelet.dev/rpi" in (gateway.node.get() or {})["status"]["capacity"])
        node = await admin(control_plane, "GET", path)
    assert "wirelet.dev/esp32" not in node["status"]["capacity"]
    assert node["status"]["capacity"]["example.com/fan"] == "3"
    assert "Rack" in {condition["type"] for condition in node["status"]["conditions"]}
    assert node["metadata"]["labels"]["room"] == "b12"


async def test_a_deleted_node_is_made_again_with_a_new_lease(control_plane: ControlPlane) -> None:
    async with kube_gateway(control_plane, "again-a") as gateway:
        before = gateway.node.uid()
        await admin(control_plane, "DELETE", "/api/v1/nodes/again-a")
        uid = await gateway.until(lambda: gateway.node.uid() not in (None, before) and gateway.node.uid())
        await gateway.lease.renew()
        lease = await admin(control_plane, "GET", f"{LEASES}/again-a")
    assert lease["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Node", "name": "again-a", "uid": uid}]
    assert refusals(control_plane, "again-a") == []


async def test_the_lease_says_who_holds_it_and_is_renewed_by_one_patch(control_plane: ControlPlane) -> None:
    async with kube_gateway(control_plane, "lease-a") as gateway:
        with anyio.fail_after(WAIT_S):
            # Its own loop begins, and renews again after 10 s.
            while not _writes(control_plane, "lease-a", "leases"):  # noqa: ASYNC110 - the audit log tells nobody
                await anyio.sleep(0.05)
        await gateway.lease.renew()
        first = await admin(control_plane, "GET", f"{LEASES}/lease-a")
        writes = _writes(control_plane, "lease-a", "leases")
        await gateway.lease.renew()
        second = await admin(control_plane, "GET", f"{LEASES}/lease-a")
    assert first["spec"]["holderIdentity"] == "lease-a"
    assert first["spec"]["leaseDurationSeconds"] == 40
    assert second["spec"]["renewTime"] > first["spec"]["renewTime"]
    assert _writes(control_plane, "lease-a", "leases") - writes == 1


async def test_a_second_machine_with_the_same_name_writes_nothing(control_plane: ControlPlane) -> None:
    async with kube_gateway(control_plane, "raspberrypi") as gateway:
        await gateway.lease.renew()
        other = facts("raspberrypi", host=HostFacts(machine_id="machine-2"))
        with pytest.raises(NodeNameTaken, match=r"another machine \(machine id machine-1\)"):
            await _claim(gateway.api, other)
        node = await admin(control_plane, "GET", "/api/v1/nodes/raspberrypi")
    assert node["status"]["nodeInfo"]["machineID"] == "machine-1"


async def test_a_machine_whose_lease_ran_out_is_replaced(control_plane: ControlPlane) -> None:
    async with kube_gateway(control_plane, "swapped-a") as gateway:
        long_ago = NodeLease(gateway.api, "swapped-a", gateway.node.uid, now=lambda: 1_700_000_000.0)
        await long_ago.renew()
        other = facts("swapped-a", host=HostFacts(machine_id="machine-2"))
        await _claim(gateway.api, other)


async def _claim(api: KubeApi, who: Any) -> None:
    """The start of a controller up to its registration, with the 12 s of observation left out."""
    node = KubeNode(api, who.name)

    async def at_once(_: float) -> None:
        pass

    controller = NodeController(node, lambda: who, sleep=at_once)
    errors: list[NodeNameTaken] = []

    async def run(scope: anyio.CancelScope) -> None:
        try:
            await controller.run()
        except NodeNameTaken as error:
            errors.append(error)
            scope.cancel()

    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node.run)
            tasks.start_soon(run, tasks.cancel_scope)
            await controller.registered()
            tasks.cancel_scope.cancel()
    if errors:
        raise errors[0]


async def _until_allocatable(gateway: Any, count: str) -> None:
    """The store is told of our own writes without a call, so the server's view is asked through it."""
    with anyio.fail_after(WAIT_S):
        while (gateway.node.get() or {})["status"]["allocatable"]["wirelet.dev/esp32"] != count:
            await anyio.lowlevel.checkpoint()


def _writes(control_plane: ControlPlane, node: str, resource: str) -> int:
    events = control_plane.audit_events(f"system:node:{node}")
    return sum(event["verb"] in ("create", "patch", "update") and event["objectRef"]["resource"] == resource for event in events)

"""Events as people read them with kubectl, written by the node itself."""

from __future__ import annotations

from typing import Any

import anyio
from anyio import to_thread
from control_plane import ControlPlane
from kube_gateway import WAIT_S, KubeGateway, admin, kube_gateway, make_pod, refusals


async def written(gateway: KubeGateway, control_plane: ControlPlane, namespace: str, count: int) -> list[Any]:
    """This gateway's events in a namespace by reason, once the writer has sent everything."""
    with anyio.fail_after(WAIT_S):
        while gateway.events.waiting:
            await anyio.lowlevel.checkpoint()
    listing = await admin(control_plane, "GET", f"/api/v1/namespaces/{namespace}/events")
    events = [event for event in listing["items"] if event["source"] == {"component": "wirelet", "host": gateway.name}]
    assert len(events) == count
    return sorted(events, key=lambda event: str(event["reason"]))


async def test_kubectl_describe_shows_what_happened_to_a_container(control_plane: ControlPlane, namespace: str) -> None:
    async with kube_gateway(control_plane, "events-a") as gateway:
        await make_pod(control_plane, namespace, "p", "events-a")
        pod = await gateway.pod("p")
        gateway.sink.event(pod, "Normal", "Pulled", 'Program "hello" is on the device', "main")
        gateway.sink.event(pod, "Normal", "Started", "Container started", "main")
        gateway.sink.event(pod, "Warning", "BackOff", "Back-off \x1b[31mrestarting\x1b[0m\r\nfailed container")
        backoff, pulled, started = await written(gateway, control_plane, namespace, 3)
        described = await to_thread.run_sync(control_plane.kubectl, "-n", namespace, "describe", "pod", "p")
    assert "Back-off [31mrestarting [0m failed container" in described
    assert backoff["message"].isprintable()
    assert pulled["involvedObject"]["fieldPath"] == "spec.containers{main}"
    assert started["reportingComponent"] == "wirelet"
    assert started["reportingInstance"] == started["source"]["host"] == "events-a"
    assert refusals(control_plane, "events-a") == []


async def test_the_same_event_again_is_counted(control_plane: ControlPlane, namespace: str) -> None:
    async with kube_gateway(control_plane, "events-b") as gateway:
        await make_pod(control_plane, namespace, "p", "events-b")
        pod = await gateway.pod("p")
        for _ in range(3):
            gateway.sink.event(pod, "Warning", "BackOff", "Back-off restarting failed container")
        (event,) = await written(gateway, control_plane, namespace, 1)
        assert event["count"] == 3
        # It lives for an hour: one that is gone by now is made again, with its count.
        await admin(control_plane, "DELETE", f"/api/v1/namespaces/{namespace}/events/{event['metadata']['name']}")
        gateway.sink.event(pod, "Warning", "BackOff", "Back-off restarting failed container")
        (again,) = await written(gateway, control_plane, namespace, 1)
    assert again["count"] == 4


async def test_similar_events_become_one(control_plane: ControlPlane, namespace: str) -> None:
    async with kube_gateway(control_plane, "events-c") as gateway:
        await make_pod(control_plane, namespace, "p", "events-c")
        pod = await gateway.pod("p")
        for number in range(15):
            gateway.sink.event(pod, "Warning", "Unhealthy", f"voltage is {number} mV")
        events = await written(gateway, control_plane, namespace, 10)
    assert sum(event["message"].startswith("(combined from similar events): ") for event in events) == 1
    assert sum(event["count"] for event in events) == 15


async def test_the_node_has_events_of_its_own(control_plane: ControlPlane) -> None:
    async with kube_gateway(control_plane, "events-d") as gateway:
        gateway.events.node_event("Normal", "DeviceConnected", "board-a is there")
        await written(gateway, control_plane, "default", 1)
        described = await to_thread.run_sync(control_plane.kubectl, "describe", "node", "events-d")
    assert "board-a is there" in described

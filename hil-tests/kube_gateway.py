"""The Kubernetes side of a gateway for tests: a node with its identity at the real API server, and waiting without sleeping."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
from anyio import to_thread
from control_plane import ControlPlane

from gateway.kube.api import KubeApi
from gateway.kube.events import KubeEvents
from gateway.kube.lease import NodeLease
from gateway.kube.node import KubeNode
from gateway.kube.pods import KubePodSource, KubeStatusSink
from gateway.node.controller import NodeController
from gateway.node.facts import ClassSlots, HostFacts, NodeFacts

WAIT_S = 15.0
LOOK_S = 0.1


def facts(name: str, **changes: Any) -> NodeFacts:
    host = HostFacts("machine-1", "uuid-1", "boot-1", "6.1.0", "Debian 12", "arm64")
    return replace(NodeFacts(name, "127.0.0.1", name, 10250, host, {"esp32": ClassSlots(2, 2)}), **changes)


@dataclass
class KubeGateway:
    """Everything of gateway.kube and gateway.node, put together as the application does it."""

    name: str
    api: KubeApi
    source: KubePodSource
    sink: KubeStatusSink
    events: KubeEvents
    node: KubeNode
    controller: NodeController
    lease: NodeLease
    facts: NodeFacts
    changed: anyio.Event = field(default_factory=anyio.Event)

    def tell(self, _: object = None) -> None:
        self.changed.set()

    async def until(self, condition: Callable[[], Any]) -> Any:
        """The first true value of condition, looked at whenever a pod or the node changed; what the gateway wrote itself nobody is told."""
        with anyio.fail_after(WAIT_S):
            while not (value := condition()):
                with anyio.move_on_after(LOOK_S):
                    await self.changed.wait()
                self.changed = anyio.Event()
        return value

    async def pod(self, name: str) -> dict[str, Any]:
        found = await self.until(lambda: next((pod for pod in self.source.pods() if pod["metadata"]["name"] == name), None))
        assert isinstance(found, dict)
        return found


@contextlib.asynccontextmanager
async def kube_gateway(control_plane: ControlPlane, name: str, **changes: Any) -> AsyncIterator[KubeGateway]:
    """Runs under system:node:<name> until the block ends."""
    async with await KubeApi.connect(str(control_plane.node_identity(name))) as api:
        source, events, node = KubePodSource(api, name), KubeEvents(api, name), KubeNode(api, name)
        made: KubeGateway
        controller = NodeController(node, lambda: made.facts)
        sink, lease = KubeStatusSink(api, source, events), NodeLease(api, name, node.uid)
        made = KubeGateway(name, api, source, sink, events, node, controller, lease, facts(name, **changes))
        source.subscribe(made.tell)
        source.when_synced(made.tell)
        node.subscribe(made.tell)
        async with anyio.create_task_group() as tasks:
            for work in (source.run, events.run, node.run, controller.run, lease.run):
                tasks.start_soon(work)
            with anyio.fail_after(WAIT_S):
                await controller.registered()
            await made.until(lambda: node.get() and source.synced)
            yield made
            tasks.cancel_scope.cancel()


async def admin(control_plane: ControlPlane, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
    """One request as the administrator; fails the test when it is refused."""
    status, answer = await to_thread.run_sync(functools.partial(control_plane.request, method, path, body, content_type))
    assert status < 300, answer
    return answer


async def make_pod(control_plane: ControlPlane, namespace: str, name: str, node: str, **changes: Any) -> Any:
    spec = {
        "nodeName": node,
        "containers": [{"name": "main", "image": "hello"}],
        "tolerations": [{"operator": "Exists"}],
        **changes.pop("spec", {}),
    }
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **changes.pop("metadata", {})}, "spec": spec}
    return await admin(control_plane, "POST", f"/api/v1/namespaces/{namespace}/pods", body)


def refusals(control_plane: ControlPlane, node: str) -> list[Any]:
    """What the node was not allowed to do, by the API server's audit log."""
    events = control_plane.audit_events(f"system:node:{node}")
    return [(event["verb"], event["requestURI"]) for event in events if event["responseStatus"]["code"] == 403]

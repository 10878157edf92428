"""The node controller against a Node that others delete, change and own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest

from gateway.node.controller import NodeController
from gateway.node.facts import ClassSlots, HostFacts, NodeFacts
from gateway.node.seams import NodeNameTaken
from gateway.pods.seams import JsonObject, SourceUnavailable

FACTS = NodeFacts("pi", "192.0.2.7", "pi", 10250, HostFacts(machine_id="machine-1", architecture="arm64"))
NOW = 1_767_225_600.0


@dataclass
class FakeNode:
    """A Node as the API server keeps it: strategic merge as far as this controller uses it."""

    node: JsonObject | None = None
    synced: bool = True
    failures: int = 0
    forbidden: str = ""
    """What the server refuses for ever."""
    leases: list[JsonObject | None] = field(default_factory=lambda: [None])
    writes: list[str] = field(default_factory=list)
    subscribers: list[Callable[[], None]] = field(default_factory=list)
    uids: int = 0

    def get(self) -> JsonObject | None:
        return self.node

    def subscribe(self, changed: Callable[[], None]) -> None:
        self.subscribers.append(changed)

    async def create(self, node: JsonObject) -> None:
        await self._request("create")
        self.uids += 1
        self.node = {**node, "metadata": {**node["metadata"], "uid": f"uid-{self.uids}"}}

    async def patch(self, body: JsonObject, subresource: str) -> None:
        await self._request(f"patch {subresource or 'metadata'}")
        assert self.node is not None
        assert body["metadata"]["uid"] == self.node["metadata"]["uid"]
        self.node["metadata"]["labels"] |= body["metadata"].get("labels", {})
        for name, value in body.get("status", {}).items():
            if isinstance(value, dict):
                value = {**self.node["status"].get(name, {}), **value}
            self.node["status"][name] = [item for item in value if "$patch" not in item] if isinstance(value, list) else value

    async def lease(self) -> JsonObject | None:
        await self._request("lease")
        return self.leases.pop(0) if len(self.leases) > 1 else self.leases[0]

    def delete(self) -> None:
        self.node = None
        self.tell()

    def tell(self) -> None:
        for changed in self.subscribers:
            changed()

    async def _request(self, what: str) -> None:
        await anyio.lowlevel.checkpoint()
        if what == self.forbidden:
            raise SourceUnavailable("a node may not do this")
        if self.failures:
            self.failures -= 1
            raise SourceUnavailable("the API server is away")
        self.writes.append(what)


class Lab:
    """The controller, its surroundings and a clock that moves when somebody sleeps."""

    def __init__(self, node: FakeNode, facts: NodeFacts = FACTS) -> None:
        self.node = node
        self.facts = facts
        self.now = NOW
        self.pods_gone = True
        self.slept: list[float] = []
        self.controller = NodeController(
            node, lambda: self.facts, pods_gone=lambda: self.pods_gone, now=lambda: self.now, sleep=self._sleep
        )

    async def _sleep(self, delay_s: float) -> None:
        self.slept.append(delay_s)
        self.now += delay_s
        await anyio.lowlevel.checkpoint()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.controller.run)
            yield
            tasks.cancel_scope.cancel()

    async def settle(self) -> None:
        """Until the controller has nothing left to do."""
        for _ in range(20):
            await anyio.lowlevel.checkpoint()


def registered(facts: NodeFacts = FACTS) -> FakeNode:
    from gateway.node.status import node_object

    node = node_object(facts, NOW)
    node["metadata"]["uid"] = "uid-0"
    return FakeNode(node)


def lease(renewed: str) -> JsonObject:
    return {"spec": {"renewTime": renewed, "leaseDurationSeconds": 40}}


async def test_a_node_that_is_not_there_is_made_once() -> None:
    lab = Lab(FakeNode())
    async with lab.running():
        await lab.controller.registered()
        lab.controller.changed()
        await lab.settle()
    assert lab.node.writes == ["create"]


async def test_nothing_is_written_before_the_server_was_asked() -> None:
    lab = Lab(FakeNode(synced=False))
    async with lab.running():
        await lab.settle()
        assert lab.node.writes == []
        lab.node.synced = True
        lab.node.tell()
        await lab.controller.registered()
    assert lab.node.writes == ["create"]


async def test_a_node_of_a_former_life_is_patched_where_it_differs() -> None:
    node = registered(replace(FACTS, labels={"room": "b12"}, classes={"esp32": ClassSlots(1, 1)}))
    lab = Lab(node, replace(FACTS, labels={"room": "b13"}, classes={"esp32": ClassSlots(2, 2)}))
    async with lab.running():
        await lab.settle()
    assert node.writes == ["patch status", "patch metadata"]
    assert node.node is not None
    assert node.node["status"]["capacity"]["wirelet.dev/esp32"] == "2"


async def test_a_restart_that_changes_nothing_writes_nothing() -> None:
    lab = Lab(registered())
    async with lab.running():
        await lab.controller.registered()
        await lab.settle()
    assert lab.node.writes == []


async def test_a_cable_that_comes_and_goes_is_one_patch_each() -> None:
    lab = Lab(registered(replace(FACTS, classes={"esp32": ClassSlots(1, 1)})))
    async with lab.running():
        for allocatable in (0, 1):
            lab.facts = replace(FACTS, classes={"esp32": ClassSlots(1, allocatable)})
            lab.controller.changed()
            await lab.settle()
    assert lab.node.writes == ["patch status"] * 2


async def test_a_deleted_node_comes_back_when_its_pods_are_gone(caplog: pytest.LogCaptureFixture) -> None:
    lab = Lab(registered())
    async with lab.running():
        await lab.controller.registered()
        lab.pods_gone = False
        lab.node.delete()
        await lab.settle()
        lab.controller.changed()
        await lab.settle()
        assert lab.node.writes == []
        assert [record.message for record in caplog.records] == ["the node was deleted; it is registered again when its pods have ended"]
        lab.pods_gone = True
        lab.controller.changed()
        await lab.settle()
    assert lab.node.writes == ["create"]


async def test_a_server_that_is_away_is_asked_again_with_growing_delays() -> None:
    lab = Lab(FakeNode(failures=9))
    async with lab.running():
        await lab.controller.registered()
    assert lab.node.writes == ["create"]
    assert lab.slept == sorted(lab.slept)
    assert lab.slept[-1] == 10.0


async def _run(lab: Lab) -> None:
    with anyio.fail_after(5):
        await lab.controller.run()


async def test_a_label_that_a_node_may_not_set_holds_up_no_status(caplog: pytest.LogCaptureFixture) -> None:
    lab = Lab(registered(), replace(FACTS, labels={"node-role.kubernetes.io/edge": ""}, classes={"esp32": ClassSlots(2, 2)}))
    lab.node.forbidden = "patch metadata"
    async with lab.running():
        await lab.settle()
        assert lab.node.node is not None
        assert lab.node.node["status"]["allocatable"]["wirelet.dev/esp32"] == "2"
        lab.facts = replace(lab.facts, classes={"esp32": ClassSlots(2, 1)})
        lab.controller.changed()
        await lab.settle()
        assert lab.node.node["status"]["allocatable"]["wirelet.dev/esp32"] == "1"
    assert [record.getMessage() for record in caplog.records].count("cannot write the node: a node may not do this") == 1


async def test_the_name_of_another_living_machine_is_refused() -> None:
    node = registered(replace(FACTS, host=HostFacts(machine_id="machine-2")))
    node.leases = [lease("2025-12-31T23:59:55.000000Z")]
    with pytest.raises(NodeNameTaken, match=r"node\.name: pi is another machine \(machine id machine-2\)"):
        await _run(Lab(node))
    assert node.writes == ["lease"]


async def test_the_name_of_a_living_machine_with_a_copy_of_the_same_disk_is_refused() -> None:
    node = registered(replace(FACTS, host=HostFacts(machine_id="machine-1", system_uuid="serial-2")))
    node.leases = [lease("2025-12-31T23:59:55.000000Z")]
    with pytest.raises(NodeNameTaken, match=r"a copy of this one's disk \(system uuid serial-2\)"):
        await _run(Lab(node, replace(FACTS, host=HostFacts(machine_id="machine-1", system_uuid="serial-1"))))
    assert node.writes == ["lease"]


@pytest.mark.parametrize(
    ("told", "read"), [("serial-1", "serial-1"), ("machine-1", "serial-1"), ("serial-1", "machine-1"), ("", "serial-1")]
)
async def test_a_machine_that_could_not_read_its_serial_number_is_still_itself(told: str, read: str) -> None:
    node = registered(replace(FACTS, host=HostFacts(machine_id="machine-1", system_uuid=told)))
    lab = Lab(node, replace(FACTS, host=HostFacts(machine_id="machine-1", system_uuid=read)))
    async with lab.running():
        await lab.controller.registered()
    assert "lease" not in node.writes


async def test_a_living_machine_with_a_wrong_clock_is_noticed_by_its_renewals() -> None:
    node = registered(replace(FACTS, host=HostFacts(machine_id="machine-2")))
    node.leases = [lease("1970-01-01T00:10:00.000000Z"), lease("1970-01-01T00:10:10.000000Z")]
    lab = Lab(node)
    with pytest.raises(NodeNameTaken):
        await _run(lab)
    assert lab.slept == [12.0]


@pytest.mark.parametrize("stale", [None, lease("2025-12-31T23:00:00.000000Z"), {"spec": {}}])
async def test_a_machine_that_is_gone_is_replaced(stale: JsonObject | None) -> None:
    node = registered(replace(FACTS, host=HostFacts(machine_id="machine-2")))
    node.leases = [stale]
    lab = Lab(node)
    async with lab.running():
        await lab.controller.registered()
        await lab.settle()
    assert node.node is not None
    assert node.node["status"]["nodeInfo"]["machineID"] == "machine-1"


async def test_a_real_kubelet_on_the_same_machine_keeps_its_node() -> None:
    node = registered()
    assert node.node is not None
    node.node["status"]["nodeInfo"]["containerRuntimeVersion"] = "containerd://2.0.0"
    node.leases = [lease("2026-01-01T00:00:01.000000Z")]
    with pytest.raises(NodeNameTaken, match=r"a kubelet with containerd://2\.0\.0"):
        await _run(Lab(node))


async def test_a_missing_taint_is_said_once_with_the_command_that_adds_it(caplog: pytest.LogCaptureFixture) -> None:
    node: Any = registered()
    node.node["spec"]["taints"] = []
    lab = Lab(node)
    async with lab.running():
        await lab.controller.registered()
        lab.controller.changed()
        await lab.settle()
    (message,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "kubectl taint node pi virtual-kubelet.io/provider=wirelet:NoSchedule" in message

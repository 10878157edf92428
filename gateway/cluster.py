"""The gateway as a node of a cluster: pods from the API server, statuses back to it, a Node with its lease."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import anyio

from gateway.config import Configuration
from gateway.devices.fleet import Fleet
from gateway.devices.ledger import Ledger, LedgerFailed
from gateway.doctor.rounds import Rounds
from gateway.doctor.told import Told
from gateway.kube.api import KubeApi
from gateway.kube.events import KubeEvents
from gateway.kube.lease import NodeLease
from gateway.kube.node import KubeNode
from gateway.kube.pods import KubePodSource, KubeStatusSink
from gateway.kubelet.exposition import Family, Kind, Sample
from gateway.logs.store import LogStore
from gateway.node.controller import NodeController
from gateway.node.facts import ClassSlots, NodeCondition, NodeFacts, Taint
from gateway.node.host import read_host
from gateway.pods.seams import JsonObject, PodSource, StatusSink

MAX_NAMED_PROBLEMS: Final = 10
"""Devices or findings that a condition's message names; describe shows the message on one line."""
LEDGER_LOOK_S: Final = 10.0
"""Between two attempts to write a ledger that could not be written."""
WEBSOCKETS: Final = "ExtendWebSocketsToKubelet"
"""An API server from 1.36 on that reads this hands exec and attach on as they came, instead of as SPDY."""


class Cluster:
    """One API server and this gateway's Node there. run() is its life; connect first."""

    def __init__(self, api: KubeApi, configuration: Configuration, fleet: Fleet, logs: LogStore, ledger: Ledger) -> None:
        name = configuration.node.name
        self.api = api
        self._configuration = configuration
        self._fleet = fleet
        self._logs = logs
        self._ledger = ledger
        self._host = read_host()
        self._node = KubeNode(api, name)
        self._pods = KubePodSource(api, name, configuration.cluster.namespace if configuration.cluster else None)
        self._events = KubeEvents(api, name)
        self.source: PodSource = self._pods
        self.sink: StatusSink = KubeStatusSink(api, self._pods, self._events)
        self._lease = NodeLease(api, name, self._node.uid)
        self._controller = NodeController(self._node, self._facts, pods_gone=lambda: not self._fleet.workloads.known_pods())
        self._rounds = Rounds(configuration, fleet.free_addresses)
        self._looping: set[str] = set()
        self._port = 0
        self._conditions: tuple[NodeCondition, ...] = ()
        self._fleet_moved = anyio.Event()

    async def run(self, port: int, *, is_self_signed: bool) -> None:
        """Until cancelled. port is where the endpoint listens. Raises NodeNameTaken before anything is written."""
        self._port = port
        self._conditions = (_serving_condition(is_self_signed),)
        self._fleet.events.fleet_changed = self._fleet_changed
        self._fleet.events.fault_told = self._tell_fault
        self._logs.shortage_began = self._fleet_changed
        self._ledger.trouble_changed = self._controller.changed
        self._rounds.changed = self._host_changed
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._node.run)
            tasks.start_soon(self._events.run)
            tasks.start_soon(self._controller.run)
            tasks.start_soon(self._watch_grace)
            tasks.start_soon(self._watch_ledger)
            tasks.start_soon(self._rounds.run)
            await self._controller.registered()
            # Only now is it known that the pods of this node are ours to run, and what the Node admits.
            tasks.start_soon(self._pods.run)
            tasks.start_soon(self._lease.run)

    def node_object(self) -> JsonObject | None:
        """The Node as it is now; None until it was read."""
        return self._node.get()

    def events(self) -> list[dict[str, Any]]:
        """Events are kept by the API server; the endpoint's own table is for standalone mode."""
        return []

    def families(self) -> list[Family]:
        """Metrics of the API server's clients."""
        answers = [
            Sample(count, {"method": method, "code": str(code) if code else "none"})
            for (method, code), count in sorted(self.api.answers.items())
        ]
        return [
            Family("wirelet_api_requests_total", Kind.COUNTER, "Requests to the API server; code none: no answer came.", answers),
            Family(
                "wirelet_events_dropped_total", Kind.COUNTER, "Events that never reached the API server.", [Sample(self._events.dropped)]
            ),
        ]

    def _fleet_changed(self) -> None:
        self._controller.changed()
        self._fleet_moved.set()
        self._tell_loops()

    def _tell_loops(self) -> None:
        """Events for `kubectl describe node`: a device's restarts in a loop, and their end."""
        looping = {board.name for board in self._fleet.boards.values() if board.steadiness.is_looping}
        for name in sorted(looping - self._looping):
            self._events.node_event("Warning", "DeviceRestarting", f"Device {name} restarts, or loses its connection, again and again")
        for name in sorted(self._looping - looping):
            self._events.node_event("Normal", "DeviceSteady", f"Device {name} restarts no more")
        self._looping = looping

    def _tell_fault(self, device: str, reason: str, message: str) -> None:
        self._events.node_event("Warning", reason, f"Device {device}: {message}")

    def _host_changed(self, new: Sequence[Told]) -> None:
        self._controller.changed()
        for one in new:
            self._events.node_event("Warning", one.reason, one.text)

    async def _watch_grace(self) -> None:
        """Look at the node again when the grace of a device that is away ends, or a shortage of memory for logs."""
        while True:
            self._fleet_moved = anyio.Event()
            instants = (self._fleet.allocatable_changes_at(), self._logs.shortage_ends_at)
            ends = min((at for at in instants if at is not None), default=None)
            with anyio.move_on_after(None if ends is None else max(0.0, ends - anyio.current_time()) + 0.1):
                await self._fleet_moved.wait()
            self._controller.changed()

    async def _watch_ledger(self) -> None:
        """Try a ledger again that could not be written: nobody else may have anything to write."""
        while True:
            await anyio.sleep(LEDGER_LOOK_S)
            if self._ledger.trouble:
                with suppress(LedgerFailed):
                    await self._ledger.probe()

    def _facts(self) -> NodeFacts:
        node = self._configuration.node
        return NodeFacts(
            name=node.name,
            internal_ip=node.address,
            hostname=node.name,
            port=self._port,
            host=self._host,
            classes={name: ClassSlots(*slots) for name, slots in self._fleet.capacities().items()},
            capacity=node.capacity,
            labels=node.labels,
            taints=() if node.taint is None else (Taint.parse(node.taint),),
            conditions=(
                *self._conditions,
                _device_condition(self._fleet),
                _log_condition(self._logs.shortage),
                _ledger_condition(self._ledger.trouble),
                *_host_conditions(self._rounds.found),
            ),
            declared_features=(WEBSOCKETS,),
            operating_system=node.operating_system,
        )


def _serving_condition(is_self_signed: bool) -> NodeCondition:
    if is_self_signed:
        text = "server.certFile is not set: an API server that checks kubelet certificates will refuse kubectl logs"
        return NodeCondition("ServingCertificateSelfSigned", True, "NoCertificateConfigured", text)
    return NodeCondition("ServingCertificateSelfSigned", False, "CertificateConfigured", "the endpoint serves the configured certificate")


def _device_condition(fleet: Fleet) -> NodeCondition:
    problems = [f"{name}: {why}" for name, why in fleet.problems().items()]
    if not problems:
        return NodeCondition("DeviceProblem", False, "DevicesReady", "every configured device answers")
    return NodeCondition("DeviceProblem", True, "DevicesUnavailable", _named(problems))


def _host_conditions(found: Sequence[Told] | None) -> tuple[NodeCondition, ...]:
    """None before the first look: what the Node says from an earlier run stays until then."""
    if found is None:
        return ()
    if not found:
        return (NodeCondition("HostProblem", False, "HostInOrder", "nothing on this machine is in the way of its devices"),)
    return (NodeCondition("HostProblem", True, found[0].reason, _named([one.text for one in found])),)


def _named(problems: Sequence[str]) -> str:
    more = f"; and {len(problems) - MAX_NAMED_PROBLEMS} more" if len(problems) > MAX_NAMED_PROBLEMS else ""
    return "; ".join(problems[:MAX_NAMED_PROBLEMS]) + more


def _log_condition(shortage: str) -> NodeCondition:
    if shortage:
        return NodeCondition("LogProblem", True, "NoSpace", f"{shortage}; logs drop their oldest lines, and each gap is named")
    return NodeCondition("LogProblem", False, "LogsHaveSpace", "logs can grow to their size")


def _ledger_condition(trouble: str) -> NodeCondition:
    if trouble:
        told = f"{trouble}; until it can be written nothing is started and no end is told"
        return NodeCondition("LedgerProblem", True, "LedgerUnavailable", told)
    return NodeCondition("LedgerProblem", False, "LedgerWritten", "the ledger in the state directory takes what is written")

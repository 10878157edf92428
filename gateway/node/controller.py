"""Keeps the Node object as the facts say: makes it, patches it when something differs, makes it again when somebody deleted it.

Level-triggered: each step compares the newest known Node with the facts, whatever woke it. Refused here: PUT, deleting the Node, changing
taints, and taking a name that another living machine uses.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import anyio

from gateway.node.facts import RUNTIME, NodeFacts
from gateway.node.seams import NodeNameTaken, NodeObjects
from gateway.node.status import heartbeat_due_s, metadata_patch, missing_taints, node_object, status_patch
from gateway.pods.seams import JsonObject, SourceUnavailable

_logger = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 0.2
RETRY_CAP_S: Final = 10.0
RECHECK_S: Final = 1.0
"""How often the pods of a deleted Node are looked at."""
OBSERVE_S: Final = 12.0
"""A living gateway renews its lease every 10 s, whatever its clock says."""


class NodeController:
    """run() works until cancelled; changed() says that the facts may differ. pods_gone() tells when a deleted Node may be made again:
    whoever deleted it wanted its pods to go."""

    def __init__(
        self,
        objects: NodeObjects,
        facts: Callable[[], NodeFacts],
        *,
        pods_gone: Callable[[], bool] = lambda: True,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._objects = objects
        self._facts = facts
        self._pods_gone = pods_gone
        self._now = now
        self._sleep = sleep
        self._woken = anyio.Event()
        self._registered = anyio.Event()
        self._trouble = ""
        self._is_missing = False
        objects.subscribe(self.changed)

    def changed(self) -> None:
        """Devices came or went, a condition changed: compare soon. Cheap; call it as often as you like."""
        self._woken.set()

    async def registered(self) -> None:
        """Returns when the Node has existed once."""
        await self._registered.wait()

    async def run(self) -> None:
        """Raises NodeNameTaken before anything is written."""
        await self._until_synced()
        await self._persistently(self._claim)
        while True:
            self._woken = anyio.Event()
            due_s = await self._persistently(self._step)
            with anyio.move_on_after(due_s):
                await self._woken.wait()

    async def _until_synced(self) -> None:
        while not self._objects.synced:
            await self._woken.wait()
            self._woken = anyio.Event()

    async def _persistently(self, action: Callable[[], Awaitable[float]]) -> float:
        delay_s = FIRST_RETRY_S
        while True:
            try:
                result = await action()
            except SourceUnavailable as error:
                if str(error) != self._trouble:
                    _logger.warning("cannot write the node: %s", error)
                    self._trouble = str(error)
                await self._sleep(delay_s)
                delay_s = min(RETRY_CAP_S, delay_s * 2)
            else:
                self._trouble = ""
                return result

    async def _step(self) -> float:
        """One comparison; the seconds until the next one is due without a reason."""
        node, facts = self._objects.get(), self._facts()
        if node is None:
            return await self._create(facts)
        if not self._registered.is_set():
            self._adopted(node, facts)
        status = status_patch(node, facts, self._now())
        if status is not None:
            await self._objects.patch(status, "status")
        metadata = metadata_patch(node, facts)
        if metadata is not None:  # last: a label that a node may not set is refused for ever
            await self._objects.patch(metadata, "")
        newest = self._objects.get()
        return RECHECK_S if newest is None else max(RECHECK_S, heartbeat_due_s(newest, facts, self._now()))

    async def _create(self, facts: NodeFacts) -> float:
        if self._registered.is_set() and not self._pods_gone():
            if not self._is_missing:
                _logger.warning("the node was deleted; it is registered again when its pods have ended", extra={"node": facts.name})
            self._is_missing = True
            return RECHECK_S
        self._is_missing = False
        await self._objects.create(node_object(facts, self._now()))
        _logger.info("node registered", extra={"node": facts.name})
        self._registered.set()
        return RECHECK_S

    def _adopted(self, node: JsonObject, facts: NodeFacts) -> None:
        self._registered.set()
        missing = missing_taints(node, facts)
        if missing:
            _logger.warning(
                "the node exists without its taint %s, and a node may not add one: kubectl taint node %s %s",
                missing[0],
                facts.name,
                missing[0],
            )

    async def _claim(self) -> float:
        """Two machines with one name would fight for the Node and run the same pods. Raises NodeNameTaken."""
        node, facts = self._objects.get(), self._facts()
        owner = None if node is None else _other_owner(node, facts)
        if owner is None:
            return 0.0
        lease = await self._objects.lease()
        if lease is not None and (_is_live(lease, self._now()) or await self._is_renewed(lease)):
            raise NodeNameTaken(f"node.name: {facts.name} is {owner}, and its lease is being renewed; give this gateway a name of its own")
        _logger.info("taking over a node whose lease ended: it was %s", owner)
        return 0.0

    async def _is_renewed(self, lease: JsonObject) -> bool:
        """Clocks may differ by any amount on machines without a clock chip; a change of the lease is proof."""
        await self._sleep(OBSERVE_S)
        later = await self._objects.lease()
        return later is not None and _renew_time(later) != _renew_time(lease)


def _other_owner(node: JsonObject, facts: NodeFacts) -> str | None:
    """Who else the Node is, in words; None when it is ours or nobody ever was it."""
    info = (node.get("status") or {}).get("nodeInfo") or {}
    machine, runtime = str(info.get("machineID") or ""), str(info.get("containerRuntimeVersion") or "")
    if runtime and not runtime.startswith(RUNTIME):
        return f"a kubelet with {runtime}"
    if machine and machine != facts.host.machine_id:
        return f"another machine (machine id {machine})"
    hardware = str(info.get("systemUUID") or "")
    # Without one of its own, a machine tells its machine id there.
    if len({hardware, machine, facts.host.system_uuid, ""}) == 4:
        return f"another machine with a copy of this one's disk (system uuid {hardware})"
    return None


def _is_live(lease: JsonObject, now: float) -> bool:
    renewed = _renew_time(lease)
    duration_s = (lease.get("spec") or {}).get("leaseDurationSeconds") or 0
    try:
        renewed_s = datetime.fromisoformat(renewed.replace("Z", "+00:00")).timestamp()
    except ValueError:  # never renewed
        return False
    return abs(now - renewed_s) < float(duration_s)


def _renew_time(lease: JsonObject) -> str:
    return str((lease.get("spec") or {}).get("renewTime") or "")

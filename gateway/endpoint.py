"""Fits the devices and the logs to what the kubelet endpoint asks for: rows, logs of attempts, logs of devices. No decisions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import anyio

from gateway.devices import care, unused_ports
from gateway.devices.fleet import Fleet
from gateway.kubelet.seams import CareRefused, DeviceRow, LogsUnavailable, PortRow, PortsUnknown, SideLinkRow
from gateway.logs.clock import Clock
from gateway.logs.reader import LogOptions, read
from gateway.logs.store import AttemptKey, DeviceKey, LogStore
from gateway.pods.seams import PodSource, PodUid
from gateway.pods.view import PodView

ASSIGNED_DEVICE: Final = "wirelet.dev/assigned-device"


class DeviceRows:
    """DeviceTable over the fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def rows(self) -> Sequence[DeviceRow]:
        return [
            DeviceRow(
                name=board.name,
                class_name=board.class_name,
                link=board.link_name,
                state=board.state,
                message=board.problem,
                slots_used=self._fleet.slots_used(board.name),
                slots_total=board.slots,
                boot=f"{board.boot_id:08x}" if board.boot_id else "",
                programs=tuple(program.name for program in board.inventory.programs) if board.inventory is not None else (),
                last_seen_s=board.last_seen_s,
                device_id=known.device_id if (known := self._fleet.known_boards.boards.get(board.name)) is not None else "",
                port=known.port if known is not None else "",
                typists=tuple(board.typists.values()),
                links=tuple(
                    SideLinkRow(role, side.opener.name, side.message)
                    for (name, role), side in self._fleet.side_links.items()
                    if name == board.name
                ),
            )
            for board in self._fleet.boards.values()
        ]

    async def unused_ports(self) -> Sequence[PortRow]:
        try:
            return [PortRow(port.description, port.node, port.match, port.link) for port in await self._fleet.unused_ports.look()]
        except unused_ports.PortsUnknown as unknown:
            raise PortsUnknown(str(unknown)) from unknown


class DeviceDesk:
    """DeviceCare over the fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._care = fleet.care

    async def lend(self, device: str, borrower: str, link: str) -> AsyncIterator[bytes]:
        lent = self._care.lend_side_link(device, link, borrower) if link else self._care.lend(device, borrower)
        try:
            async with lent as address:
                yield json.dumps({"port": address, "fence": str(self._care.fence_of(device, link))}).encode() + b"\n"
                await anyio.sleep_forever()
        except care.CareRefused as refused:
            yield json.dumps({"error": str(refused)}).encode() + b"\n"

    async def do(self, device: str, what: str) -> None:
        try:
            await self._care.do(device, what)
        except care.NoSuchDevice as refused:
            raise CareRefused(404, str(refused)) from refused
        except care.CareRefused as refused:
            raise CareRefused(409, str(refused)) from refused


class SourcePods:
    """PodDirectory over a pod source whose objects carry the newest status. The device is shown before the API server knows it."""

    def __init__(self, source: PodSource, fleet: Fleet) -> None:
        self._source = source
        self._fleet = fleet

    def find(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Of two pods of one name the one that is not being deleted."""
        found = [pod for pod in self.all() if pod["metadata"]["name"] == name and pod["metadata"].get("namespace", "default") == namespace]
        return min(found, key=lambda pod: "deletionTimestamp" in pod["metadata"], default=None)

    def all(self) -> Sequence[dict[str, Any]]:
        return [self._with_device(pod) for pod in self._source.pods()]

    def containers_of(self, uid: PodUid) -> Mapping[str, bool]:
        """name -> is it an init container; {} for a pod that the source does not have."""
        pod = self._source.get(uid)
        return {} if pod is None else {container.name: container.is_init for container in PodView(pod).all_containers}

    def _with_device(self, pod: dict[str, Any]) -> dict[str, Any]:
        device = self._fleet.device_of(pod["metadata"]["uid"])
        if not device:
            return pod
        metadata = pod["metadata"]
        return {**pod, "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), ASSIGNED_DEVICE: device}}}


class AttemptLogs:
    """ContainerLogs over the rings."""

    def __init__(self, store: LogStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def open(self, pod: dict[str, Any], container: str, container_id: str, options: LogOptions) -> AsyncIterator[bytes]:
        gen = container_id.rpartition("-")[2]
        if not gen.isdigit():
            raise LogsUnavailable(400, f'the log of container "{container}" is not on this node')
        key = AttemptKey(pod["metadata"]["uid"], container, int(gen))
        return read(self._store, key, options, clock=self._clock)


class BoardLogs:
    """DeviceLogs over the rings."""

    def __init__(self, store: LogStore, fleet: Fleet, clock: Clock) -> None:
        self._store = store
        self._fleet = fleet
        self._clock = clock

    async def open(self, device: str, options: LogOptions) -> AsyncIterator[bytes]:
        consoles = [f"{name}/{role}" for name, role in self._fleet.side_links if role == "console"]
        if device not in (*self._fleet.boards, *consoles):
            known = ", ".join((*self._fleet.boards, *consoles)) or "none"
            raise LogsUnavailable(404, f'there is no device "{device}"; there are: {known}')
        return read(self._store, DeviceKey(device), options, clock=self._clock)

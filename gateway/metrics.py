"""What the gateway tells monitoring: its own counters, what its pods and node use, and its configuration without secrets. Decides nothing.

Honest about what is not known: a pod has the usage that its device reports, if it has the device for itself; others have start times only.
The node's usage is that of this process, which is all that a node of devices takes of its machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from anyio import get_running_tasks, to_thread

from gateway.config import Configuration, published
from gateway.devices.fleet import Fleet
from gateway.devices.stats import DeviceStats
from gateway.kubelet.exposition import Family, Kind, Sample
from gateway.kubelet.seams import PodDirectory
from gateway.logs.store import LogStore
from gateway.pods.times import format_time
from gateway.usage import Usage, read_usage
from gateway.version import KUBELET_VERSION

_NANO: Final = 1_000_000_000
_LINE_COUNTERS: Final = (
    ("wirelet_frames_received_total", "rx_frames", "Frames from the device that were whole."),
    ("wirelet_frames_bad_total", "rx_bad", "Frames from the device that were damaged, and noise."),
    ("wirelet_frames_sent_total", "tx_frames", "Frames to the device, repeated ones too."),
    ("wirelet_retransmits_total", "retransmits", "Frames that were sent again."),
    ("wirelet_log_rejects_total", "rejects", "Log frames that came out of order and were asked for again."),
    ("wirelet_sessions_total", "sessions", "Sessions with the device."),
)
_STATS: Final = (
    ("wirelet_device_cpu_ratio", "cpu_permille", 1000, "Processor that the device uses, 1 for all of it."),
    ("wirelet_device_heap_used_bytes", "heap_used_bytes", 1, "Memory that the device uses."),
    ("wirelet_device_heap_bytes", "heap_bytes", 1, "Memory that the device has."),
    ("wirelet_device_least_stack_bytes", "least_stack_bytes", 1, "The least stack that was ever free."),
    ("wirelet_device_temperature_celsius", "temperature_mc", 1000, "Temperature of the device."),
)
_STORE_COUNTERS: Final = (
    ("wirelet_log_no_space_total", "no_space", "Times that a log could not grow."),
    ("wirelet_log_evicted_total", "evicted", "Logs of ended containers that were given up for new ones."),
    ("wirelet_log_refused_records_total", "refused_records", "Records that found no log; each is in a named gap."),
    ("wirelet_log_corrupt_total", "corrupt", "Log files that were damaged at the start."),
)


class GatewayVitals:
    """gateway.kubelet.seams.Vitals over fleet, logs and process. others: families of parts that only one mode has."""

    def __init__(
        self,
        configuration: Configuration,
        fleet: Fleet,
        logs: LogStore,
        pods: PodDirectory,
        answers: Mapping[int, int],
        others: Callable[[], Sequence[Family]] = lambda: (),
    ) -> None:
        self._configuration = configuration
        self._fleet = fleet
        self._logs = logs
        self._pods = pods
        self._answers = answers
        self._others = others

    async def metrics(self) -> Sequence[Family]:
        await self._fleet.refresh_stats()
        usage = await to_thread.run_sync(read_usage)
        return [
            gauge("wirelet_build_info", "Always 1; the version is the label.", [Sample(1, {"version": KUBELET_VERSION})]),
            *self._device_families(),
            *self._stats_families(),
            *self._pod_families(),
            *self._log_families(),
            by_label("wirelet_endpoint_answers_total", "Answers of the endpoint by status code.", "code", self._answers),
            *self._others(),
            *_process_families(usage),
        ]

    async def resources(self) -> Sequence[Family]:
        """The names of pkg/kubelet/metrics/collectors/resource_metrics.go."""
        await self._fleet.refresh_stats()
        usage = await to_thread.run_sync(read_usage)
        stamp_ms = round(usage.at_s * 1000)
        cpu, memory = Sample(usage.cpu_s, stamp_ms=stamp_ms), Sample(usage.working_set_bytes, stamp_ms=stamp_ms)
        no_error = [Sample(0)]
        return [
            counter("node_cpu_usage_seconds_total", "Processor time of the gateway.", [cpu]),
            gauge("node_memory_working_set_bytes", "Memory of the gateway that cannot be dropped.", [memory]),
            gauge("container_memory_working_set_bytes", "Memory that the container's device reports.", list(self._container_memory())),
            gauge("container_start_time_seconds", "Start of the container since the Unix epoch.", list(self._container_starts())),
            gauge("resource_scrape_error", "1 if something could not be read.", no_error),
            gauge("scrape_error", "1 if something could not be read; the older name.", no_error),
        ]

    async def summary(self) -> dict[str, Any]:
        """Summary of k8s.io/kubelet/pkg/apis/stats/v1alpha1, with what there is."""
        await self._fleet.refresh_stats()
        usage = await to_thread.run_sync(read_usage)
        told = self._told()
        at = format_time(usage.at_s)
        return {
            "node": {
                "nodeName": self._configuration.node.name,
                "startTime": format_time(usage.started_at_s),
                "cpu": {"time": at, "usageCoreNanoSeconds": round(usage.cpu_s * _NANO)},
                "memory": {"time": at, "workingSetBytes": usage.working_set_bytes, "rssBytes": usage.resident_bytes},
            },
            "pods": [_pod_summary(pod, told, at) for pod in self._pods.all()],
        }

    def configuration(self) -> dict[str, Any]:
        return {"wirelet": published(self._configuration)}

    def _device_families(self) -> Iterable[Family]:
        boards = self._fleet.boards.values()
        up = [Sample(board.is_ready, {"device": board.name, "class": board.class_name}) for board in boards]
        yield gauge("wirelet_device_up", "1 while the device has a session.", up)
        lines = self._fleet.counters()
        for name, attribute, about in _LINE_COUNTERS:
            yield by_label(name, about, "device", {device: getattr(line, attribute) for device, line in lines.items()})
        odd = [Sample(n, {"device": device, "kind": kind}) for device, line in lines.items() for kind, n in sorted(line.extra.items())]
        yield counter("wirelet_protocol_oddities_total", "Messages that were ignored, by kind.", odd)
        broken = [
            Sample(n, {"device": device, "kind": kind})
            for device, errors in self._fleet.line_errors().items()
            for kind, n in errors._asdict().items()
        ]
        yield counter("wirelet_line_errors_total", "What the UART counted: framing, parity, overrun, buffer_overrun, breaks.", broken)
        yield by_label("wirelet_device_boots_total", "Boots of the device that were seen.", "device", {b.name: b.boots for b in boards})
        used = {board.name: self._fleet.slots_used(board.name) for board in boards}
        yield by_label("wirelet_device_slots_used", "Slots with a container.", "device", used, Kind.GAUGE)
        slots = [
            Sample(count, {"class": name, "of": of})
            for name, both in self._fleet.capacities().items()
            for of, count in zip(("capacity", "allocatable"), both, strict=True)
        ]
        yield gauge("wirelet_slots", "Slots of each class, as the Node tells them.", slots)

    def _stats_families(self) -> Iterable[Family]:
        """What devices report, of those that do."""
        told = {board.name: board.stats for board in self._fleet.boards.values() if board.stats is not None}
        for name, attribute, scale, about in _STATS:
            values = {device: getattr(stats, attribute) for device, stats in told.items()}
            yield gauge(name, about, [Sample(value / scale, {"device": device}) for device, value in values.items() if value is not None])
        readings = [Sample(value, {"device": device, "reading": name}) for device, stats in told.items() for name, value in stats.readings]
        yield gauge("wirelet_device_reading", "Numbers that a device reports under names of its own.", readings)

    def _told(self) -> dict[tuple[str, str], DeviceStats]:
        """(pod uid, container) -> what its device reports, where it has the device for itself."""
        alone = {board.name: self._fleet.alone_on(board.name) for board in self._fleet.boards.values() if board.stats is not None}
        boards = self._fleet.boards
        return {run: stats for name, run in alone.items() if run is not None and (stats := boards[name].stats) is not None}

    def _container_memory(self) -> Iterable[Sample]:
        told = self._told()
        for pod in self._pods.all():
            metadata = pod["metadata"]
            where = {"namespace": metadata.get("namespace", "default"), "pod": metadata["name"]}
            for name in _running(pod):
                stats = told.get((str(metadata.get("uid")), name))
                if stats is not None and stats.heap_used_bytes is not None:
                    yield Sample(stats.heap_used_bytes, {**where, "container": name})

    def _pod_families(self) -> Iterable[Family]:
        phases = Counter(str((pod.get("status") or {}).get("phase") or "Pending") for pod in self._pods.all())
        yield by_label("wirelet_pods", "Pods of this node by phase.", "phase", phases, Kind.GAUGE)
        starts = {name: self._fleet.workloads.starts[name] for name in self._fleet.boards}
        yield by_label("wirelet_pod_starts_total", "Containers that a device was told to start and did.", "device", starts)

    def _log_families(self) -> Iterable[Family]:
        gaps = [
            Sample(count, {"device": board.name, "cause": cause.words})
            for board in self._fleet.boards.values()
            for cause, count in sorted(board.output.gaps.items())
        ]
        yield counter("wirelet_gaps_total", "Gaps that were named in a log.", gaps)
        yield gauge("wirelet_log_bytes", "Memory that the logs take.", [Sample(self._logs.allocated_bytes)])
        yield gauge("wirelet_log_budget_bytes", "Memory that all logs may take.", [Sample(self._configuration.logs.budget)])
        yield gauge("wirelet_log_rings", "Logs that hold memory.", [Sample(len(self._logs.rings()))])
        for name, attribute, about in _STORE_COUNTERS:
            yield counter(name, about, [Sample(getattr(self._logs.counters, attribute))])

    def _container_starts(self) -> Iterable[Sample]:
        for pod in self._pods.all():
            metadata = pod["metadata"]
            where = {"namespace": metadata.get("namespace", "default"), "pod": metadata["name"]}
            for name, started in _running(pod).items():
                yield Sample(datetime.fromisoformat(started).timestamp(), {**where, "container": name})


def counter(name: str, about: str, samples: Sequence[Sample]) -> Family:
    return Family(name, Kind.COUNTER, about, samples)


def gauge(name: str, about: str, samples: Sequence[Sample]) -> Family:
    return Family(name, Kind.GAUGE, about, samples)


def by_label(name: str, about: str, label: str, values: Mapping[Any, int], kind: Kind = Kind.COUNTER) -> Family:
    """One sample for each key."""
    return Family(name, kind, about, [Sample(value, {label: str(key)}) for key, value in values.items()])


def _process_families(usage: Usage) -> Iterable[Family]:
    """The names that every exporter of Prometheus has."""
    yield counter("process_cpu_seconds_total", "Processor time.", [Sample(usage.cpu_s)])
    yield gauge("process_resident_memory_bytes", "Resident memory.", [Sample(usage.resident_bytes)])
    yield gauge("process_start_time_seconds", "Start since the Unix epoch.", [Sample(usage.started_at_s)])
    yield gauge("process_open_fds", "Open file descriptors.", [Sample(usage.open_files)])
    yield gauge("wirelet_threads", "Threads.", [Sample(usage.threads)])
    yield gauge("wirelet_tasks", "Tasks of the event loop.", [Sample(len(get_running_tasks()))])


def _pod_summary(pod: Mapping[str, Any], told: Mapping[tuple[str, str], DeviceStats], at: str) -> dict[str, Any]:
    metadata = pod["metadata"]
    uid = str(metadata.get("uid", ""))
    summary: dict[str, Any] = {
        "podRef": {"name": metadata["name"], "namespace": metadata.get("namespace", "default"), "uid": uid},
        "containers": [
            {"name": name, "startTime": started, **_container_usage(told.get((uid, name)), at)} for name, started in _running(pod).items()
        ],
    }
    started = (pod.get("status") or {}).get("startTime")
    return summary | ({"startTime": started} if started else {})


def _container_usage(stats: DeviceStats | None, at: str) -> dict[str, Any]:
    usage: dict[str, Any] = {}
    if stats is not None and stats.cpu_permille is not None:
        usage["cpu"] = {"time": at, "usageNanoCores": stats.cpu_permille * _NANO // 1000}
    if stats is not None and stats.heap_used_bytes is not None:
        usage["memory"] = {"time": at, "workingSetBytes": stats.heap_used_bytes}
        if stats.heap_bytes is not None:
            usage["memory"]["availableBytes"] = max(0, stats.heap_bytes - stats.heap_used_bytes)
    return usage


def _running(pod: Mapping[str, Any]) -> dict[str, str]:
    """container -> when its running attempt started."""
    status = pod.get("status") or {}
    return {
        entry["name"]: running["startedAt"]
        for kind in ("initContainerStatuses", "containerStatuses")
        for entry in status.get(kind) or ()
        if (running := (entry.get("state") or {}).get("running")) and running.get("startedAt")
    }

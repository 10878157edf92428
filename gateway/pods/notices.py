"""What people are told about a pod by events, in the kubelet's words where it has some. It decides nothing and never waits.

`Scheduled` is the scheduler's; how often the same thing may be said is the sink's.
"""

from __future__ import annotations

from typing import Final

from gateway.pods.conditions import DISCONNECTED, LENT, OFF
from gateway.pods.containers import CRASH_LOOP
from gateway.pods.fields import unknown_fields
from gateway.pods.memory import PodMemory
from gateway.pods.refusal import CONFIG_ERROR
from gateway.pods.seams import AdmissionRejected, JsonObject, PodObservation, StartRefused, StatusSink
from gateway.pods.view import ContainerView, PodView

MAX_UNKNOWN_FIELDS: Final = 10
"""Named in one event; a hostile object may have thousands."""
NORMAL: Final = "Normal"
WARNING: Final = "Warning"


class Notices:
    """Events about pods."""

    def __init__(self, sink: StatusSink) -> None:
        self._sink = sink

    def unknown_fields(self, pod: PodView) -> None:
        paths = list(unknown_fields(pod))
        if paths:
            shown = ", ".join(paths[:MAX_UNKNOWN_FIELDS]) + (" ..." if len(paths) > MAX_UNKNOWN_FIELDS else "")
            self._sink.event(pod.object, WARNING, "UnknownFields", f"Ignored, not known to this gateway: {shown}")

    def started(self, pod: PodView, container: ContainerView, device: str) -> None:
        pulled = f'Container image "{container.image}" already present on device {device}'
        self._sink.event(pod.object, NORMAL, "Pulled", pulled, container.name)
        self._sink.event(pod.object, NORMAL, "Created", "Container created", container.name)
        self._sink.event(pod.object, NORMAL, "Started", "Container started", container.name)

    def killing(self, pod: PodView, container: str, *, is_replaced: bool) -> None:
        why = f"Container {container} definition changed, will be restarted" if is_replaced else f"Stopping container {container}"
        self._sink.event(pod.object, NORMAL, "Killing", why, container)

    def refused(self, pod: PodView, container: ContainerView, refused: StartRefused) -> None:
        if refused.reason == CONFIG_ERROR:
            self._sink.event(pod.object, WARNING, "Failed", f"Error: {refused.message}", container.name)
        else:
            self._sink.event(pod.object, WARNING, refused.reason, refused.message, container.name)

    def rejected(self, pod: PodView, rejected: AdmissionRejected) -> None:
        self._sink.event(pod.object, WARNING, rejected.reason, rejected.message)

    def back_offs(self, pod: PodView, memory: PodMemory, status: JsonObject) -> None:
        """One for each restart that waits."""
        for container in (*status.get("initContainerStatuses", ()), *status["containerStatuses"]):
            name, restarts = container["name"], container["restartCount"]
            if container["state"].get("waiting", {}).get("reason") != CRASH_LOOP or memory.backoff_told.get(name) == restarts:
                continue
            memory.backoff_told[name] = restarts
            message = f"Back-off restarting failed container {name} in pod {pod.name}_{pod.namespace}({pod.uid})"
            self._sink.event(pod.object, WARNING, "BackOff", message, name)

    def link(self, pod: PodView, observed: PodObservation, *, is_connected: bool) -> None:
        devices = ", ".join(sorted(set(observed.devices.values()))) or "unknown"
        if is_connected:
            self._sink.event(pod.object, NORMAL, "DeviceConnected", f"Device {devices} is connected again")
        elif observed.lent:
            self._sink.event(pod.object, NORMAL, LENT, f"Device {devices} is lent to another program; what runs there goes on")
        elif observed.off:
            self._sink.event(pod.object, NORMAL, OFF, f"Device {devices} is switched off")
        else:
            self._sink.event(pod.object, WARNING, DISCONNECTED, f"No connection to device {devices}; what runs there goes on")

"""The pod conditions that a kubelet owns, in its words (pkg/kubelet/status/generate.go). Pure.

Ours are PodReadyToStartContainers, Initialized, ContainersReady and Ready. PodScheduled is the scheduler's, and a readiness gate belongs to
whoever sets it: read, never written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from gateway.pods.seams import JsonObject
from gateway.pods.times import format_time
from gateway.pods.view import PodView

DISCONNECTED: Final = "DeviceDisconnected"
RESTARTING: Final = "DeviceRestarting"
LENT: Final = "DeviceLent"
OFF: Final = "DeviceOff"
_UNCONNECTED: Final = {
    DISCONNECTED: "no connection to device {}; what runs there goes on",
    RESTARTING: "device {} left the USB bus, as it does when it restarts",
    LENT: "device {} is lent to another program; what runs there goes on",
    OFF: "device {} is switched off",
}


def conditions_of(
    pod: PodView, status: JsonObject, *, has_sandbox: bool, has_initialized: bool, disconnected: Sequence[str], why_disconnected: str
) -> list[JsonObject]:
    """status holds everything but the conditions already; disconnected names the devices without a session, and why_disconnected
    is DISCONNECTED, RESTARTING, LENT or OFF."""
    ready_to_start = _condition("PodReadyToStartContainers", is_true=has_sandbox)
    initialized = _initialized(status, has_initialized)
    containers_ready = _containers_ready(status, disconnected, why_disconnected)
    ready = {**containers_ready, "type": "Ready"}
    if ready["status"] == "True" and (gates := _closed_gates(pod)):
        ready = _condition("Ready", is_true=False, reason="ReadinessGatesNotReady", message=", ".join(gates))
    conditions = [ready_to_start, initialized, containers_ready, ready]
    for condition in conditions:
        if "observedGeneration" in status:
            condition["observedGeneration"] = status["observedGeneration"]
    return conditions


def keep_transition_times(conditions: Iterable[JsonObject], before: JsonObject, now_wall: float) -> None:
    """Fill lastTransitionTime in: of the same condition in the status before while its status is unchanged, else now."""
    earlier = {condition.get("type"): condition for condition in before.get("conditions") or ()}
    for condition in conditions:
        known = earlier.get(condition["type"])
        same = known is not None and known.get("status") == condition["status"] and known.get("lastTransitionTime")
        condition["lastTransitionTime"] = same or format_time(now_wall)


def _initialized(status: JsonObject, has_initialized: bool) -> JsonObject:
    incomplete = [container["name"] for container in status.get("initContainerStatuses") or () if not container["ready"]]
    if status["phase"] == "Succeeded":
        return _condition("Initialized", is_true=True, reason="PodCompleted")
    if has_initialized or not incomplete:
        return _condition("Initialized", is_true=True)
    message = f"containers with incomplete status: [{' '.join(incomplete)}]"
    return _condition("Initialized", is_true=False, reason="ContainersNotInitialized", message=message)


def _containers_ready(status: JsonObject, disconnected: Sequence[str], why: str) -> JsonObject:
    kind = "ContainersReady"
    if status["phase"] == "Succeeded":
        return _condition(kind, is_true=False, reason="PodCompleted")
    if status["phase"] == "Failed":
        return _condition(kind, is_true=False, reason="PodFailed")
    if disconnected:
        names = ", ".join(disconnected)
        return _condition(kind, is_true=False, reason=why, message=_UNCONNECTED[why].format(names))
    unready = [container["name"] for container in status["containerStatuses"] if not container["ready"]]
    if unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        return _condition(kind, is_true=False, reason="ContainersNotReady", message=message)
    return _condition(kind, is_true=True)


def _closed_gates(pod: PodView) -> list[str]:
    seen = {condition.get("type"): condition.get("status") for condition in pod.status.get("conditions") or ()}
    messages = []
    for gate in pod.spec.get("readinessGates") or ():
        kind = gate.get("conditionType")
        if kind not in seen:
            messages.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif seen[kind] != "True":
            messages.append(f'the status of pod readiness gate "{kind}" is not "True", but {seen[kind]}')
    return messages


def _condition(kind: str, *, is_true: bool, reason: str = "", message: str = "") -> JsonObject:
    condition: JsonObject = {"type": kind, "status": "True" if is_true else "False"}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition

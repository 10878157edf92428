"""build_status: the pod status that a kubelet would report, from what is seen. Pure.

Only fields that the node owns are in it; conditions of others are not. Built anew at every look and compared by the sink, so a status
that somebody else overwrote comes back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.pods.conditions import DISCONNECTED, LENT, OFF, RESTARTING, conditions_of, keep_transition_times
from gateway.pods.containers import ContainerStatuses
from gateway.pods.memory import PodMemory
from gateway.pods.node import NodeAddresses
from gateway.pods.phase import phase_of
from gateway.pods.quantity import parse_quantity
from gateway.pods.restart import is_finished
from gateway.pods.seams import Attempt, AttemptState, JsonObject, PodObservation
from gateway.pods.times import format_time
from gateway.pods.view import ContainerView, PodView
from gateway.pods.witness import witnessed

_QOS_RESOURCES: Final = ("cpu", "memory")


def build_status(
    desired: PodView, observed: PodObservation, memory: PodMemory, now: float, now_wall: float, node: NodeAddresses
) -> JsonObject:
    """memory must have looked at the same desired and observed. now is loop time; now_wall, in Unix seconds, is what people read."""
    attempts = witnessed(desired, observed)
    before = memory.status if memory.status is not None else desired.status
    is_alive = any(history[-1].state is not AttemptState.EXITED for history in attempts.values())
    has_ended = not is_alive and (desired.is_deleting or memory.failure is not None)
    has_initialized = any(container.name in attempts for container in desired.containers)
    will_run = not (desired.is_deleting or desired.is_terminal or memory.failure)
    builder = ContainerStatuses(desired, observed, memory, now, will_run)
    init_statuses = [builder.status(container, attempts.get(container.name, ())) for container in desired.init_containers]
    statuses = [builder.status(container, attempts.get(container.name, ())) for container in desired.containers]
    status: JsonObject = {
        "phase": _phase(desired, memory, init_statuses, statuses, has_initialized=has_initialized, has_ended=has_ended),
        "startTime": before.get("startTime") or format_time(memory.first_seen_wall),
        "hostIP": node.host_ip,
        "hostIPs": [{"ip": node.host_ip}],
        "podIP": node.pod_address,
        "podIPs": [{"ip": node.pod_address}],
        "qosClass": before.get("qosClass") or desired.status.get("qosClass") or qos_class(desired.all_containers),
        "containerStatuses": statuses,
    }
    if init_statuses:
        status["initContainerStatuses"] = init_statuses
    generation = desired.generation
    if desired.is_deleting and is_alive and "observedGeneration" in before:
        # A deletion raises it and changes nothing else until the containers have ended: told with the last status, it costs no write.
        generation = before["observedGeneration"]
    if generation is not None:
        status["observedGeneration"] = generation
    if memory.failure is not None:
        status["reason"], status["message"] = memory.failure.reason, memory.failure.message
    status["conditions"] = conditions_of(
        desired,
        status,
        has_sandbox=is_alive or (bool(attempts) and not has_ended and not is_finished(desired, attempts, memory.replaced)),
        has_initialized=has_initialized,
        disconnected=_disconnected(observed, attempts, memory) if is_alive else (),
        why_disconnected=LENT if observed.lent else OFF if observed.off else DISCONNECTED if memory.is_lost else RESTARTING,
    )
    keep_transition_times(status["conditions"], before, now_wall)
    return status


def _phase(
    desired: PodView,
    memory: PodMemory,
    init_statuses: Sequence[JsonObject],
    statuses: Sequence[JsonObject],
    *,
    has_initialized: bool,
    has_ended: bool,
) -> str:
    if desired.is_terminal:
        return desired.phase
    if memory.failure is not None:
        return "Failed"
    return phase_of(desired.restart_policy, init_statuses, statuses, has_initialized=has_initialized, has_ended=has_ended)


def _disconnected(observed: PodObservation, attempts: Mapping[str, Sequence[Attempt]], memory: PodMemory) -> Sequence[str]:
    if memory.link_shown:
        return ()
    devices = sorted({device for container, device in observed.devices.items() if container in attempts})
    return devices or ("unknown",)


def qos_class(containers: Sequence[ContainerView]) -> str:
    """As the API server computes it (pkg/apis/core/v1/helper/qos), for pods that never met one."""
    is_guaranteed, has_any = bool(containers), False
    for container in containers:
        requests, limits = container.resources("requests"), container.resources("limits")
        for resource in _QOS_RESOURCES:
            limit = _amount(limits.get(resource))
            request = _amount(requests.get(resource, limits.get(resource)))
            has_any = has_any or bool(limit or request)
            is_guaranteed = is_guaranteed and bool(limit) and request == limit
    if not has_any:
        return "BestEffort"
    return "Guaranteed" if is_guaranteed else "Burstable"


def _amount(written: object) -> object:
    """0 for what is absent or no quantity: a broken one is the API server's to refuse."""
    try:
        return parse_quantity(written) if written is not None else 0
    except ValueError:
        return 0

"""From what the gateway knows to the Node object, and from a Node as it is to the PATCH that makes it so. Pure: `now` is Unix time.

Labels, taints and capacity are the contract with the scheduler; conditions tell people and the node lifecycle controller. What others put
on the Node (their labels, conditions and extended resources) is left alone. The patch kind of each field is a table, because strategic
merge would keep an old address beside the new one.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any, Final, assert_never

from gateway.node.facts import RUNTIME_VERSION, NodeCondition, NodeFacts
from gateway.pods.quantity import parse_quantity
from gateway.pods.seams import JsonObject
from gateway.pods.times import format_time

RESOURCE_PREFIX: Final = "wirelet.dev/"
HEARTBEAT_S: Final = 300.0
"""The kubelet's nodeStatusReportFrequency: conditions are written this often when nothing changes; the lease is the fast heartbeat."""
STANDARD_CONDITIONS: Final = (
    NodeCondition("MemoryPressure", False, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    NodeCondition("DiskPressure", False, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    NodeCondition("PIDPressure", False, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    NodeCondition("Ready", True, "KubeletReady", "wirelet is posting ready status"),
)
"""All four from the start: one that is missing becomes Unknown for ever after the first outage."""


class FieldPatch(enum.Enum):
    """How one field of a Node's status is written by a strategic merge PATCH."""

    MERGED = "merged"
    """An object whose fields are all ours."""
    RESOURCES = "resources"
    """Merged by name; those of our prefix that are no longer there are removed by null. Compared as quantities."""
    WHOLE_LIST = "whole list"
    """The server replaces the list."""
    REPLACED_LIST = "replaced list"
    """The server would merge by type and lose the second InternalIP; `$patch: replace` makes it replace the list."""
    CONDITIONS = "conditions"
    """Merged by type: only ours are sent."""


FIELDS: Final[dict[str, FieldPatch]] = {
    "capacity": FieldPatch.RESOURCES,
    "allocatable": FieldPatch.RESOURCES,
    "conditions": FieldPatch.CONDITIONS,
    "addresses": FieldPatch.REPLACED_LIST,
    "daemonEndpoints": FieldPatch.MERGED,
    "nodeInfo": FieldPatch.MERGED,
    "declaredFeatures": FieldPatch.WHOLE_LIST,
}


def node_object(facts: NodeFacts, now: float) -> JsonObject:
    """The Node to create. Taints can be set only here under a node identity."""
    taints = [{"key": taint.key, "value": taint.value, "effect": taint.effect} for taint in facts.taints]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": facts.name, "labels": labels(facts)},
        # A provider of its own: a cloud's controller must not take the node for one of its machines and delete it.
        "spec": {"providerID": f"wirelet://{facts.name}", **({"taints": taints} if taints else {})},
        "status": {**_static_status(facts), "conditions": _conditions([], facts, now)},
    }


def labels(facts: NodeFacts) -> dict[str, str]:
    return {
        "type": "virtual-kubelet",
        "kubernetes.io/os": facts.operating_system,
        "kubernetes.io/arch": facts.host.architecture,
        "kubernetes.io/hostname": facts.hostname,
        "node.kubernetes.io/instance-type": "wirelet",
        **facts.labels,
    }


def metadata_patch(node: JsonObject, facts: NodeFacts) -> JsonObject | None:
    """Our labels, where they differ. A label that is configured no longer stays: nobody could say whose it is."""
    known = node["metadata"].get("labels") or {}
    changed = {key: value for key, value in labels(facts).items() if known.get(key) != value}
    return {"metadata": {"uid": node["metadata"]["uid"], "labels": changed}} if changed else None


def status_patch(node: JsonObject, facts: NodeFacts, now: float) -> JsonObject | None:
    """None while nothing differs and no heartbeat is due. The uid makes the server refuse when the Node was made again meanwhile."""
    known: JsonObject = node.get("status") or {}
    changes: JsonObject = {}
    for name, wanted in _static_status(facts).items():
        change = _field_change(FIELDS[name], known.get(name), wanted)
        if change is not None:
            changes[name] = change
    conditions = _conditions(known.get("conditions") or [], facts, now)
    if not changes and not _conditions_differ(known.get("conditions") or [], conditions) and heartbeat_due_s(node, facts, now) > 0:
        return None
    return {"metadata": {"uid": node["metadata"]["uid"]}, "status": {**changes, "conditions": conditions}}


def heartbeat_due_s(node: JsonObject, facts: NodeFacts, now: float) -> float:
    """Seconds until our conditions have to be written again; 0 when they are due."""
    known = _by_type((node.get("status") or {}).get("conditions") or [])
    times = [_unix((known.get(condition.type) or {}).get("lastHeartbeatTime")) for condition in conditions_of(facts)]
    oldest = min(times)
    # A heartbeat from the future is from before the clock was set: it would be due for ever or never.
    return max(0.0, oldest + HEARTBEAT_S - now) if oldest <= now + HEARTBEAT_S else 0.0


def conditions_of(facts: NodeFacts) -> list[NodeCondition]:
    """The standard ones, each unless the facts have their own of that type, then the others."""
    ours = {condition.type: condition for condition in facts.conditions}
    standard = [ours.pop(condition.type, condition) for condition in STANDARD_CONDITIONS]
    return [*ours.values(), *standard]


def missing_taints(node: JsonObject, facts: NodeFacts) -> list[str]:
    """Taints that an existing Node does not have, as text for a message: we may not add them."""
    known = {(taint.get("key"), taint.get("value") or "", taint.get("effect")) for taint in (node.get("spec") or {}).get("taints") or ()}
    missing = [taint for taint in facts.taints if (taint.key, taint.value, taint.effect) not in known]
    return [f"{taint.key}={taint.value}:{taint.effect}" for taint in missing]


def _static_status(facts: NodeFacts) -> JsonObject:
    """Everything but the conditions."""
    return {
        "capacity": dict(facts.capacity) | {RESOURCE_PREFIX + name: str(slots.capacity) for name, slots in facts.classes.items()},
        "allocatable": dict(facts.capacity) | {RESOURCE_PREFIX + name: str(slots.allocatable) for name, slots in facts.classes.items()},
        "addresses": [{"type": "InternalIP", "address": facts.internal_ip}, {"type": "Hostname", "address": facts.hostname}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": facts.port}},
        "nodeInfo": {
            "machineID": facts.host.machine_id,
            "systemUUID": facts.host.system_uuid,
            "bootID": facts.host.boot_id,
            "kernelVersion": facts.host.kernel_version,
            "osImage": facts.host.os_image,
            "containerRuntimeVersion": RUNTIME_VERSION,
            "kubeletVersion": facts.kubelet_version,
            "kubeProxyVersion": "",
            "operatingSystem": facts.operating_system,
            "architecture": facts.host.architecture,
        },
        # Anything but sorted and unique is refused with 422.
        "declaredFeatures": sorted(set(facts.declared_features)),
    }


def _field_change(kind: FieldPatch, known: Any, wanted: Any) -> Any:
    """What to send, or None."""
    match kind:
        case FieldPatch.MERGED:
            return None if _contains(known or {}, wanted) else wanted
        case FieldPatch.RESOURCES:
            return _resources(known or {}, wanted) or None
        case FieldPatch.WHOLE_LIST:
            return None if (known or []) == wanted else wanted
        case FieldPatch.REPLACED_LIST:
            return None if known == wanted else [{"$patch": "replace"}, *wanted]
        case FieldPatch.CONDITIONS:
            raise ValueError("conditions depend on the time; _conditions() makes them")
        case _:
            assert_never(kind)


def _contains(known: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(
        _contains(known.get(key) or {}, value) if isinstance(value, Mapping) else (known.get(key) or "") == (value or "")
        for key, value in wanted.items()
    )


def _resources(known: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str | None]:
    changed: dict[str, str | None] = {name: value for name, value in wanted.items() if _quantity(known.get(name)) != _quantity(value)}
    gone = [name for name in known if name.startswith(RESOURCE_PREFIX) and name not in wanted]
    return changed | dict.fromkeys(gone)


def _quantity(value: Any) -> Fraction | None:
    """The server writes 1024Mi as 1Gi."""
    return None if value is None else parse_quantity(value)


def _conditions(known: Sequence[JsonObject], facts: NodeFacts, now: float) -> list[JsonObject]:
    before = _by_type(known)
    stamp = format_time(now)
    conditions = []
    for condition in conditions_of(facts):
        status = "True" if condition.status else "False"
        previous = before.get(condition.type) or {}
        since = previous.get("lastTransitionTime") if previous.get("status") == status else None
        conditions.append(
            {
                "type": condition.type,
                "status": status,
                "reason": condition.reason,
                "message": condition.message,
                "lastHeartbeatTime": stamp,
                "lastTransitionTime": since or stamp,
            }
        )
    return conditions


def _conditions_differ(known: Sequence[JsonObject], wanted: Sequence[JsonObject]) -> bool:
    before = _by_type(known)
    told = ("status", "reason", "message")
    return any((before.get(condition["type"]) or {}).get(key) != condition[key] for condition in wanted for key in told)


def _by_type(conditions: Sequence[JsonObject]) -> dict[str, JsonObject]:
    return {str(condition.get("type")): condition for condition in conditions}


def _unix(stamp: Any) -> float:
    """0 for what is absent or no time: then the heartbeat is due."""
    try:
        return datetime.fromisoformat(str(stamp).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0

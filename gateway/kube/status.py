"""From the status a pod should have to the PATCH that makes it so. Pure.

The patch kind of each field is a table, because the server merges each in its own way: `types.go` gives conditions the merge key type and
the address lists the merge key ip (where a changed address would be added beside the old one), and replaces lists of container statuses.
Fields and conditions that are not named in the wanted status belong to others and are left alone.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, Final, assert_never

from gateway.pods.seams import JsonObject

ASSIGNED_DEVICE: Final = "wirelet.dev/assigned-device"
"""The annotation that says which devices the pod runs on; it also helps to rebuild a lost ledger."""
RESOURCE_PREFIX: Final = "wirelet.dev/"


class FieldPatch(enum.Enum):
    """How one field of a pod's status is written by a strategic merge PATCH."""

    VALUE = "value"
    """Sent as it is when it differs; left alone when the wanted status does not name it."""
    CLEARED = "cleared"
    """As VALUE, and removed by null when the wanted status does not name it."""
    WHOLE_LIST = "whole list"
    """The server replaces the list."""
    REPLACED_LIST = "replaced list"
    """The server would merge by key; `$patch: replace` makes it replace the list."""
    CONDITIONS = "conditions"
    """Merged by type: only ours are sent."""


FIELDS: Final[dict[str, FieldPatch]] = {
    "observedGeneration": FieldPatch.VALUE,
    "phase": FieldPatch.VALUE,
    "hostIP": FieldPatch.VALUE,
    "podIP": FieldPatch.VALUE,
    "startTime": FieldPatch.VALUE,
    "qosClass": FieldPatch.VALUE,
    "reason": FieldPatch.CLEARED,
    "message": FieldPatch.CLEARED,
    "containerStatuses": FieldPatch.WHOLE_LIST,
    "initContainerStatuses": FieldPatch.WHOLE_LIST,
    "ephemeralContainerStatuses": FieldPatch.WHOLE_LIST,
    "hostIPs": FieldPatch.REPLACED_LIST,
    "podIPs": FieldPatch.REPLACED_LIST,
    "conditions": FieldPatch.CONDITIONS,
}


def status_patch(pod: JsonObject, wanted: JsonObject) -> JsonObject | None:
    """The body of a strategic merge PATCH to the pod's status, or None when nothing would change. pod is the newest that is known.

    Raises KeyError for a field that the table does not know: sending it would be a guess.
    """
    known: JsonObject = pod.get("status") or {}
    accepted = {**wanted, **_requested_only(pod, wanted)}
    changes: JsonObject = {}
    for name in FIELDS.keys() | wanted.keys():
        change = _field_change(FIELDS[name], known.get(name), accepted.get(name))
        if change is not _SAME:
            changes[name] = change
    metadata = _metadata(pod, wanted)
    if not changes and "annotations" not in metadata:
        return None
    return {"metadata": metadata, "status": changes}


_OF_OTHERS: Final = ("deletionTimestamp", "deletionGracePeriodSeconds", "generation")
"""Of the metadata: a delete, a shorter grace, another image."""


def is_overtaken(known: JsonObject, answer: JsonObject, wanted: JsonObject) -> bool:
    """The answer to a PATCH shows more than that PATCH: somebody wrote between the version that was known and this one (a delete, the node
    lifecycle controller, the pod garbage collector), and the watch will tell nothing newer than the answer."""
    if any(known["metadata"].get(name) != answer["metadata"].get(name) for name in _OF_OTHERS):
        return True
    told = answer.get("status") or {}
    if told.get("phase") != wanted.get("phase"):
        return True
    statuses = {condition.get("type"): condition.get("status") for condition in told.get("conditions") or ()}
    return any(statuses.get(condition["type"]) != condition.get("status") for condition in wanted.get("conditions") or ())


class _Same:
    pass


_SAME: Final = _Same()
"""null is a change, so it cannot mean that there is none."""


def _field_change(kind: FieldPatch, known: Any, wanted: Any) -> Any:
    match kind:
        case FieldPatch.CONDITIONS:
            return _conditions(known or (), wanted or ()) or _SAME
        case FieldPatch.CLEARED if wanted is None:
            return _SAME if known is None else None
        case FieldPatch.VALUE | FieldPatch.CLEARED | FieldPatch.WHOLE_LIST:
            return _SAME if wanted is None or same(known, wanted) else wanted
        case FieldPatch.REPLACED_LIST:
            return _SAME if wanted is None or same(known, wanted) else [{"$patch": "replace"}, *wanted]
        case _:
            assert_never(kind)


def _conditions(known: Sequence[JsonObject], wanted: Sequence[JsonObject]) -> list[JsonObject]:
    by_type = {condition.get("type"): condition for condition in known}
    changes = []
    for condition in wanted:
        before = by_type.get(condition["type"], {})
        if before.get("status") == condition.get("status") and "lastTransitionTime" in before:
            # It is the time of the last change of `status`, whatever the caller's clock says now.
            condition = {**condition, "lastTransitionTime": before["lastTransitionTime"]}
        if not same(before, condition):
            removed = {name: None for name in before.keys() - condition.keys() if before[name] is not None}
            changes.append({**condition, **removed})
    return changes


def _metadata(pod: JsonObject, wanted: JsonObject) -> JsonObject:
    """The uid makes the server refuse (422) when another pod has the name by now."""
    metadata: JsonObject = {"uid": pod["metadata"]["uid"]}
    devices = assigned_devices(wanted)
    annotations = pod["metadata"].get("annotations") or {}
    if devices and annotations.get(ASSIGNED_DEVICE) != devices:
        metadata["annotations"] = {ASSIGNED_DEVICE: devices}
    return metadata


def _requested_only(pod: JsonObject, wanted: JsonObject) -> JsonObject:
    """The container statuses without the health of resources that the container did not request: those of a shared class. The server
    refuses the whole status for one of them (422, "must match one of the container's resource requests")."""
    lists: JsonObject = {}
    for statuses, declared in (("containerStatuses", "containers"), ("initContainerStatuses", "initContainers")):
        requests = {str(container["name"]): _requests(container) for container in pod["spec"].get(declared) or ()}
        if statuses in wanted:
            lists[statuses] = [_without_unrequested(status, requests.get(status["name"], frozenset())) for status in wanted[statuses] or ()]
    return lists


def _requests(container: JsonObject) -> frozenset[str]:
    return frozenset((container.get("resources") or {}).get("requests") or ())


def _without_unrequested(status: JsonObject, requested: frozenset[str]) -> JsonObject:
    health = status.get("allocatedResourcesStatus")
    if not health:
        return status
    return {**status, "allocatedResourcesStatus": [entry for entry in health if entry.get("name") in requested]}


def assigned_devices(status: JsonObject) -> str:
    """The devices that the container statuses name in allocatedResourcesStatus, by name, separated by commas."""
    names = {
        str(resource.get("resourceID", ""))
        for group in ("initContainerStatuses", "containerStatuses")
        for container in status.get(group) or ()
        for allocated in container.get("allocatedResourcesStatus") or ()
        if str(allocated.get("name", "")).startswith(RESOURCE_PREFIX)
        for resource in allocated.get("resources") or ()
    }
    return ",".join(sorted(names - {""}))


_STATES: Final = frozenset({"waiting", "running", "terminated"})
"""An empty state is a state; every other empty value is what the server leaves out."""


def same(known: Any, wanted: Any) -> bool:
    """Equal to the API: null, an empty text, list or object means the same as an absent field."""
    if known is None or wanted is None:
        return known is wanted
    return _alike(known, wanted)


class _Absent:
    pass


_ABSENT: Final = _Absent()


def _alike(known: Any, wanted: Any) -> bool:
    if known == wanted:
        return True
    if isinstance(known, dict) and isinstance(wanted, dict):
        names = known.keys() | wanted.keys()
        return all(_is_same_field(name, known.get(name, _ABSENT), wanted.get(name, _ABSENT)) for name in names)
    if isinstance(known, list | tuple) and isinstance(wanted, list | tuple):
        return len(known) == len(wanted) and all(map(_alike, known, wanted))
    return False


def _is_same_field(name: str, known: Any, wanted: Any) -> bool:
    if known == wanted:
        return True
    is_void = name not in _STATES and _is_void(known) and _is_void(wanted)
    return is_void or _alike(known, wanted)


def _is_void(value: Any) -> bool:
    """The server would leave it out."""
    if isinstance(value, dict):
        return all(name not in _STATES and _is_void(content) for name, content in value.items())
    return value is None or value is _ABSENT or value in ("", [], ())

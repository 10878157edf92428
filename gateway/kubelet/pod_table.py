"""Pods as `kubectl get pods` shows them, computed from plain pod objects. Pure.

The STATUS column follows kubectl's printPod (pkg/printers/internalversion): the waiting or terminated reason of a container tells more
than the phase.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

ASSIGNED_DEVICE: Final = "wirelet.dev/assigned-device"
"""The annotation that names the device where the status carries no allocatedResourcesStatus."""

JsonObject = dict[str, Any]


def pod_row(pod: Mapping[str, Any]) -> JsonObject:
    """The row of one pod, in JSON names."""
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    statuses = status.get("containerStatuses") or []
    containers = [container["name"] for container in spec.get("containers") or ()]
    return {
        "namespace": metadata.get("namespace", "default"),
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
        "ready": sum(1 for entry in statuses if entry.get("ready")),
        "containers": containers,
        "initContainers": [container["name"] for container in spec.get("initContainers") or ()],
        "images": [container.get("image", "") for container in spec.get("containers") or ()],
        "phase": status.get("phase", "Pending"),
        "status": status_word(pod),
        "message": _message(status),
        "restarts": sum(entry.get("restartCount", 0) for entry in statuses),
        "lastRestartAt": _last_restart(statuses),
        "devices": _devices(metadata, statuses),
        "node": spec.get("nodeName", ""),
        "podIP": status.get("podIP", ""),
        "createdAt": metadata.get("creationTimestamp") or status.get("startTime"),
    }


def running_pod(pod: Mapping[str, Any]) -> JsonObject | None:
    """The pod as `/runningpods/` tells it, with the containers that run; None when none does."""
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    kinds = ("initContainerStatuses", "containerStatuses")
    running = {entry["name"] for kind in kinds for entry in status.get(kind) or () if _state(entry, "running") is not None}
    declared = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    containers = [{"name": each["name"], "image": each.get("image", "")} for each in declared if each["name"] in running]
    if not containers:
        return None
    named = {key: metadata[key] for key in ("name", "namespace", "uid") if key in metadata}
    return {"metadata": named, "spec": {"containers": containers}, "status": {}}


def status_word(pod: Mapping[str, Any]) -> str:
    """Running, Completed, CrashLoopBackOff, Init:0/1, Terminating, ...: the one word that says most."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    word = _initializing(spec, status)
    if word is None:
        word = status.get("reason") or status.get("phase") or "Pending"
        entries = status.get("containerStatuses") or []
        for entry in reversed(entries):
            word = _container_word(entry) or word
        if word == "Completed" and any(_state(entry, "running") is not None and entry.get("ready") for entry in entries):
            word = "Running"
    if pod["metadata"].get("deletionTimestamp") and status.get("phase") not in ("Succeeded", "Failed"):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return str(word)


def _initializing(spec: Mapping[str, Any], status: Mapping[str, Any]) -> str | None:
    entries = status.get("initContainerStatuses") or []
    total = len(spec.get("initContainers") or ())
    for index, entry in enumerate(entries):
        terminated = _state(entry, "terminated")
        if terminated is not None and terminated.get("exitCode") == 0:
            continue
        if terminated is not None:
            return f"Init:{_terminated_word(terminated)}"
        reason = (_state(entry, "waiting") or {}).get("reason", "")
        return f"Init:{reason}" if reason not in ("", "PodInitializing") else f"Init:{index}/{total}"
    return None


def _container_word(entry: Mapping[str, Any]) -> str | None:
    waiting, terminated = _state(entry, "waiting"), _state(entry, "terminated")
    if waiting is not None and waiting.get("reason"):
        return str(waiting["reason"])
    return _terminated_word(terminated) if terminated is not None else None


def _terminated_word(terminated: Mapping[str, Any]) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    return f"Signal:{terminated['signal']}" if terminated.get("signal") else f"ExitCode:{terminated.get('exitCode', 0)}"


def _state(entry: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = (entry.get("state") or {}).get(kind)
    return found


def _last_restart(statuses: Sequence[Mapping[str, Any]]) -> str | None:
    """When the newest attempt before a current one ended, as printPod takes it. RFC 3339 in UTC sorts as text."""
    ends = [((entry.get("lastState") or {}).get("terminated") or {}).get("finishedAt") for entry in statuses]
    return max((end for end in ends if end), default=None)


def _message(status: Mapping[str, Any]) -> str:
    """Why it does not run, in one line: the pod's own message, else the first waiting container's."""
    if status.get("message"):
        return str(status["message"])
    entries = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return next((str(waiting["message"]) for entry in entries if (waiting := _state(entry, "waiting")) and waiting.get("message")), "")


def _devices(metadata: Mapping[str, Any], statuses: Sequence[Mapping[str, Any]]) -> list[str]:
    found = [
        resource["resourceID"]
        for entry in statuses
        for allocated in entry.get("allocatedResourcesStatus") or ()
        for resource in allocated.get("resources") or ()
    ]
    assigned = (metadata.get("annotations") or {}).get(ASSIGNED_DEVICE, "")
    return list(dict.fromkeys(found or [name for name in assigned.split(",") if name]))

"""The phase of a pod from its container statuses, as the kubelet finds it (getPhase in pkg/kubelet/kubelet_pods.go). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.pods.seams import JsonObject
from gateway.pods.view import RestartPolicy


def phase_of(
    policy: RestartPolicy, init_statuses: Sequence[JsonObject], statuses: Sequence[JsonObject], *, has_initialized: bool, has_ended: bool
) -> str:
    """Statuses of all containers of the spec. has_ended: nothing runs and nothing will, because the pod is being deleted or has failed."""
    pending_init = sum(1 for status in init_statuses if _exit_code(status) is None)
    failed_init = sum(1 for status in init_statuses if _exit_code(status))
    codes = [_exit_code(status) for status in statuses]
    running = sum(1 for status in statuses if "running" in status["state"])
    stopped = sum(1 for code in codes if code is not None)
    # A container in back-off has stopped before and is not a success, whatever its last exit code was.
    succeeded = sum(1 for status, code in zip(statuses, codes, strict=True) if code == 0 and "terminated" in status["state"])
    waiting = len(statuses) - running - stopped
    if has_ended:
        return "Succeeded" if statuses and succeeded == len(statuses) and not failed_init else "Failed"
    if failed_init and policy is RestartPolicy.NEVER:
        return "Failed"
    if (pending_init and not has_initialized) or waiting:
        return "Pending"
    if running or policy is RestartPolicy.ALWAYS:
        return "Running"
    if stopped == succeeded:
        return "Succeeded"
    return "Failed" if policy is RestartPolicy.NEVER else "Running"


def _exit_code(status: JsonObject) -> int | None:
    """How it last ended; None while it runs or has never run."""
    state = status["state"]
    if "running" in state:
        return None
    ended = state.get("terminated") or status.get("lastState", {}).get("terminated")
    return None if ended is None else int(ended["exitCode"])

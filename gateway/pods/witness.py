"""What is known of a pod's attempts from all who saw them: the devices and the ledger first, then the status the API server holds. Pure.

A container that the API says ran, and that no ledger and no device remembers, is never started as if it were new: its end is unknown
(ContainerStatusUnknown, 137), and restartPolicy decides. Ask only when the devices have settled: before, silence means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.pods.seams import Attempt, AttemptState, JsonObject, PodObservation
from gateway.pods.times import parse_time
from gateway.pods.view import PodView

UNKNOWN_EXIT_CODE: Final = 137
UNKNOWN_REASON: Final = "ContainerStatusUnknown"
UNKNOWN_MESSAGE: Final = "The container could not be located on any device. The container used to be Running"


def witnessed(pod: PodView, observed: PodObservation) -> dict[str, Sequence[Attempt]]:
    """Container name -> its attempts, oldest first, never empty; only containers of the pod's spec that were ever intended."""
    attempts: dict[str, Sequence[Attempt]] = {}
    for container in pod.all_containers:
        history = observed.attempts.get(container.name) or ()
        told = _told_by(pod.container_status(container.name))
        if told is not None and (not history or told.gen > history[-1].gen):
            history = (*history, told)
        if history:
            attempts[container.name] = history
    return attempts


def _told_by(status: JsonObject | None) -> Attempt | None:
    """The last attempt that this container status shows to have run."""
    if status is None:
        return None
    gen = int(status.get("restartCount") or 0) + 1
    state = status.get("state") or {}
    container_id = str(status.get("containerID") or "")
    if (running := state.get("running")) is not None:
        return Attempt(
            gen,
            AttemptState.EXITED,
            container_id,
            started_at=parse_time(running.get("startedAt")),
            exit_code=UNKNOWN_EXIT_CODE,
            reason=UNKNOWN_REASON,
            message=UNKNOWN_MESSAGE,
        )
    ended = state.get("terminated") or (status.get("lastState") or {}).get("terminated")
    if ended is None:
        return None
    return Attempt(
        gen,
        AttemptState.EXITED,
        str(ended.get("containerID") or container_id),
        started_at=parse_time(ended.get("startedAt")),
        finished_at=parse_time(ended.get("finishedAt")),
        exit_code=int(ended.get("exitCode") or 0),
        signal=int(ended.get("signal") or 0),
        reason=str(ended.get("reason") or ""),
        message=str(ended.get("message") or ""),
    )

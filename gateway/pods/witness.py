"""What is known of a pod's attempts from all who saw them: the devices and the ledger first, then the status the API server holds. Pure.

A container that the API says ran, and that no ledger and no device remembers, is never started as if it were new: its end is unknown
(ContainerStatusUnknown, 137), and restartPolicy decides. A start that was once told keeps its time: a ledger that lost it has only the
time at which the run was found. Ask only when the devices have settled: before, silence means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
        told = _told_by(pod.container_status(container.name) or {})
        if told and history:
            before = [attempt for attempt in told if attempt.gen < history[0].gen]
            after = [attempt for attempt in told if attempt.gen > history[-1].gen]
            history = (*before, *(_with_start(attempt, told) for attempt in history), *after)
        elif told:
            history = told
        if history:
            attempts[container.name] = history
    return attempts


def _with_start(attempt: Attempt, told: Sequence[Attempt]) -> Attempt:
    at = next((before.started_at for before in told if before.container_id == attempt.container_id), None)
    # The API knows whole seconds; what differs by less is the same.
    if at is None or (attempt.started_at is not None and 0 <= attempt.started_at - at < 1):
        return attempt
    return replace(attempt, started_at=at)


def _told_by(status: JsonObject) -> Sequence[Attempt]:
    """The attempts that this container status shows, oldest first: the last one that ran, and the one before."""
    gen = int(status.get("restartCount") or 0) + 1
    state = status.get("state") or {}
    ended_before = (status.get("lastState") or {}).get("terminated")
    if (running := state.get("running")) is not None:
        last = Attempt(
            gen,
            AttemptState.EXITED,
            str(status.get("containerID") or ""),
            started_at=parse_time(running.get("startedAt")),
            exit_code=UNKNOWN_EXIT_CODE,
            reason=UNKNOWN_REASON,
            message=UNKNOWN_MESSAGE,
        )
    elif (ended := state.get("terminated")) is not None:
        last = _ended(gen, ended)
    else:
        return [] if ended_before is None else [_ended(gen, ended_before)]
    return [last] if ended_before is None or gen == 1 else [_ended(gen - 1, ended_before), last]


def _ended(gen: int, terminated: JsonObject) -> Attempt:
    return Attempt(
        gen,
        AttemptState.EXITED,
        str(terminated.get("containerID") or ""),
        started_at=parse_time(terminated.get("startedAt")),
        finished_at=parse_time(terminated.get("finishedAt")),
        exit_code=int(terminated.get("exitCode") or 0),
        signal=int(terminated.get("signal") or 0),
        reason=str(terminated.get("reason") or ""),
        message=str(terminated.get("message") or ""),
    )

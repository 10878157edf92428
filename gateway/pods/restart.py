"""Whether and when an ended container runs again: restartPolicy and the kubelet's crash back-off. Pure.

As the kubelet does it (doBackOff in pkg/kubelet/kuberuntime/kuberuntime_manager.go): the first restart is immediate, the next waits 10 s,
then twice as long each time up to 300 s; a run of more than ten minutes forgives all before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from gateway.pods.seams import Attempt, AttemptState
from gateway.pods.view import ContainerView, PodView, RestartPolicy

BACKOFF_FIRST_S: Final = 10.0
BACKOFF_MAX_S: Final = 300.0
FORGIVEN_AFTER_S: Final = 2 * BACKOFF_MAX_S
"""A run longer than this starts the back-off anew."""


@dataclass(frozen=True, slots=True)
class Streak:
    """short_runs attempts before and without gen have ended soon after one another."""

    gen: int
    short_runs: int

    @property
    def delay_s(self) -> float:
        """From the end of gen to its restart."""
        if self.short_runs == 0:
            return 0.0
        # The exponent is bounded first: a container may have restarted ten thousand times.
        return min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2.0 ** min(self.short_runs - 1, 16))


def streak(attempts: Sequence[Attempt], before: Streak | None) -> Streak:
    """The streak at the last of attempts (oldest first, not empty). before is what was remembered of an earlier one.

    Attempts that nobody remembers count as short: after a restart of the gateway a crash loop goes on as slowly as it was.
    """
    for attempt in attempts:
        if before is not None and attempt.gen <= before.gen:
            continue
        if _was_long(attempt) or attempt.gen == 1:
            before = Streak(attempt.gen, 0)
        else:
            before = Streak(attempt.gen, (before.short_runs if before else attempt.gen - 2) + 1)
    assert before is not None
    return before


def _was_long(attempt: Attempt) -> bool:
    if attempt.started_at is None or attempt.finished_at is None:
        return False
    return attempt.finished_at - attempt.started_at > FORGIVEN_AFTER_S


def should_restart(pod: PodView, container: ContainerView, ended: Attempt, replaced: Mapping[str, int]) -> bool:
    """Whether container runs again after this end, sooner or later. An init container that succeeded never does.

    replaced: container -> the attempt that was stopped for a new image. It runs again whatever the policy is.
    """
    if replaced.get(container.name) == ended.gen:
        return True
    failed = ended.exit_code != 0
    match pod.restart_policy:
        case RestartPolicy.NEVER:
            return False
        case RestartPolicy.ON_FAILURE:
            return failed
        case RestartPolicy.ALWAYS:
            return failed or not container.is_init
        case other:
            assert_never(other)


def is_finished(pod: PodView, attempts: Mapping[str, Sequence[Attempt]], replaced: Mapping[str, int]) -> bool:
    """Nothing of the pod runs and nothing of it will: the phase is Succeeded or Failed from now on."""
    latest = {name: history[-1] for name, history in attempts.items() if history}
    if any(attempt.state is not AttemptState.EXITED for attempt in latest.values()):
        return False
    for container in pod.init_containers:
        ended = latest.get(container.name)
        if ended is not None and ended.exit_code != 0 and not should_restart(pod, container, ended, replaced):
            return True
    for container in pod.containers:
        ended = latest.get(container.name)
        if ended is None or should_restart(pod, container, ended, replaced):
            return False
    return bool(pod.containers)

"""plan: what to do now for one pod, from what is wanted and what is seen. Pure, level-triggered, safe to ask at any moment.

There is no stored step: asked again after its own actions took effect, plan has none. It refuses to look at devices, claims and
environments; those can refuse a start, and the refusal is in the memory that plan reads. Call it only when the source is synced and the
devices have settled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from gateway.pods.memory import PodMemory
from gateway.pods.restart import should_restart
from gateway.pods.seams import Attempt, AttemptState, PodObservation
from gateway.pods.view import ContainerView, PodView
from gateway.pods.witness import witnessed

FINISH_AGAIN_S: Final = 60.0
"""A pod that should be gone and is not (a finalizer, a lost delete) is asked to go again after this."""


@dataclass(frozen=True, slots=True)
class StartContainer:
    container: str
    gen: int


@dataclass(frozen=True, slots=True)
class StopContainer:
    container: str
    gen: int
    grace_s: float


@dataclass(frozen=True, slots=True)
class Finish:
    """Everything ended: write the last status, then remove the object."""


@dataclass(frozen=True, slots=True)
class Release:
    """The object is gone and everything ended: let the devices forget the pod."""


Action: TypeAlias = StartContainer | StopContainer | Finish | Release


@dataclass(frozen=True, slots=True)
class Plan:
    """Do actions in order; look again at requeue_at (loop time) if nothing happens before."""

    actions: tuple[Action, ...] = ()
    requeue_at: float | None = None


def plan(desired: PodView | None, observed: PodObservation, memory: PodMemory, now: float) -> Plan:
    """memory must have looked at the same desired and observed."""
    if desired is None:
        return _plan_gone(observed, memory)
    attempts = witnessed(desired, observed)
    if desired.is_deleting:
        return _plan_deletion(desired, attempts, memory, now)
    if desired.is_terminal or memory.failure is not None:
        # Terminal phases never run again, and nothing outlives them: the pod garbage collector may have set this one.
        return Plan(tuple(_stops(attempts, memory, desired.grace_s)))
    return _plan_running(desired, attempts, memory, now)


def _plan_gone(observed: PodObservation, memory: PodMemory) -> Plan:
    if any(_is_live(history) for history in observed.attempts.values()):
        return Plan(tuple(_stops(observed.attempts, memory, memory.grace_s)))
    return Plan() if memory.is_released else Plan((Release(),))


def _plan_deletion(desired: PodView, attempts: dict[str, Sequence[Attempt]], memory: PodMemory, now: float) -> Plan:
    if any(_is_live(history) for history in attempts.values()):
        return Plan(tuple(_stops(attempts, memory, desired.grace_s)))
    if memory.finished_at is None or now >= memory.finished_at + FINISH_AGAIN_S:
        return Plan((Finish(),))
    return Plan(requeue_at=memory.finished_at + FINISH_AGAIN_S)


def _stops(attempts: Mapping[str, Sequence[Attempt]], memory: PodMemory, grace_s: float) -> Iterator[StopContainer]:
    """Stop what lives, once; again only when the grace became shorter (a second delete)."""
    for container, history in attempts.items():
        last = history[-1]
        asked = memory.stops.get(container)
        if _is_live(history) and (asked is None or asked.gen != last.gen or grace_s < asked.grace_s):
            yield StopContainer(container, last.gen, grace_s)


def _plan_running(desired: PodView, attempts: dict[str, Sequence[Attempt]], memory: PodMemory, now: float) -> Plan:
    outdated = {name: history for name, history in attempts.items() if memory.replaced.get(name) == history[-1].gen}
    actions: list[Action] = [*_stops(outdated, memory, desired.grace_s)]
    wake_ups = [] if memory.deadline_at is None else [memory.deadline_at]
    for container in _startable(desired, attempts):
        start = _start(desired, container, attempts.get(container.name, ()), memory)
        if start is None:
            continue
        due = [at for at in (memory.may_start_at(container.name), _restart_at(start, memory)) if at is not None]
        if not due or max(due) <= now:
            actions.append(start)
        else:
            wake_ups.append(max(due))
    return Plan(tuple(actions), min(wake_ups, default=None))


def _startable(desired: PodView, attempts: dict[str, Sequence[Attempt]]) -> Sequence[ContainerView]:
    """The containers whose turn it is: the first init container that has not succeeded, or all regular ones.

    A regular container that ever ran shows that the pod was initialised; init containers do not run twice.
    """
    if not any(container.name in attempts for container in desired.containers):
        for container in desired.init_containers:
            history = attempts.get(container.name)
            if not history or history[-1].state is not AttemptState.EXITED or history[-1].exit_code != 0:
                return (container,)
    return desired.containers


def _start(desired: PodView, container: ContainerView, history: Sequence[Attempt], memory: PodMemory) -> StartContainer | None:
    if not history:
        return StartContainer(container.name, 1)
    last = history[-1]
    if last.state is AttemptState.INTENDED:
        # Nobody confirmed it: start is idempotent for the same gen, and the devices know whether it ran.
        return StartContainer(container.name, last.gen)
    if last.state is AttemptState.EXITED and should_restart(desired, container, last, memory.replaced):
        return StartContainer(container.name, last.gen + 1)
    return None


def _restart_at(start: StartContainer, memory: PodMemory) -> float | None:
    """The end of the back-off that start has to wait for, if it is a restart."""
    ended = memory.ended.get(start.container)
    return memory.restart_at(start.container) if ended is not None and ended.gen < start.gen else None


def _is_live(history: Sequence[Attempt]) -> bool:
    return bool(history) and history[-1].state is not AttemptState.EXITED

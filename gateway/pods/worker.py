"""One look at one pod: do what plan says, write the status that follows, tell people by events.

A start goes out before any status is written, so that a quick device costs one write; only a start that takes long is told as
ContainerCreating meanwhile. The object is removed only after its last status is written. It decides nothing that plan could decide.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from typing import Final, assert_never

import anyio

from gateway.pods.admission import admit
from gateway.pods.clock import Clock
from gateway.pods.env import References, needed_references
from gateway.pods.lifecycle import FINISH_AGAIN_S, Action, Finish, Plan, Release, StartContainer, StopContainer, plan
from gateway.pods.memory import Failure, PodMemory, Stopping
from gateway.pods.node import NodeAddresses, NodeLookup
from gateway.pods.notices import Notices
from gateway.pods.pacing import RejectionPacer
from gateway.pods.refusal import CONFIG_ERROR, UNKNOWN_IMAGE, TranslationError
from gateway.pods.reservations import Reservations
from gateway.pods.seams import (
    AdmissionRejected,
    AttemptState,
    PodObservation,
    PodSource,
    PodUid,
    Program,
    SourceUnavailable,
    StartRefused,
    StatusSink,
    Workloads,
)
from gateway.pods.status import build_status
from gateway.pods.translate import claims_of, translate
from gateway.pods.view import TERMINAL_PHASES, ContainerView, PodView
from gateway.pods.witness import witnessed

SLOW_START_S: Final = 1.0
"""A start that takes longer is told meanwhile. Below it one write is cheaper than two, also when hundreds of pods come at once."""
AGAIN_S: Final = 1.0
"""Pause before actions that changed nothing are done again: a bound on what a bug can cost."""

_logger = logging.getLogger(__name__)


class PodWorker:
    """Stateless between looks but for the pacing of rejections; the pod's memory is passed in."""

    def __init__(
        self,
        source: PodSource,
        sink: StatusSink,
        workloads: Workloads,
        node: NodeAddresses,
        node_object: NodeLookup,
        reservations: Reservations,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._source = source
        self._sink = sink
        self._notices = Notices(sink)
        self._workloads = workloads
        self._node = node
        self._node_object = node_object
        self._reservations = reservations
        self._clock = clock
        self._rng = rng
        self._pacer = RejectionPacer()

    async def look_at(self, pod: PodView, memory: PodMemory) -> float | None:
        """Bring a pod that the source has one step on; when to look again. Raises SourceUnavailable."""
        if not memory.is_known:
            memory.is_known = True
            self._notices.unknown_fields(pod)
        observed = self._observe(pod, memory)
        decided = plan(pod, observed, memory, self._clock.now())
        steps = [action for action in decided.actions if isinstance(action, StartContainer | StopContainer)]
        if any(isinstance(step, StartContainer) for step in steps):
            await self._do_or_tell(pod, memory, steps)
        else:
            await self._do(pod, memory, steps)
        following = decided
        if steps:
            observed = self._observe(pod, memory)
            following = plan(pod, observed, memory, self._clock.now())
        await self._write_status(pod, memory, observed)
        if Finish() in decided.actions:
            await self._sink.finish(pod.object)
            memory.finished_at = self._clock.now()
            return memory.finished_at + FINISH_AGAIN_S
        return self._next_look(pod, memory, decided, following, has_acted=bool(steps))

    async def look_at_gone(self, uid: PodUid, memory: PodMemory) -> float | None:
        """Let go of a pod that the source does not have (any more); when to look again."""
        decided = plan(None, self._workloads.observe(uid), memory, self._clock.now())
        for action in decided.actions:
            match action:
                case StopContainer(container, gen, grace_s):
                    memory.stops[container] = Stopping(gen, grace_s)
                    await self._workloads.stop(uid, container, grace_s)
                case Release():
                    await self._workloads.release(uid)
                    memory.is_released = True
                case StartContainer() | Finish():
                    raise AssertionError(f"planned {action} for a pod that is gone")
                case _:
                    assert_never(action)
        return decided.requeue_at

    # -- seeing

    def _observe(self, pod: PodView, memory: PodMemory) -> PodObservation:
        observed = self._workloads.observe(pod.uid)
        attempts = witnessed(pod, observed)
        was_lost = memory.is_lost
        memory.look(pod, attempts, observed, self._clock.now(), self._clock.wall())
        if memory.is_lost is not was_lost and attempts:
            self._notices.link(pod, observed, is_connected=not memory.is_lost)
        return observed

    def _next_look(self, pod: PodView, memory: PodMemory, decided: Plan, following: Plan, *, has_acted: bool) -> float | None:
        now = self._clock.now()
        observed = self._workloads.observe(pod.uid)
        link_at = memory.link_changes_at(observed.connected)
        instants = [at for at in (following.requeue_at, link_at, observed.connection_changes_at) if at is not None]
        if has_acted and following.actions:
            instants.append(now if following.actions != decided.actions else now + AGAIN_S)
        return min(instants, default=None)

    # -- acting

    async def _do_or_tell(self, pod: PodView, memory: PodMemory, steps: Sequence[Action]) -> None:
        """Do the steps; if they take long, write what is known meanwhile."""
        patience = anyio.CancelScope()

        async def tell() -> None:
            with patience:
                await self._clock.sleep_until(slow_at)
            if patience.cancel_called:
                return
            try:
                await self._write_status(pod, memory, self._observe(pod, memory))
            except SourceUnavailable:
                _logger.info("Cannot tell about a slow start, the start goes on", extra={"pod": pod.name})

        slow_at = self._clock.now() + SLOW_START_S
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tell)
            await self._do(pod, memory, steps)
            patience.cancel()  # the wait only: a write that has begun is ended before another one begins

    async def _do(self, pod: PodView, memory: PodMemory, steps: Sequence[Action]) -> None:
        for step in steps:
            match step:
                case StartContainer(container, gen):
                    await self._start(pod, memory, pod.container(container), gen)
                case StopContainer(container, gen, grace_s):
                    await self._stop(pod, memory, container, gen, grace_s)
                case Finish() | Release():
                    raise AssertionError(f"{step} is no step")
                case _:
                    assert_never(step)

    async def _stop(self, pod: PodView, memory: PodMemory, container: str, gen: int, grace_s: float) -> None:
        asked = memory.stops.get(container)
        memory.stops[container] = Stopping(gen, grace_s)
        if asked is None or asked.gen != gen:
            is_replaced = memory.replaced.get(container) == gen and not pod.is_deleting
            self._notices.killing(pod, container, is_replaced=is_replaced)
        await self._workloads.stop(pod.uid, container, grace_s)

    async def _start(self, pod: PodView, memory: PodMemory, container: ContainerView, gen: int) -> None:
        if memory.failure is not None:
            return  # a container before this one was rejected, and the pod with it
        try:
            if not witnessed(pod, self._workloads.observe(pod.uid)):
                # Once: a pod that runs is not turned out because a label of the node changed.
                admit(pod, self._node_object(), self._reservations)
                self._reservations.hold(pod)
            claims = claims_of(pod)
            program = await self.program(pod, container)
            await self._workloads.start(pod.identity, container.name, gen, program, claims)
        except SourceUnavailable as error:
            self._refused(pod, memory, container, StartRefused(CONFIG_ERROR, f"cannot read what the environment refers to: {error}"))
        except StartRefused as refused:
            if pod.is_daemon and _is_hopeless(refused):
                # A DaemonSet puts a pod on every node: one that waits here for ever would hold up its roll-out.
                self._rejected(pod, memory, container, AdmissionRejected("UnsupportedPod", refused.message))
            else:
                self._refused(pod, memory, container, refused)
        except AdmissionRejected as rejected:
            self._rejected(pod, memory, container, rejected)
        else:
            self._started(pod, memory, container, gen)

    async def program(self, pod: PodView, container: ContainerView) -> Program:
        """What container runs, with what it refers to as it is now. Raises StartRefused and SourceUnavailable."""
        return translate(pod, container, await self._references(pod, container), self._node)

    async def _references(self, pod: PodView, container: ContainerView) -> References:
        needed = needed_references([container])
        return References(
            {name: await self._source.config_map(pod.namespace, name) for name in sorted(needed.config_maps)},
            {name: await self._source.secret(pod.namespace, name) for name in sorted(needed.secrets)},
        )

    def _started(self, pod: PodView, memory: PodMemory, container: ContainerView, gen: int) -> None:
        memory.refusals.pop(container.name, None)
        memory.reject_at = None
        observed = self._workloads.observe(pod.uid)
        attempts = observed.attempts.get(container.name, ())
        if not attempts or attempts[-1].state is AttemptState.INTENDED:
            return  # the device has not said; plan asks again
        memory.images[container.name] = (gen, container.image)
        device = observed.devices.get(container.name, "unknown")
        self._notices.started(pod, container, device)
        _logger.info("Container started", extra={"pod": pod.name, "container": container.name, "attempt": gen, "device": device})

    def _refused(self, pod: PodView, memory: PodMemory, container: ContainerView, refused: StartRefused) -> None:
        is_new = memory.refuse(container.name, refused.reason, refused.message, self._clock.now(), self._rng.uniform(0.8, 1.0))
        if is_new:
            self._notices.refused(pod, container, refused)

    def _rejected(self, pod: PodView, memory: PodMemory, container: ContainerView, rejected: AdmissionRejected) -> None:
        """Failed, but not faster than the owner's replacements may come; until then it waits, and may still find room."""
        self._reservations.release(pod.uid)
        now = self._clock.now()
        if memory.reject_at is None:
            memory.reject_at = now + self._pacer.delay_s(pod.controller_uid, now)
        if now >= memory.reject_at:
            memory.failure = Failure(rejected.reason, rejected.message)
            self._notices.rejected(pod, rejected)
            return
        memory.refuse(container.name, rejected.reason, rejected.message, now)
        memory.retry_not_after(container.name, memory.reject_at)

    # -- telling

    async def _write_status(self, pod: PodView, memory: PodMemory, observed: PodObservation) -> None:
        """observed is what memory has looked at last."""
        if pod.is_terminal and not observed.attempts and memory.failure is None:
            self._reservations.release(pod.uid)
            return  # it ended in an earlier life of the gateway, and nobody here knows better
        if pod.is_deleting and not witnessed(pod, observed):
            return  # it never ran and goes at once
        status = build_status(pod, observed, memory, self._clock.now(), self._clock.wall(), self._node)
        self._notices.back_offs(pod, memory, status)
        await self._sink.write_status(pod.object, status)
        memory.status = status
        if status["phase"] in TERMINAL_PHASES and not _is_alive(observed):
            self._reservations.release(pod.uid)
            await self._workloads.retire(pod.uid)


def _is_hopeless(refused: StartRefused) -> bool:
    """Nothing but another pod template helps: what is missing now, or busy, may come."""
    if isinstance(refused, TranslationError):
        return refused.is_unsupported
    return refused.reason in (CONFIG_ERROR, UNKNOWN_IMAGE)


def _is_alive(observed: PodObservation) -> bool:
    return any(attempt.state is not AttemptState.EXITED for history in observed.attempts.values() for attempt in history[-1:])

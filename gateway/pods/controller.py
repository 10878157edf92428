"""The pod controller: looks at one pod after another, as the source, the devices and the clock ask for it.

It works on keys (pod uids) from a queue, never on events: every look starts from the whole truth. A pod is never forgotten: refused starts
and failed writes are tried again for ever, more and more slowly. What is done in a look is in worker.py; what to do, in lifecycle.py.
"""

from __future__ import annotations

import logging
import random
from typing import Final

import anyio

from gateway.pods.clock import Clock, SystemClock
from gateway.pods.memory import PodMemory
from gateway.pods.node import NodeAddresses, NodeLookup
from gateway.pods.queue import WorkQueue
from gateway.pods.reservations import Reservations
from gateway.pods.seams import PodSource, PodUid, Program, SourceUnavailable, StatusSink, Workloads
from gateway.pods.view import PodView
from gateway.pods.witness import witnessed
from gateway.pods.worker import PodWorker

CONCURRENCY: Final = 256
"""Pods worked on at once. More than a node usually holds, so that devices which hang in a start never delay another one's."""
SETTLE_LOOK_S: Final = 0.2
"""How often to ask whether the devices have settled and the source is synced, while they are not."""
RETRY_FIRST_S: Final = 0.25
RETRY_MAX_S: Final = 30.0
"""While the API server cannot be asked: jittered, doubling from the first to the second."""

_logger = logging.getLogger(__name__)


class PodController:
    """Runs the pods of one node. node_object gives the Node as it is now, for admission. clock and rng are arguments for tests."""

    def __init__(
        self,
        source: PodSource,
        sink: StatusSink,
        workloads: Workloads,
        *,
        node_addresses: NodeAddresses,
        node_object: NodeLookup = lambda: None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        concurrency: int = CONCURRENCY,
    ) -> None:
        self._source = source
        self._workloads = workloads
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._reservations = Reservations()
        self._has_reserved = False
        self._worker = PodWorker(source, sink, workloads, node_addresses, node_object, self._reservations, self._clock, self._rng)
        self._queue: WorkQueue[PodUid] = WorkQueue(self._clock)
        self._places = anyio.Semaphore(concurrency)
        self._memories: dict[PodUid, PodMemory] = {}
        self._trouble = ""
        """What the log said last about a source that cannot be reached."""

    def changed(self, uid: PodUid) -> None:
        """Something about this pod, its workloads or its devices changed. Call it on the loop; it is cheap and never blocks."""
        memory = self._memories.get(uid)
        if memory is not None:
            memory.kicked_at = self._clock.now()
        self._queue.add(uid)

    async def program(self, pod: PodView, container: str) -> Program:
        """What container would run if it began now. Raises StartRefused and SourceUnavailable."""
        return await self._worker.program(pod, pod.container(container))

    @property
    def pods_remembered(self) -> int:
        """Pods that the source or the devices have; it must not grow with those that came and went."""
        return len(self._memories)

    async def run(self) -> None:
        """Work until cancelled."""
        self._source.subscribe(self.changed)
        for pod in self._source.pods():
            self._queue.add(PodView(pod).uid)
        for uid in self._workloads.known_pods():
            self._queue.add(uid)
        async with anyio.create_task_group() as workers:
            while True:
                await self._places.acquire()
                workers.start_soon(self._work, await self._queue.get())

    async def _work(self, uid: PodUid) -> None:
        try:
            again_at = await self._look(uid)
        except SourceUnavailable as error:
            if str(error) != self._trouble:  # said once, not for each pod and each try
                _logger.warning("cannot reach the source of pods, will try again", extra={"pod": uid, "why": str(error)})
                self._trouble = str(error)
            again_at = self._clock.now() + self._retry_delay_s(uid)
        finally:
            self._queue.done(uid)
            self._places.release()
        if again_at is not None:
            self._queue.add_at(uid, again_at)

    def _retry_delay_s(self, uid: PodUid) -> float:
        memory = self._memories[uid]
        delay_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2.0 ** min(memory.failures, 16))
        memory.failures += 1
        return delay_s * self._rng.uniform(0.5, 1.0)

    async def _look(self, uid: PodUid) -> float | None:
        """When to look again. Raises SourceUnavailable."""
        now = self._clock.now()
        if not (self._workloads.settled() and self._source.synced):
            return now + SETTLE_LOOK_S
        self._reserve_for_those_that_ran()
        pod = self._source.get(uid)
        if pod is None:
            self._reservations.release(uid)
        if pod is None and uid not in self._workloads.known_pods():
            self._memories.pop(uid, None)
            return None
        memory = self._memories.get(uid)
        if memory is None:
            memory = self._memories[uid] = PodMemory(first_seen_wall=self._clock.wall(), first_seen=now)
        if pod is None:
            again_at = await self._worker.look_at_gone(uid, memory)
            if memory.is_released:
                self._memories.pop(uid, None)
        else:
            again_at = await self._worker.look_at(PodView(pod), memory)
        if memory.failures:
            memory.failures, self._trouble = 0, ""
        return again_at

    def _reserve_for_those_that_ran(self) -> None:
        """Once, before anybody is admitted: pods of an earlier life of the gateway hold what they were admitted with."""
        if self._has_reserved:
            return
        self._has_reserved = True
        for pod in map(PodView, self._source.pods()):
            if not pod.is_terminal and witnessed(pod, self._workloads.observe(pod.uid)):
                self._reservations.hold(pod)

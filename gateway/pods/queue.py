"""A keyed work queue: stingy (a key waits at most once), fair (first come, first served), one worker per key, delayed re-adds.

KeyQueue is pure: `now` is passed in. WorkQueue is its thin shell with an async get. A key added while it is being worked on comes again
when its worker is done, so that no change is missed and none is worked on twice at the same time.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Final, Generic, TypeVar

import anyio

from gateway.pods.clock import Clock

K = TypeVar("K")

MAX_STALE_TIMERS: Final = 64
"""Timers that were overtaken are swept when there are this many more than live ones: a deadline may be years away."""


class KeyQueue(Generic[K]):
    """The rules, without waiting."""

    def __init__(self) -> None:
        self._ready: deque[K] = deque()
        self._is_ready: set[K] = set()
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._due: dict[K, tuple[float, int]] = {}
        self._timers: list[tuple[float, int, K]] = []
        self._count = 0

    def add(self, key: K) -> None:
        """Work on key as soon as its turn comes."""
        if key in self._working:
            self._again.add(key)
        elif key not in self._is_ready:
            self._is_ready.add(key)
            self._ready.append(key)

    def add_at(self, key: K, at: float) -> None:
        """Work on key at that time, unless that was asked for earlier already."""
        if key in self._due and self._due[key][0] <= at:
            return
        self._count += 1  # tells timers of one instant apart, and keeps the heap from comparing keys
        self._due[key] = (at, self._count)
        heapq.heappush(self._timers, (at, self._count, key))
        if len(self._timers) > 2 * len(self._due) + MAX_STALE_TIMERS:
            self._timers = [timer for timer in self._timers if self._is_current(timer)]
            heapq.heapify(self._timers)

    def take(self, now: float) -> K | None:
        """The next key to work on, or None. Its timer is forgotten: the worker sets a new one. Call done with it afterwards."""
        while self._timers and self._timers[0][0] <= now:
            timer = heapq.heappop(self._timers)
            if self._is_current(timer):
                del self._due[timer[2]]
                self.add(timer[2])
        if not self._ready:
            return None
        key = self._ready.popleft()
        self._is_ready.remove(key)
        self._working.add(key)
        self._due.pop(key, None)
        return key

    def done(self, key: K) -> None:
        self._working.remove(key)
        if key in self._again:
            self._again.remove(key)
            self.add(key)

    def next_deadline(self) -> float | None:
        """When take may have something that it has not now."""
        while self._timers and not self._is_current(self._timers[0]):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _is_current(self, timer: tuple[float, int, K]) -> bool:
        return self._due.get(timer[2]) == timer[:2]


class WorkQueue(Generic[K]):
    """KeyQueue with a clock and a get that waits. For one getter on one event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._queue: KeyQueue[K] = KeyQueue()
        self._changed = anyio.Event()

    def add(self, key: K) -> None:
        self._queue.add(key)
        self._changed.set()

    def add_at(self, key: K, at: float) -> None:
        self._queue.add_at(key, at)
        self._changed.set()

    def done(self, key: K) -> None:
        self._queue.done(key)
        self._changed.set()

    async def get(self) -> K:
        """The next key, when there is one. Call done with it afterwards."""
        while True:
            self._changed = anyio.Event()
            key = self._queue.take(self._clock.now())
            if key is not None:
                return key
            await wait_or_deadline(self._changed, self._clock, self._queue.next_deadline())


async def wait_or_deadline(event: anyio.Event, clock: Clock, deadline: float | None) -> None:
    """Return when event is set or the clock has reached deadline, whichever comes first."""
    if deadline is None:
        await event.wait()
        return
    async with anyio.create_task_group() as tasks:

        async def alarm() -> None:
            await clock.sleep_until(deadline)
            tasks.cancel_scope.cancel()

        tasks.start_soon(alarm)
        await event.wait()
        tasks.cancel_scope.cancel()

"""Calls into the operating system that may hang, kept off the event loop and bounded in time.

A tty can take 30 s to close and some drivers never answer an ioctl. No thread can be killed: a call that outlasts its patience is
interrupted again and again, and one that misses its deadline is left behind; its port takes no other call until it returned. Threads are
daemons: a hung call must not hold up the end of the process.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import anyio

from transports import interruption
from transports.errors import LinkTimeout
from transports.interruption import InterruptibleCall

T = TypeVar("T")

_logger = logging.getLogger(__name__)

INTERRUPT_EVERY_S: Final = 0.2
"""A signal may come between two system calls of the thread, and then it does nothing."""
MAX_INTERRUPTS: Final = 50
"""10 s; what has not returned by then is not interruptible."""


class BlockingCalls:
    """The blocking calls of one port, one at a time, each in a thread of its own so that no port waits for another one's."""

    def __init__(self, name: str, *, patience_s: float = math.inf) -> None:
        """patience_s: how long a call that may be interrupted can hang before it is."""
        self._name = name
        self._patience_s = patience_s if patience_s < math.inf and interruption.prepare() else math.inf
        self._under_way = ""
        self._idle = anyio.Event()
        self._patience: asyncio.TimerHandle | None = None

    async def run(
        self,
        what: str,
        call: Callable[[], T],
        *,
        deadline_s: float,
        undo: Callable[[T], object] | None = None,
        is_interruptible: bool = False,
    ) -> T:
        """What call returns or raises; LinkTimeout after deadline_s, in which an earlier call that still hangs is waited for, too, or
        without a thread.

        After a time-out or a cancellation the call goes on alone; undo then gets what it returns, in a thread. An interruptible call must
        stand that a system call in it ends early, and so must undo.
        """
        with anyio.move_on_after(deadline_s):
            while self._under_way:
                await self._idle.wait()
            answer = _Answer(self, call, undo)
            self.begin(what, answer.work, is_interruptible=is_interruptible)
            try:
                return await answer.take()
            finally:
                answer.abandon()
        raise LinkTimeout(f"{self._name}: the operating system did not end {self._under_way or what} within {deadline_s:g} s")

    def begin(self, what: str, work: Callable[[], object], *, is_interruptible: bool) -> None:
        """For _Answer: work in a thread; end is called on the loop when it is done. Raises LinkTimeout when there is none."""
        self._under_way = what
        self._idle = anyio.Event()
        call = InterruptibleCall()
        if is_interruptible and self._patience_s < math.inf:
            loop = asyncio.get_running_loop()
            self._patience = loop.call_later(self._patience_s, self._interrupt, loop, call, 1)
        try:
            threading.Thread(target=call.run, args=(work,), name=f"{what} {self._name}", daemon=True).start()
        except RuntimeError as error:  # Python's word for the limit of tasks, or no memory for a stack
            self.end()
            raise LinkTimeout(f"{self._name}: no thread for {what}: {error}") from error

    def end(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._under_way = ""
        self._idle.set()

    def _interrupt(self, loop: asyncio.AbstractEventLoop, call: InterruptibleCall, count: int) -> None:
        if count == 1:
            _logger.warning("call hangs in the operating system and is interrupted", extra={"link": self._name, "call": self._under_way})
        call.interrupt()
        if count < MAX_INTERRUPTS:
            self._patience = loop.call_later(INTERRUPT_EVERY_S, self._interrupt, loop, call, count + 1)


class _Answer(Generic[T]):
    """The way of one call's result from its thread to the task that waits, or to undo when no task waits any more."""

    def __init__(self, calls: BlockingCalls, call: Callable[[], T], undo: Callable[[T], object] | None) -> None:
        self._calls = calls
        self._call = call
        self._undo = undo
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[T] = self._loop.create_future()
        self._is_taken = False

    def work(self) -> None:
        """In the thread."""
        try:
            value = self._call()
        except Exception as error:  # not handled here: carried over to the task that waits
            self._on_loop(functools.partial(self._fail, error))
        else:
            if not self._on_loop(functools.partial(self._succeed, value)) and self._undo is not None:
                self._undo(value)

    async def take(self) -> T:
        value = await self._future
        self._is_taken = True
        return value

    def abandon(self) -> None:
        """The waiting task goes. A result that came but never reached it (it was cancelled in the same turn of the loop) is undone."""
        if not self._is_taken and not self._future.cancel() and not self._future.cancelled() and self._future.exception() is None:
            self._take_back(self._future.result())

    def _on_loop(self, arrive: Callable[[], None]) -> bool:
        try:
            self._loop.call_soon_threadsafe(arrive)
        except RuntimeError:  # the loop was closed meanwhile
            return False
        return True

    def _succeed(self, value: T) -> None:
        self._calls.end()
        if self._future.done():
            self._take_back(value)
        else:
            self._future.set_result(value)

    def _fail(self, error: Exception) -> None:
        self._calls.end()
        if not self._future.done():
            self._future.set_exception(error)

    def _take_back(self, value: T) -> None:
        undo = self._undo
        if undo is None:
            return

        def work() -> None:
            try:
                undo(value)
            finally:
                self._on_loop(self._calls.end)

        self._calls.begin("giving back", work, is_interruptible=True)

"""Calls into the operating system that may hang, kept off the event loop and bounded in time.

A tty can take 30 s to close and some drivers never answer an ioctl. No thread can be killed, so a call that misses its deadline is left
behind; its port takes no other call until it returned. Threads are daemons: a hung call must not hold up the end of the process.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio

from transports.errors import LinkTimeout

T = TypeVar("T")


class BlockingCalls:
    """The blocking calls of one port, one at a time, each in a thread of its own so that no port waits for another one's."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._under_way = ""

    async def run(self, what: str, call: Callable[[], T], *, deadline_s: float, undo: Callable[[T], object] | None = None) -> T:
        """What call returns or raises. Raises LinkTimeout after deadline_s, and at once while an earlier call still hangs.

        After a time-out or a cancellation the call goes on alone; undo then gets what it returns, in a thread.
        """
        if self._under_way:
            raise LinkTimeout(f"{self._name}: the operating system still has not ended an earlier {self._under_way}")
        answer = _Answer(asyncio.get_running_loop(), call, undo, self._ended)
        self._under_way = what
        _start_thread(f"{what} {self._name}", answer.work)
        try:
            with anyio.move_on_after(deadline_s):
                return await answer.take()
            raise LinkTimeout(f"{self._name}: {what} did not end within {deadline_s:g} s")
        finally:
            answer.abandon()

    def _ended(self) -> None:
        self._under_way = ""


class _Answer(Generic[T]):
    """The way of one call's result from its thread to the task that waits, or to undo when no task waits any more."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, call: Callable[[], T], undo: Callable[[T], object] | None, ended: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._call = call
        self._undo = undo
        self._ended = ended
        self._future: asyncio.Future[T] = loop.create_future()
        self._is_taken = False

    def work(self) -> None:
        """In the thread."""
        try:
            value = self._call()
        except Exception as error:  # not handled here: carried over to the task that waits
            self._report(functools.partial(self._fail, error))
        else:
            if not self._report(functools.partial(self._succeed, value)) and self._undo is not None:
                self._undo(value)

    async def take(self) -> T:
        value = await self._future
        self._is_taken = True
        return value

    def abandon(self) -> None:
        """The waiting task goes. A result that came but never reached it (it was cancelled in the same turn of the loop) is undone."""
        if not self._is_taken and not self._future.cancel() and not self._future.cancelled() and self._future.exception() is None:
            self._start_undo(self._future.result())

    def _report(self, arrive: Callable[[], None]) -> bool:
        try:
            self._loop.call_soon_threadsafe(arrive)
        except RuntimeError:  # the loop was closed meanwhile
            return False
        return True

    def _succeed(self, value: T) -> None:
        self._ended()
        if self._future.done():
            self._start_undo(value)
        else:
            self._future.set_result(value)

    def _fail(self, error: Exception) -> None:
        self._ended()
        if not self._future.done():
            self._future.set_exception(error)

    def _start_undo(self, value: T) -> None:
        undo = self._undo
        if undo is not None:
            _start_thread("undo", lambda: undo(value))


def _start_thread(name: str, target: Callable[[], object]) -> None:
    threading.Thread(target=target, name=name, daemon=True).start()

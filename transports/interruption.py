"""Getting a thread out of a system call that hangs: a signal to that thread makes the call return at once.

A tty's close waits up to 30 s for bytes that a stuck device never takes, even when the device is unplugged meanwhile, and all hotplug of
its USB hub waits with it. No thread can be killed, but that wait ends at a signal. Calls that Python itself begins anew after a signal
(open, read, write) go on hanging; nothing is done to them.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

SIGNAL: Final = signal.SIGRTMIN + 5
"""Nobody sends it by habit. It needs a handler, or it would end the process; the handler does nothing."""


def prepare() -> bool:
    """Install the handler; False outside the main thread, and where the program uses the signal itself: then nothing is interrupted."""
    if signal.getsignal(SIGNAL) is _wake:
        return True
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(SIGNAL) is not signal.SIG_DFL:
        return False
    signal.signal(SIGNAL, _wake)
    return True


class InterruptibleCall:
    """One call in one thread, which any other thread may interrupt while it runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        """Held while a signal is sent: a thread that has ended must not get one."""
        self._thread: int | None = None

    def run(self, call: Callable[[], T]) -> T:
        """In the thread: what call returns or raises."""
        with self._lock:
            self._thread = threading.get_ident()
        try:
            return call()
        finally:
            with self._lock:
                self._thread = None

    def interrupt(self) -> None:
        """From another thread, after prepare(). The call may be between two system calls just now: do it again while it runs."""
        with self._lock:
            if self._thread is not None:
                signal.pthread_kill(self._thread, SIGNAL)


def _wake(_number: int, _frame: object) -> None:
    """The signal itself has done it."""

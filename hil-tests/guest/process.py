"""A process in the guest, seen from the machine: its output, its input, its end, and calls into it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from guest.messages import Call, Decoder, Input, Raised, Returned, Signal, encode

T = TypeVar("T")

TIMEOUT_S: Final = 60.0
"""For one step: the guest is an emulation, 30 times slower than the machine, and that may be busy."""


class GuestError(Exception):
    """Something in the guest did not go as asked; the message has what the process said."""


class GuestProcess:
    """Made by Guest. The channel's thread tells of it, tests ask it. explain_silence: what else is known when it says nothing."""

    def __init__(self, name: str, number: int, send: Callable[[object], None], explain_silence: Callable[[], str]) -> None:
        self.name = name
        self.exit_code: int | None = None
        self._number = number
        self._send = send
        self._explain_silence = explain_silence
        self._output = bytearray()
        self._answers = Decoder()
        self._answered: list[Returned | Raised] = []
        self._pending: Call | None = None
        self._changed = threading.Condition()

    # -- for the channel

    def said(self, data: bytes) -> None:
        with self._changed:
            self._output += data
            self._changed.notify_all()

    def answered(self, data: bytes) -> None:
        with self._changed:
            self._answered += self._answers.receive_data(data)
            self._changed.notify_all()

    def ended(self, exit_code: int) -> None:
        with self._changed:
            self.exit_code = exit_code
            self._changed.notify_all()

    # -- for tests

    @property
    def output(self) -> str:
        """What it has said so far, stdout and stderr together."""
        with self._changed:
            return self._output.decode(errors="replace")

    @property
    def is_running(self) -> bool:
        return self.exit_code is None

    def write(self, text: str) -> None:
        """To its stdin."""
        self._send(Input(self._number, text.encode()))

    def end_input(self) -> None:
        self._send(Input(self._number, b""))

    def send_signal(self, number: signal.Signals) -> None:
        """To it and its children. Without effect when it has ended."""
        self._send(Signal(self._number, number))

    def wait(self, timeout_s: float = TIMEOUT_S) -> int:
        """Its exit code; -N when signal N ended it. Raises GuestError."""
        self._await(lambda: not self.is_running, "did not end", timeout_s)
        assert self.exit_code is not None
        return self.exit_code

    def wait_for(self, text: str, timeout_s: float = TIMEOUT_S) -> None:
        """Until it has said text. Raises GuestError, also when it ends without."""
        self._await(lambda: text.encode() in self._output or not self.is_running, f"did not say {text!r}", timeout_s)
        if text not in self.output:
            raise GuestError(f"{self.name} ended ({self.exit_code}) and did not say {text!r}\n{self.output}")

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = TIMEOUT_S) -> int:
        """Send the signal and wait for the end, with SIGKILL after the time-out."""
        self.send_signal(number)
        try:
            return self.wait(timeout_s)
        except GuestError:
            self.send_signal(signal.SIGKILL)
            return self.wait()

    # -- when it serves calls

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """What function(*args) returns there; what it raises is raised here, with the guest's trace as a note.

        The function goes by name: it is one of a module that the guest can import, not of a test.
        """
        self.begin(function, *args)
        return cast("T", self.answer())

    def keep(self, make: Callable[..., T], *args: Any) -> T:
        """What make(*args) returns stays there, one such object in a process; its methods can be called here as if it were ours.

        They take no keyword arguments. For those that take their time there is begin("name", ...).
        """
        self.begin(make, *args, keeps=True)
        self.answer()
        return cast("T", _Kept(self))

    def begin(self, function: Callable[..., Any] | str, *args: Any, keeps: bool = False) -> None:
        """A call whose answer is taken later."""
        assert self._pending is None, f"{self.name} has not answered {self._pending}"
        self._pending = Call(function, args, keeps)
        self._send(Input(self._number, encode(self._pending)))

    def answer(self, timeout_s: float = TIMEOUT_S) -> Any:
        """What the call that was begun returns or raises."""
        self._await(lambda: bool(self._answered) or not self.is_running, f"did not answer {self._pending}", timeout_s)
        pending, self._pending = self._pending, None
        if not self._answered:
            raise GuestError(f"{self.name} ended ({self.exit_code}) in {pending}\n{self.output}")
        match self._answered.pop():
            case Returned(value):
                return value
            case Raised(error, trace):
                raised = error or GuestError(f"{pending} raised what cannot travel")
                raised.add_note(f"in the guest:\n{trace}")
                raise raised

    @property
    def has_answered(self) -> bool:
        with self._changed:
            return bool(self._answered)

    def _await(self, holds: Callable[[], bool], failure: str, timeout_s: float) -> None:
        with self._changed:
            if self._changed.wait_for(holds, timeout_s):
                return
        raise GuestError(f"{self.name} {failure} within {timeout_s:g} s; {self._explain_silence()}\n{self.output}")


class _Kept:
    """Stands for the object that a process keeps."""

    def __init__(self, process: GuestProcess) -> None:
        self._process = process

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self._process.begin(name, *args)
            return self._process.answer()

        return call

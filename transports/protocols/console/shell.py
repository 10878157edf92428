"""`profile: shell`: a POSIX shell at the far end, perhaps behind a login. Pure.

A run is woken, logged in if it must be, typed line by line, each after a prompt, and runs between two marks that the shell prints: what is
between them is its log, and the second has its exit code. Only then a prompt means anything again. ^C takes the second mark away too, so
after it, and after bytes were missed, the shell is asked for its status. What is typed is never logged: it holds the environment.
"""

from __future__ import annotations

import enum
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from transports.protocol import ExitReason, StartWorkload
from transports.protocols.console.pattern import Pattern, without_colours
from transports.protocols.console.profile import Act, Begin, End, Log, Refuse, Send
from transports.protocols.console.redactor import Redactor
from transports.protocols.console.typed import Untypable, mark, question, script, typed_lines
from transports.wire.numbers import Code

SILENCE_S: Final = 0.1
"""After so long an unfinished line is a question: a prompt, a login."""
RETRY_S: Final = 2.0
"""Between two attempts to wake a shell."""
ECHO_S: Final = 5.0
"""How long a shell may take for a typed line."""
LOST_S: Final = 2.0
"""A prompt that stays for so long says that the mark of the end was lost on the line."""
MAX_TAIL_BYTES: Final = 512
"""Of an unfinished line: no prompt is longer."""
INTERRUPT: Final = b"\x03"
QUIT: Final = b"\x1c"
END_OF_INPUT: Final = b"\x04"
WITH_INPUT: Final = "i"
"""At the end of the state of a run that reads the console; no nonce ends so."""
KILLED_CODE: Final = 137

_NEWLINES: Final = b"\r\n"


@dataclass(frozen=True, slots=True)
class LoginStep:
    """What the far end asks, and what is answered; a secret answer is shown nowhere."""

    expect: Pattern
    answer: bytes
    is_secret: bool


class _Phase(enum.Enum):
    IDLE = enum.auto()
    WAKING = enum.auto()
    """A prompt is awaited, with logins on the way."""
    TYPING = enum.auto()
    BEGINNING = enum.auto()
    """The script was sent; its first mark is awaited."""
    RUNNING = enum.auto()


class ShellProfile:
    """See transports.protocols.console.profile.Profile. prompts are what a prompt ends with."""

    name = "shell"

    def __init__(self, prompts: Sequence[str], login: Sequence[LoginStep], start_deadline_s: float, rng: random.Random, state: str) -> None:
        self._prompts = tuple(prompt.encode() for prompt in prompts)
        self._login = tuple(login)
        self._start_deadline_s = start_deadline_s
        self._rng = rng
        self._nonce = state.removesuffix(WITH_INPUT)
        self._has_input = state.endswith(WITH_INPUT)
        """The run reads what is typed: nothing is asked of the shell while it may be the run that answers."""
        self._phase = _Phase.RUNNING if state else _Phase.IDLE
        self._steps: list[LoginStep] = []
        """Of the login, those that may still come."""
        self._redactor = Redactor(())
        self._to_type: list[str] = []
        self._tail = b""
        """The unfinished line, as far as it can be a prompt."""
        self._held = b""
        """Of the output: it may be the begin of a mark."""
        self._is_echo = False
        """Up to the end of this line the console repeats what was typed."""
        self._is_asked = False
        """The shell shall be asked for the status at the next prompt."""
        self._missed = False
        """Bytes of the run were missed."""
        self._silent_at: float | None = None
        self._ask_at: float | None = None
        """When a prompt in the midst of a run has stayed for LOST_S."""
        self._retry_at: float | None = None
        self._give_up_at: float | None = None
        self._urgent: list[tuple[float, bytes]] = []
        """Keys of a stop that are still to be pressed, and when."""

    @property
    def state(self) -> str:
        if self._phase not in (_Phase.BEGINNING, _Phase.RUNNING):
            return ""
        return self._nonce + (WITH_INPUT if self._has_input else "")

    def forget(self) -> None:
        self._phase = _Phase.IDLE
        self._nonce, self._tail, self._held = "", b"", b""
        self._steps, self._to_type, self._urgent = [], [], []
        self._is_echo = self._is_asked = self._missed = False
        self._silent_at = self._ask_at = self._retry_at = self._give_up_at = None

    # -- a run begins

    def start(self, request: StartWorkload, now: float) -> Sequence[Act]:
        if not request.args:
            return (Refuse(Code.INVALID, "a console with profile shell runs a command: the container has none"),)
        self._nonce = f"{self._rng.getrandbits(32):08x}"
        self._has_input = request.stdin
        try:
            self._to_type = typed_lines(script(request.args, request.env, self._nonce, has_input=request.stdin))
        except Untypable as error:
            return (Refuse(Code.INVALID, str(error)),)
        self._phase = _Phase.WAKING
        self._steps = list(self._login)
        self._redactor = Redactor(step.answer for step in self._login if step.is_secret)
        self._tail = b""
        self._give_up_at = now + self._start_deadline_s
        self._retry_at = now + RETRY_S
        return (Send(b"\r"),)

    def _wake(self, now: float) -> Sequence[Act]:
        """The console is silent in the midst of a line."""
        if self._is_prompt():
            self._phase, self._retry_at = _Phase.TYPING, None
            return (*self._rest(), *self._type(now))
        plain = without_colours(self._tail)
        for number, step in enumerate(self._steps):
            if step.expect.matches(plain):
                del self._steps[: number + 1]
                self._tail, self._retry_at = b"", None
                return (Send(step.answer + b"\r"),)
        return ()

    def _type(self, now: float) -> Sequence[Act]:
        line, self._tail = self._to_type.pop(0), b""
        self._give_up_at, self._is_echo = now + ECHO_S, True
        typed = Send(line.encode() + b"\r")
        if self._to_type:
            return (typed,)
        self._phase = _Phase.BEGINNING
        return (Begin(), typed)

    def _rest(self) -> Sequence[Act]:
        rest = self._redactor.end()
        return (Log(rest),) if rest else ()

    # -- what the console says

    def feed(self, data: bytes, now: float) -> Sequence[Act]:
        self._silent_at, self._ask_at = now + SILENCE_S, None
        if self._phase is _Phase.RUNNING:
            return self._run(data, now)
        self._tail = _unfinished(self._tail + data)
        match self._phase:
            case _Phase.IDLE:
                return (Log(data),)
            case _Phase.WAKING:
                shown = self._redactor.feed(data)
                return (Log(shown),) if shown else ()
            case _Phase.TYPING:
                self._is_echo = self._is_echo and b"\n" not in data
                return self._type(now) if not self._is_echo and self._is_prompt() else ()
            case _:
                return self._begin(data, now)

    def _begin(self, data: bytes, now: float) -> Sequence[Act]:
        self._held += data
        _, found, output = self._held.partition(mark("B", self._nonce))
        if not found:
            self._held = self._held[-len(mark("B", self._nonce)) :]
            return ()
        self._phase, self._give_up_at, self._held = _Phase.RUNNING, None, b""
        self._is_echo = True  # the end of the mark's own line
        return self._run(output, now)

    def _run(self, data: bytes, now: float) -> Sequence[Act]:
        if self._is_echo:
            _, found, data = data.partition(b"\n")
            if not found:
                return ()
            self._is_echo = False
        output = self._held + data
        end = re.search(rb"(?:\r?\n)?" + re.escape(mark("E", self._nonce)) + rb":(\d{1,3})\r?\n", output)
        if end is not None:
            return (*_log(output[: end.start()]), self._ended(int(end[1])), *_log(output[end.end() :]))
        held = _may_be_mark(output, mark("E", self._nonce))
        self._held = output[len(output) - held :]
        self._tail = _unfinished(self._tail + data)
        return _log(output[: len(output) - held])

    def _ended(self, exit_code: int) -> Act:
        return End(exit_code, ExitReason.ERROR if exit_code else ExitReason.COMPLETED)

    def takes_input(self) -> bool:
        return self._phase is _Phase.RUNNING and not self._is_asked and self._ask_at is None

    def input_end(self) -> bytes:
        return END_OF_INPUT

    # -- a run ends, or shall

    def stop(self, grace_s: float, now: float) -> Sequence[Act]:
        self._urgent = [(now + grace_s / 2, INTERRUPT), (now + grace_s, QUIT)]
        self._is_asked = True
        return (Send(INTERRUPT),)

    def resume(self, now: float) -> Sequence[Act]:
        """The end may have come while nobody listened. A shell that is busy reads the question when it is not."""
        self._phase, self._give_up_at, self._is_echo = _Phase.RUNNING, None, False
        self._missed, self._held, self._tail = True, b"", b""
        if self._has_input:
            return (Send(b"\r"),)  # a shell shows its prompt again; to a program it is an empty line
        return (Send(question(self._nonce).encode() + b"\r"),)

    def _ask(self) -> Sequence[Act]:
        """At a prompt: what is typed is all that is repeated in this line."""
        is_stopped = self._is_asked
        self._is_asked, self._is_echo, self._tail = False, True, b""
        return (Send(question(self._nonce, only_ended=self._has_input and not is_stopped).encode() + b"\r"),)

    # -- time

    def next_deadline(self) -> float | None:
        urgent = self._urgent[0][0] if self._urgent else None
        return min((at for at in (self._silent_at, self._ask_at, self._retry_at, self._give_up_at, urgent) if at is not None), default=None)

    def handle_deadline(self, now: float) -> Sequence[Act]:
        acts: list[Act] = []
        if self._silent_at is not None and self._silent_at <= now:
            self._silent_at = None
            acts += self._silent(now)
        if self._ask_at is not None and self._ask_at <= now:
            self._ask_at = None
            acts += self._ask()
        if self._urgent and self._urgent[0][0] <= now:
            acts.append(Send(self._urgent.pop(0)[1]))
            self._is_asked = True
        if self._retry_at is not None and self._retry_at <= now:
            self._retry_at = now + RETRY_S
            acts.append(Send(INTERRUPT + b"\r"))
        if self._give_up_at is not None and self._give_up_at <= now:
            acts += self._give_up()
        return acts

    def _silent(self, now: float) -> Sequence[Act]:
        if self._phase is _Phase.WAKING:
            return self._wake(now)
        if self._phase is not _Phase.RUNNING:
            return ()
        acts: list[Act] = []
        if self._held.strip(_NEWLINES) == b"":
            acts += _log(self._held)
            self._held = b""
        if self._is_prompt() and (self._is_asked or self._missed or not self._has_input):
            self._ask_at = now if self._is_asked else now + LOST_S
        elif (self._missed or self._is_asked) and self._login and self._login[0].expect.matches(without_colours(self._tail)):
            acts.append(End(KILLED_CODE, ExitReason.LINK_LOSS, "the console asks for a login: the session has ended"))
        return acts

    def _give_up(self) -> Sequence[Act]:
        phase, self._give_up_at = self._phase, None
        if phase is _Phase.BEGINNING:
            return (End(128, ExitReason.START_FAILED, "the shell did not run the command"),)
        rest = self._rest()
        if phase is _Phase.WAKING:
            return (*rest, Refuse(Code.INTERNAL, f"no prompt of a shell within {self._start_deadline_s:g} s"))
        return (*rest, Refuse(Code.INTERNAL, "the shell stopped answering while its command was typed"))

    def _is_prompt(self) -> bool:
        return without_colours(self._tail).endswith(self._prompts)


def _log(data: bytes) -> Sequence[Act]:
    return (Log(data),) if data else ()


def _unfinished(text: bytes) -> bytes:
    return text.rpartition(b"\n")[2][-MAX_TAIL_BYTES:]


def _may_be_mark(output: bytes, end: bytes) -> int:
    """How many bytes at the end of output may belong to the mark of the end, or to the line end before it."""
    most = min(len(output), len(end) + len(b"\r\n:255\r"))
    return next((size for size in range(most, 0, -1) if _begins_mark(output[-size:], end)), 0)


def _begins_mark(text: bytes, end: bytes) -> bool:
    rest = text[2:] if text.startswith(b"\r\n") else text.removeprefix(b"\n")
    is_status = rest.startswith(end) and re.fullmatch(rb":?\d{0,3}\r?", rest[len(end) :]) is not None
    return text == b"\r" or end.startswith(rest) or is_status

"""`profile: micropython`: a REPL at the far end, used in its raw mode. Pure.

Raw mode repeats nothing: a script ends with ^D, and OK, the output, ^D, the traceback, ^D and > come back (docs.micropython.org, "The raw
REPL"). A byte 04 in the output ends it for us too. What runs on the board when a pod comes is interrupted.

Nothing holds a sender back, so a script goes in statements that are small enough, each after the answer to the one before. Pauses in their
place lost bytes on a busy board.
"""

from __future__ import annotations

import enum
import random
import re
from collections.abc import Sequence
from typing import Final

from transports.protocol import ExitReason, StartWorkload
from transports.protocols.console.profile import Act, Begin, End, Log, Refuse, Restarted, Send
from transports.protocols.console.python_script import RUN, mark, script, statements
from transports.protocols.console.typed import Untypable
from transports.wire.numbers import Code

SILENCE_S: Final = 0.1
RETRY_S: Final = 2.0
"""Between two attempts to wake a REPL."""
OK_S: Final = 5.0
"""For the OK, which comes before anything is compiled."""
MAX_TRACEBACK_BYTES: Final = 4096
"""Of a longer one the begin is logged as it comes."""
RAW: Final = b"\x01"
FRIENDLY: Final = b"\x02"
INTERRUPT: Final = b"\x03"
END: Final = b"\x04"
BANNER: Final = b"raw REPL; CTRL-B to exit\r\n>"
PROMPT: Final = b"\r\n>>> "
DONE: Final = b"OK\x04\x04>"
"""A statement was executed and said nothing."""

_KILLED_CODE: Final = 137
_INTERRUPTED_CODE: Final = 130


class _Phase(enum.Enum):
    IDLE = ""
    INTERRUPTING = "i"
    ENTERING = "r"
    """Raw mode is awaited."""
    SENDING = "s"
    SENT = "k"
    """OK is awaited."""
    OUTPUT = "o"
    TRACEBACK = "t"


_BEGUN: Final = (_Phase.SENT, _Phase.OUTPUT, _Phase.TRACEBACK)


class MicroPythonProfile:
    """See transports.protocols.console.profile.Profile."""

    name = "micropython"

    def __init__(self, start_deadline_s: float, rng: random.Random, state: str) -> None:
        self._start_deadline_s = start_deadline_s
        self._rng = rng
        phase, self._nonce = (state[:1], state[1:]) if state else ("", "")
        self._phase = _Phase(phase)
        self._statements: list[bytes] = []
        """Still to be executed before the run begins."""
        self._tail = b""
        """The last bytes, as far as a banner, a prompt or a traceback may be in them."""
        self._missed = False
        """Bytes of the run were missed: it may have ended meanwhile."""
        self._silent_at: float | None = None
        self._retry_at: float | None = None
        self._give_up_at: float | None = None
        self._urgent: list[float] = []
        """When ^C is pressed again."""

    @property
    def state(self) -> str:
        return f"{self._phase.value}{self._nonce}" if self._phase in _BEGUN else ""

    def forget(self) -> None:
        self._phase, self._nonce = _Phase.IDLE, ""
        self._statements, self._tail = [], b""
        self._urgent, self._missed = [], False
        self._silent_at = self._retry_at = self._give_up_at = None

    # -- a run begins

    def start(self, request: StartWorkload, now: float) -> Sequence[Act]:
        self._nonce = f"{self._rng.getrandbits(32):08x}"
        try:
            self._statements = statements(script(request.args, request.env, self._nonce))
        except Untypable as error:
            return (Refuse(Code.INVALID, str(error)),)
        self._phase, self._tail = _Phase.INTERRUPTING, b""
        self._give_up_at = now + self._start_deadline_s
        self._retry_at, self._silent_at = now + RETRY_S, now + SILENCE_S
        return (Send(b"\r" + INTERRUPT + INTERRUPT),)

    def _execute(self, now: float) -> Sequence[Act]:
        self._tail = b""
        if self._statements:
            return (Send(self._statements.pop(0) + END),)
        self._phase, self._give_up_at = _Phase.SENT, now + OK_S
        return (Begin(), Send(RUN + END))

    def _take_answer(self, data: bytes, now: float) -> Sequence[Act]:
        self._tail += data
        if self._tail == DONE:
            return self._execute(now)
        if DONE.startswith(self._tail) or (self._tail.count(END) < len(b"\x04\x04") and len(self._tail) < MAX_TRACEBACK_BYTES):
            return ()
        text = self._tail.removeprefix(b"OK").strip(b"\x04>\r\n").decode("utf-8", "replace")
        last = text.splitlines()[-1] if text else "it says nothing"
        return (Log(self._tail), Send(FRIENDLY), Refuse(Code.INTERNAL, f"the REPL does not take the script: {last[:200]}"))

    # -- what the console says

    def feed(self, data: bytes, now: float) -> Sequence[Act]:
        self._silent_at = now + SILENCE_S
        match self._phase:
            case _Phase.ENTERING:
                self._tail = (self._tail + data)[-len(BANNER) :]
                if self._tail != BANNER:
                    return (Log(data),)
                self._phase, self._retry_at = _Phase.SENDING, None
                return (Log(data), *self._execute(now))
            case _Phase.SENDING:
                return self._take_answer(data, now)
            case _Phase.SENT:
                return self._take_ok(data)
            case _Phase.OUTPUT:
                return self._take_output(data)
            case _Phase.TRACEBACK:
                return self._take_traceback(data)
            case _:
                return (Log(data),)

    def _take_ok(self, data: bytes) -> Sequence[Act]:
        self._tail += data
        if len(self._tail) < len(b"OK"):
            return ()
        said, self._tail = self._tail, b""
        self._phase, self._give_up_at = _Phase.OUTPUT, None
        return self._take_output(said.removeprefix(b"OK"))

    def _take_output(self, data: bytes) -> Sequence[Act]:
        output, ended, rest = data.partition(END)
        seen, self._tail = self._tail + output, (self._tail + output)[-len(BANNER) :]
        logged: Sequence[Act] = (Log(output),) if output else ()
        if self._missed and BANNER in seen:
            told = "it ended while nobody was listening, and nobody knows how"
            return (*logged, End(_KILLED_CODE, ExitReason.LINK_LOSS, told), Send(FRIENDLY))
        if not ended:
            return logged
        self._phase, self._tail = _Phase.TRACEBACK, b""
        return (*logged, *self._take_traceback(rest))

    def _take_traceback(self, data: bytes) -> Sequence[Act]:
        text, ended, rest = (self._tail + data).partition(END)
        if not ended:
            shown, self._tail = text[:-MAX_TRACEBACK_BYTES], text[-MAX_TRACEBACK_BYTES:]
            return (Log(shown, is_error=True),) if shown else ()
        lines = text.decode("utf-8", "replace").splitlines()
        last = lines[-1] if lines else ""
        told = re.fullmatch(rf"Exception: {mark(self._nonce)}([0-9]{{1,3}})", last)
        after: list[Act] = [Send(FRIENDLY), *([Log(rest.removeprefix(b">"))] if rest.removeprefix(b">") else [])]
        if told is not None:
            return (End(int(told[1]), ExitReason.ERROR), *after)
        if not text:
            return (End(0), *after)
        code = _INTERRUPTED_CODE if last.startswith("KeyboardInterrupt") else 1
        return (Log(text, is_error=True), End(code, ExitReason.ERROR, last), *after)

    def takes_input(self) -> bool:
        return self._phase is _Phase.OUTPUT

    def input_end(self) -> bytes:
        return b""

    # -- a run ends, or shall

    def stop(self, grace_s: float, now: float) -> Sequence[Act]:
        self._urgent = [now + grace_s / 2, now + grace_s]
        return (Send(INTERRUPT),)

    def resume(self, now: float) -> Sequence[Act]:
        """A REPL answers with its banner; a program that goes on leaves the byte for the REPL, which then has told the end before."""
        self._missed = True
        if self._phase is _Phase.SENT:
            self._phase, self._give_up_at = _Phase.OUTPUT, None
        return (Send(RAW),)

    # -- time

    def next_deadline(self) -> float | None:
        urgent = self._urgent[0] if self._urgent else None
        at = (self._silent_at, self._retry_at, self._give_up_at, urgent)
        return min((each for each in at if each is not None), default=None)

    def handle_deadline(self, now: float) -> Sequence[Act]:
        acts: list[Act] = []
        if self._silent_at is not None and self._silent_at <= now:
            self._silent_at = None
            acts += self._silent()
        if self._urgent and self._urgent[0] <= now:
            del self._urgent[0]
            acts.append(Send(INTERRUPT))
        if self._retry_at is not None and self._retry_at <= now:
            self._phase, self._tail = _Phase.INTERRUPTING, b""
            self._retry_at, self._silent_at = now + RETRY_S, now + SILENCE_S
            acts.append(Send(b"\r" + INTERRUPT + INTERRUPT))
        if self._give_up_at is not None and self._give_up_at <= now:
            acts.append(self._give_up())
        return acts

    def _silent(self) -> Sequence[Act]:
        if self._phase is _Phase.INTERRUPTING:
            self._phase = _Phase.ENTERING
            return (Send(RAW),)
        if self._phase is _Phase.OUTPUT and self._tail.endswith(PROMPT):
            return (Restarted(),)
        return ()

    def _give_up(self) -> Act:
        phase, self._give_up_at = self._phase, None
        if phase is _Phase.SENT:
            return End(128, ExitReason.START_FAILED, "the REPL did not take the script")
        return Refuse(Code.INTERNAL, f"no REPL of MicroPython within {self._start_deadline_s:g} s")

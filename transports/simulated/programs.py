"""The programs that a simulated device holds: small state objects with time as data, as a firmware's main loop would poll them.

A program writes lines through `write`, which answers False when the device's log has no room, and returns what it waits for. It knows no
slots, no wire and no clock. A wrong argument is a line on stderr and exit code 2, as with any command.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from transports.protocol import ExitReason
from transports.simulated.outcomes import Blocked, Exited, Outcome, ResetDevice, Wait, Write
from transports.simulated.readers import Copier, Input, Ruler

USAGE_CODE: Final = 2
PANIC_CODE: Final = 134
"""128 + SIGABRT, what a shell shows for an abort."""
PANIC_SIGNAL: Final = 6
FIREHOSE_LINE_BYTES: Final = 80
REBOOT_DELAY_S: Final = 0.2
"""So that the answer to START and the last line leave the device first."""
MAX_RATE_HZ: Final = 1e6
MAX_LINES_PER_POLL: Final = 4096
"""After a long stall the other slots of the device get their turn."""

MAX_DIGITS: Final = 15

_PATTERN: Final = b"abcdefghijklmnopqrstuvwxyz0123456789" * 3


@dataclass(frozen=True, slots=True)
class Invocation:
    """What START says, as far as a program can see it."""

    name: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    board: str = "sim"
    stdin: Input | None = None
    """None: nobody can ever say anything to it."""
    size: Callable[[], tuple[int, int] | None] = lambda: None
    """(columns, rows) of its terminal, now."""


class Program(Protocol):
    drops: ClassVar[bool]
    """A line that finds no room is lost and counted, where other programs wait."""

    def poll(self, now: float, write: Write) -> Outcome: ...

    def stop(self, now: float) -> bool:
        """Asked to end: True if it does so at once."""
        ...


def exited(code: int) -> Exited:
    return Exited(code, ExitReason.COMPLETED if code == 0 else ExitReason.ERROR)


class _Obedient:
    """Ends as soon as it is asked."""

    drops: ClassVar[bool] = False

    def stop(self, now: float) -> bool:
        return True


class Printer(_Obedient):
    """Writes its lines, waiting for room, and then has one outcome for ever."""

    def __init__(self, lines: Iterable[str], then: Outcome, *, stderr: bool = False) -> None:
        self._lines = [line.encode() for text in lines for line in text.split("\n")]
        self._at = 0
        self._then = then
        self._stderr = stderr

    def poll(self, now: float, write: Write) -> Outcome:
        while self._at < len(self._lines):
            if not write(self._lines[self._at], stderr=self._stderr):
                return Blocked()
            self._at += 1
        return self._then


class Sleeper(_Obedient):
    """Waits, then has one outcome."""

    def __init__(self, duration_s: float, then: Outcome, first: Program | None = None) -> None:
        self._duration_s = duration_s
        self._then = then
        self._first = first
        self._until: float | None = None

    def poll(self, now: float, write: Write) -> Outcome:
        if self._first is not None and isinstance(outcome := self._first.poll(now, write), Blocked):
            return outcome
        if self._until is None:
            self._until = now + self._duration_s
        return self._then if now >= self._until else Wait(self._until)


class Counter(_Obedient):
    """1, 2, 3 at a steady rate, whether or not anybody keeps up."""

    drops: ClassVar[bool] = True

    def __init__(self, rate_hz: float, count: int | None) -> None:
        self._rate_hz = rate_hz
        self._count = count
        self._begin: float | None = None
        self._done = 0

    def poll(self, now: float, write: Write) -> Outcome:
        if self._begin is None:
            self._begin = now
        due = math.floor((now - self._begin) * self._rate_hz + 1e-6) + 1
        if self._count is not None:
            due = min(due, self._count)
        due = min(due, self._done + MAX_LINES_PER_POLL)
        while self._done < due:
            self._done += 1
            write(b"%d" % self._done)
        if self._done == self._count:
            return exited(0)
        return Wait(self._begin + self._done / self._rate_hz)


class Firehose(_Obedient):
    """Numbered lines as fast as there is room."""

    def __init__(self, count: int | None) -> None:
        self._count = count
        self._done = 0

    def poll(self, now: float, write: Write) -> Outcome:
        for _ in range(MAX_LINES_PER_POLL):
            if self._done == self._count:
                return exited(0)
            number = b"%010d " % (self._done + 1)
            if not write((number + _PATTERN)[:FIREHOSE_LINE_BYTES]):
                return Blocked()
            self._done += 1
        return Wait(now)


class Stubborn(Printer):
    """Does not end when asked; the device ends it after the grace period."""

    def __init__(self) -> None:
        super().__init__(["stubborn: only a kill ends me"], Wait())

    def stop(self, now: float) -> bool:
        return False


class Stuck(Stubborn):
    """Not even the end of the grace period ends it: interrupts are off. Only a reset of the device does."""


class _Usage(Exception):
    """A wrong argument; the text is for the log."""


def start(call: Invocation) -> Program | None:
    """The program's state, or None when the device does not hold it."""
    make = PROGRAMS.get(call.name)
    if make is None:
        return None
    try:
        return make(call)
    except _Usage as exc:
        return Printer([f"{call.name}: {exc}"], exited(USAGE_CODE), stderr=True)


def accept(call: Invocation) -> Program:
    """Stands for any program: says how it was called and stays up."""
    return Printer([shlex.join((call.name, *call.args))], Wait())


def _number(text: str, what: str, most: float) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _Usage(f"{text!r} is not {what}") from None
    if not 0 <= value <= most:
        raise _Usage(f"{text!r} is not {what} from 0 to {most:g}")
    return value


def _whole(text: str, what: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and int(text) <= most):
        raise _Usage(f"{text!r} is not {what} from 0 to {most}")
    return int(text)


def _only_argument(call: Invocation, default: str | None = None) -> str:
    match call.args:
        case (value,):
            return value
        case () if default is not None:
            return default
        case _:
            raise _Usage("takes one argument")


def _options(call: Invocation, allowed: tuple[str, ...]) -> dict[str, str]:
    """`--name VALUE` or `--name=VALUE`."""
    found: dict[str, str] = {}
    args = list(call.args)
    while args:
        name, equals, value = args.pop(0).partition("=")
        if name not in allowed:
            raise _Usage(f"{name!r} is none of {', '.join(allowed)}")
        if not equals:
            if not args:
                raise _Usage(f"{name} needs a value")
            value = args.pop(0)
        found[name] = value
    return found


def _count(options: dict[str, str]) -> int | None:
    return _whole(options["--count"], "a count", 10**12) if "--count" in options else None


def _hello(call: Invocation) -> Program:
    return Printer([f"hello from {call.board}"], Wait())


def _echo(call: Invocation) -> Program:
    return Printer([" ".join(call.args)], exited(0))


def _args(call: Invocation) -> Program:
    return Printer([json.dumps(list(call.args), ensure_ascii=False)], exited(0))


def _env(call: Invocation) -> Program:
    return Printer(sorted(call.env), exited(0))


def _cat(call: Invocation) -> Program:
    return Copier(call.stdin)


def _tee(call: Invocation) -> Program:
    return Copier(call.stdin, both=True)


def _size(call: Invocation) -> Program:
    return Ruler(call.stdin, call.size)


def _sleep(call: Invocation) -> Program:
    return Sleeper(_number(_only_argument(call), "a number of seconds", 1e9), exited(0))


def _exit(call: Invocation) -> Program:
    return Printer([], exited(_whole(_only_argument(call, "0"), "an exit code", 255)))


def _counter(call: Invocation) -> Program:
    options = _options(call, ("--rate", "--count"))
    rate_hz = _number(options.get("--rate", "1"), "a number of lines a second", MAX_RATE_HZ)
    if rate_hz == 0:
        raise _Usage("--rate must be above 0")
    return Counter(rate_hz, _count(options))


def _firehose(call: Invocation) -> Program:
    return Firehose(_count(_options(call, ("--count",))))


def _crash(call: Invocation) -> Program:
    return Printer(["panic: crash was asked for"], Exited(PANIC_CODE, ExitReason.PANIC, PANIC_SIGNAL), stderr=True)


def _reboot(call: Invocation) -> Program:
    delay_s = _number(_only_argument(call, str(REBOOT_DELAY_S)), "a number of seconds", 1e9)
    return Sleeper(delay_s, ResetDevice(), first=Printer(["rebooting"], Wait()))


PROGRAMS: Final[dict[str, Callable[[Invocation], Program]]] = {
    "args": _args,
    "cat": _cat,
    "counter": _counter,
    "crash": _crash,
    "echo": _echo,
    "env": _env,
    "exit": _exit,
    "firehose": _firehose,
    "hello": _hello,
    "reboot": _reboot,
    "size": _size,
    "sleep": _sleep,
    "stubborn": lambda call: Stubborn(),
    "stuck": lambda call: Stuck(),
    "tee": _tee,
}

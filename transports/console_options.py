"""What a configuration says of a class of consoles: `protocol: {console: {...}}`.

It holds no secret: it names the file that does. That one is read here too, so that a wrong one is told when the configuration is checked.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from transports.driver import BadOption, DurationS
from transports.protocols.console.marks import Mark, Marks
from transports.protocols.console.pattern import MAX_PATTERNS, Pattern
from transports.protocols.console.shell import LoginStep

MAX_LOGIN_STEPS: Final = 8
MAX_SECRET_BYTES: Final = 256
"""Far above what a login takes; a wrong file is not typed into a console."""
START_DEADLINE_S: Final = (1.0, 25.0)
"""The gateway waits 30 s for the answer to a start."""


_START_DEADLINE: Final = DurationS(15.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginOptions:
    """A question of the far end, and its answer: send, or the content of send_file."""

    expect: str
    send: str | None = None
    send_file: str | None = None

    def __post_init__(self) -> None:
        if (self.send is None) == (self.send_file is None):
            raise ValueError("needs exactly one of: send, sendFile")
        _compile("expect", (self.expect,))
        self.step()

    def step(self) -> LoginStep:
        """With the answer, read now. Raises BadOption."""
        if self.send_file is not None:
            return LoginStep(Pattern(self.expect), _secret(Path(self.send_file)), is_secret=True)
        return LoginStep(Pattern(self.expect), (self.send or "").encode(), is_secret=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleOptions:
    profile: Literal["raw", "shell", "micropython"] = "raw"
    ready: tuple[str, ...] = ()
    """Patterns (docs/reference/configuration.md) of a line with which the run is ready; without any it is ready at once."""
    ok: tuple[str, ...] = ()
    """The run has ended with exit code 0."""
    fail: tuple[str, ...] = ()
    """The run has ended with exit code 1."""
    reboot: tuple[str, ...] = ()
    """The line with which every boot begins."""
    panic: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ("# ", "$ ")
    """What the prompt of a shell ends with."""
    login: tuple[LoginOptions, ...] = ()
    """The questions before a prompt, in their order; each may be left out by the far end."""
    start_deadline: DurationS = _START_DEADLINE
    """For a prompt to come."""

    def __post_init__(self) -> None:
        for mark in Mark:
            _compile(mark.value, getattr(self, mark.value))
        if self.profile != "shell" and self.login:
            raise BadOption("login", "is for profile shell")
        if self.profile != "raw" and (self.ok or self.fail):
            raise BadOption("ok" if self.ok else "fail", "is for profile raw: the exit code of a command says how it went")
        if not self.prompts or not all(self.prompts):
            raise BadOption("prompts", "must be the ends of prompts such as '# '")
        if len(self.login) > MAX_LOGIN_STEPS:
            raise BadOption("login", f"must have at most {MAX_LOGIN_STEPS} steps, not {len(self.login)}")
        least, most = START_DEADLINE_S
        if not least <= self.start_deadline <= most:
            raise BadOption("start_deadline", f"must be {least:g}s to {most:g}s, not {self.start_deadline:g}s")

    @property
    def marks(self) -> Marks:
        return Marks({mark: _compile(mark.value, getattr(self, mark.value)) for mark in Mark})


def _compile(option: str, written: tuple[str, ...]) -> tuple[Pattern, ...]:
    if len(written) > MAX_PATTERNS:
        raise BadOption(option, f"must have at most {MAX_PATTERNS} patterns, not {len(written)}")
    try:
        return tuple(Pattern(each) for each in written)
    except ValueError as error:
        raise BadOption(option, str(error)) from error


def _secret(path: Path) -> bytes:
    """The first line of a file that not everybody may read. No message shows what is in it."""
    try:
        mode, text = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise BadOption("send_file", f"cannot read {path}: {error.strerror}") from error
    if mode & stat.S_IRWXO:
        raise BadOption("send_file", f"{path} can be used by everybody; chmod o= {path}")
    answer = text.removesuffix(b"\n").removesuffix(b"\r")
    if not answer or len(answer) > MAX_SECRET_BYTES or b"\n" in answer or b"\r" in answer:
        raise BadOption("send_file", f"{path} must hold one line of 1 to {MAX_SECRET_BYTES} bytes")
    return answer

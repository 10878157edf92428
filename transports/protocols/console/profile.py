"""What a profile does with a console: from bytes and time to acts of the core. Pure.

The core knows lines, patterns, offsets and runs; a profile knows what the far end is: nothing (raw), a shell, MicroPython. There is at most
one run. A profile is told of it by start(), and forgets it when it has given End or Refuse, or was told to forget.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from transports.protocol import ExitReason, StartWorkload


@dataclass(frozen=True, slots=True)
class Log:
    """What the console said, for the device's log and that of the run."""

    data: bytes
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    data: bytes


@dataclass(frozen=True, slots=True)
class Begin:
    """The run has begun, or will in a moment and cannot be held back: what is logged from now on is its output."""

    is_new_line: bool = True
    """What is unfinished in the log is not the run's."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """The run that was asked for does not begin. code is one of SPEC.md's, text for people."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class End:
    """The run has ended."""

    exit_code: int
    reason: ExitReason = ExitReason.COMPLETED
    message: str = ""


@dataclass(frozen=True, slots=True)
class Restarted:
    """The device has restarted: the run has ended, and nobody can say how."""


Act = Log | Send | Begin | Refuse | End | Restarted


class Profile(Protocol):
    @property
    def name(self) -> str:
        """What the configuration calls it: another profile's state means nothing to it."""
        ...

    def feed(self, data: bytes, now: float) -> Sequence[Act]:
        """Bytes of the console, cut anywhere. Each of them is logged, or is a part of the profile's own conversation."""
        ...

    def start(self, request: StartWorkload, now: float) -> Sequence[Act]:
        """Begin a run. There is none."""
        ...

    def takes_input(self) -> bool:
        """What a person types goes to the run now, and not into a conversation of the profile."""
        ...

    def input_end(self) -> bytes:
        """What tells the run that nothing more is typed; nothing where nothing does."""
        ...

    def stop(self, grace_s: float, now: float) -> Sequence[Act]:
        """The run, which has begun, shall end; asked again it may be more urgent."""
        ...

    def resume(self, now: float) -> Sequence[Act]:
        """The link is up again, and a run is under way that was not heard for a while."""
        ...

    def forget(self) -> None:
        """There is no run any more, and no start under way."""
        ...

    def next_deadline(self) -> float | None: ...

    def handle_deadline(self, now: float) -> Sequence[Act]: ...

    @property
    def state(self) -> str:
        """Of the run, for the profile of another process: at most MAX_STATE_CHARACTERS of ASCII."""
        ...


MAX_STATE_CHARACTERS: Final = 64
"""It stands in the checkpoint beside everything else."""

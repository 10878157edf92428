"""What a program of a simulated device waits for when it was polled, and how it writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from transports.protocol import ExitReason


@dataclass(frozen=True, slots=True)
class Wait:
    """Poll again at `until`; None: nothing will happen before a stop."""

    until: float | None = None


@dataclass(frozen=True, slots=True)
class Blocked:
    """Poll again when the log has room."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Poll again when there may be input."""


@dataclass(frozen=True, slots=True)
class Exited:
    code: int
    reason: ExitReason
    signal: int | None = None


@dataclass(frozen=True, slots=True)
class ResetDevice:
    """The whole device restarts now."""


Outcome = Wait | Blocked | Reading | Exited | ResetDevice


class Write(Protocol):
    """Append one line, or a piece of one that goes on; False: there was no room, say the same again."""

    def __call__(self, line: bytes, *, stderr: bool = False, ends_line: bool = True) -> bool: ...

"""What a configuration says of a class of consoles: `protocol: {console: {...}}`. It opens and reads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from transports.driver import BadOption
from transports.protocols.console.marks import Mark, Marks
from transports.protocols.console.pattern import MAX_PATTERNS, Pattern


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleOptions:
    profile: Literal["raw"] = "raw"
    ready: tuple[str, ...] = ()
    """Patterns (docs/reference/configuration.md) of a line with which the run is ready; without any it is ready at once."""
    ok: tuple[str, ...] = ()
    """The run has ended with exit code 0."""
    fail: tuple[str, ...] = ()
    """The run has ended with exit code 1."""
    reboot: tuple[str, ...] = ()
    """The line with which every boot begins."""
    panic: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for mark in Mark:
            _compile(mark.value, getattr(self, mark.value))

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

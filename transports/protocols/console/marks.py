"""What lines of a console mean: the patterns of a class, by kind. Pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from transports.protocols.console.pattern import Pattern, first_match, without_colours


class Mark(enum.Enum):
    """In the order in which a line is asked: one line has one meaning."""

    REBOOT = "reboot"
    PANIC = "panic"
    FAIL = "fail"
    OK = "ok"
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Marks:
    patterns: Mapping[Mark, tuple[Pattern, ...]]

    @property
    def tells_ready(self) -> bool:
        """A run is not ready before a line says so."""
        return bool(self.patterns.get(Mark.READY))

    def of(self, line: bytes) -> Mark | None:
        plain = without_colours(line)
        return next((mark for mark in Mark if first_match(self.patterns.get(mark, ()), plain) is not None), None)

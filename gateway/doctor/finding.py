"""One thing that is not as it should be, in words for a person, and with the way to mend it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """subject: the device, port or part of the machine. A note needs nobody to act."""

    subject: str
    problem: str
    fix: str
    is_note: bool = False
    reason: str = "UdevRules"
    """Of the event that tells it; UpperCamelCase, and always the same for the same kind of thing."""

    def __str__(self) -> str:
        return f"{'note: ' if self.is_note else ''}{self.subject}: {self.problem}; {self.fix}"

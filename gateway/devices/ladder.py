"""The stop ladder: STOP with grace, REBOOT, the hooks reset and power.cycle, and then the device is dirty. Pure.

A run that does not end keeps its slot whatever happens: never a second workload beside a ghost. REBOOT and hooks take down everything on a
board, so while other runs live there that shall go on, the ladder stays on its first rung and repeats STOP.
"""

from __future__ import annotations

import enum
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Final

STOP_MARGIN_S: Final = 2.0
"""After the grace the device itself ends the program; this is for the answer to travel."""
STEP_DEADLINE_S: Final = 10.0
"""How long REBOOT or a hook may take to show, boot included."""
REPEAT_STOP_S: Final = 10.0
PATIENT_SESSIONS: Final = 5
"""A STOP that could be sent only now gets its time, in so many sessions: a cable that flaps for ever must not keep the hooks away."""


class Rung(enum.Enum):
    STOP = "stop"
    REBOOT = "reboot"
    RESET = "reset"
    POWER_CYCLE = "power.cycle"
    DIRTY = "dirty"


HOOK_RUNGS: Final = (Rung.RESET, Rung.POWER_CYCLE)


@dataclass(slots=True)
class StopOrder:
    """One run that shall end, and how far the ladder has come."""

    asked_at: float
    grace_s: float
    stop_sent_at: float | None = None
    """The newest STOP; None when another one is due."""
    first_sent_at: float | None = None
    sessions: int = 0
    """In which a STOP was sent."""
    climbed: list[Rung] = field(default_factory=list)
    climbed_at: float = 0.0

    def sent(self, now: float) -> None:
        """STOP goes out."""
        if self.stop_sent_at is None and self.sessions < PATIENT_SESSIONS:
            self.first_sent_at = now
            self.sessions += 1
        self.stop_sent_at = now

    def ask_again(self) -> None:
        """Another session: the device may have missed the STOP."""
        self.stop_sent_at = None

    @property
    def patience_ends_at(self) -> float:
        """After the grace, and never before a STOP had its time: the cable may come back long after the grace."""
        ends = self.asked_at + self.grace_s
        return (ends if self.first_sent_at is None else max(ends, self.first_sent_at)) + STOP_MARGIN_S

    def shorten(self, grace_s: float, now: float) -> bool:
        """A second request with less grace counts from now; a longer one changes nothing (kubelet: a pod's grace only shrinks)."""
        if now + grace_s >= self.asked_at + self.grace_s:
            return False
        self.asked_at, self.grace_s, self.stop_sent_at = now, grace_s, None
        return True

    def remaining_grace_s(self, now: float) -> float:
        return max(0.0, self.asked_at + self.grace_s - now)


def next_rung(order: StopOrder, now: float, *, has_session: bool, is_alone: bool, hooks: Set[Rung]) -> tuple[Rung | None, float | None]:
    """What to do now, or None and when to ask again (None: when something changes). is_alone: nothing else is lost by a reset."""
    if order.stop_sent_at is None and has_session:
        return Rung.STOP, None
    if now < order.patience_ends_at:
        return None, order.patience_ends_at
    if not is_alone:
        rung, again_at = _repeat(order, now, has_session)
        return rung, again_at if rung or again_at else now + REPEAT_STOP_S
    if order.climbed and now < order.climbed_at + STEP_DEADLINE_S:
        return None, order.climbed_at + STEP_DEADLINE_S
    for rung in (Rung.REBOOT, *HOOK_RUNGS):
        possible = has_session if rung is Rung.REBOOT else rung in hooks
        if possible and rung not in order.climbed:
            return rung, None
    if not has_session and not order.climbed:
        return None, None
    if Rung.DIRTY not in order.climbed:
        return Rung.DIRTY, None
    return _repeat(order, now, has_session)


def _repeat(order: StopOrder, now: float, has_session: bool) -> tuple[Rung | None, float | None]:
    if not has_session or order.stop_sent_at is None:
        return None, None
    again = order.stop_sent_at + REPEAT_STOP_S
    return (Rung.STOP, None) if now >= again else (None, again)

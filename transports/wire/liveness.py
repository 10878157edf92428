"""Whether the device of a session still lives: keepalive, silence, and the silence that was announced (SPEC.md, session and AWAY)."""

from __future__ import annotations

from typing import Final

from transports.wire.control_channel import earliest

TURNS_PER_KEEPALIVE: Final = 16
"""Devices are asked in so many groups, so that a hundred wake the event loop sixteen times a second instead of a hundred times."""
SILENCE_KEEPALIVES: Final = 3
AWAY_EXTRA_S: Final = 2.0
"""A device may be this much later than it said."""
MAX_AWAY_S: Final = 24 * 3600.0
"""A device that announces more is not waited for longer; it comes back with a HELLO."""
UPTIME_S: Final = 10.0
"""A device that is never quiet is asked so often all the same: its clock drifts by 50 ppm, and an uptime that was not told for 25 days lies
ahead of the next one."""


class Liveness:
    """The clocks of one session at the gateway. keepalive_s 0: silence means nothing."""

    def __init__(self, keepalive_s: float, now: float) -> None:
        self.keepalive_s = keepalive_s
        self.heard_at = self.sent_at = self.pinged_at = now
        self.away_until: float | None = None

    def ping_at(self) -> float | None:
        """One keepalive after the last time that something was sent, or heard, whichever is older; not twice within one, and not much
        later than UPTIME_S after the last one. A little earlier if that is the same moment as other devices'."""
        if not self.keepalive_s or self.away_until is not None:
            return None
        turn_s = self.keepalive_s / TURNS_PER_KEEPALIVE
        quiet_since = min(self.sent_at, self.heard_at, self.pinged_at + UPTIME_S - self.keepalive_s)
        return (max(quiet_since, self.pinged_at) + self.keepalive_s) // turn_s * turn_s

    def dead_at(self) -> float | None:
        """When the session ends unless something is heard."""
        if self.away_until is not None:
            return self.away_until
        return self.heard_at + SILENCE_KEEPALIVES * self.keepalive_s if self.keepalive_s else None

    def why_dead(self, now: float) -> str | None:
        """What a person is told when the session ends now; None while it lives."""
        dead_at = self.dead_at()
        if dead_at is None or now < dead_at:
            return None
        if self.away_until is not None:
            return "it went away and did not come back in time"
        return f"nothing was heard for {SILENCE_KEEPALIVES * self.keepalive_s:g} s"

    def go_away(self, duration_ms: int, now: float) -> None:
        self.away_until = now + min(duration_ms / 1000, MAX_AWAY_S) + AWAY_EXTRA_S

    def come_back(self, now: float) -> None:
        self.away_until = None
        self.heard_at = self.sent_at = self.pinged_at = now

    def next_deadline(self) -> float | None:
        return earliest(self.ping_at(), self.dead_at())

"""How a device asks for a session: under which names, when it says HELLO, and which WELCOME answers it (SPEC.md, session, device).

A device makes up no names. What it cannot have been told by a gateway that knows it, it refuses, because a WELCOME may be as old as the
longest stall of the cable and may have been meant for a boot that ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from transports.wire.datagrams import Welcome
from transports.wire.numbers import PROTOCOL_VERSION
from transports.wire.offsets import distance

HELLO_INTERVALS_S: Final = (0.25, 0.5, 1.0)
"""After the first HELLO, which goes at once; the last interval repeats."""
HELLO_MIN_INTERVAL_S: Final = 0.1
"""A good frame out of session calls for a HELLO, but not more often than this; so each has an uptime of its own."""


@dataclass(slots=True)
class Names:
    """boot_id names this run of the firmware, epoch the content of the LOG ring; 0 until a gateway gave them."""

    boot_id: int = 0
    epoch: int = 0
    past_boot_id: int = 0
    """Of the boot that ended, where a warm reset leaves it in RAM."""

    def log_epoch(self) -> int | None:
        """What HELLO says: nothing when the epoch follows from the boot_id of the WELCOME that answers."""
        return None if self.epoch in (0, self.boot_id) else self.epoch

    def take(self, boot_id: int) -> None:
        if self.log_epoch() is None:
            self.epoch = boot_id
        self.boot_id = boot_id

    def forget(self) -> None:
        self.boot_id = self.epoch = 0

    def may_be_for_me(self, welcome: Welcome) -> bool:
        """Uptimes of two boots overlap, so a boot without an id refuses what only an earlier one can have been told: something stored of a
        ring that has no name yet, and the id of a boot that ended."""
        if self.boot_id:
            return True
        if welcome.stored is not None and not self.epoch:
            return False
        return welcome.boot_id not in (self.epoch, self.past_boot_id)


class HelloRow:
    """The HELLOs since the last session: at once, then ever less often, and sooner upon any good frame."""

    def __init__(self, now: float) -> None:
        self._at: float | None = now
        self._sent_at = float("-inf")
        self._is_due = False
        self._count = 0
        self._first_ms: int | None = None

    def next_deadline(self) -> float | None:
        return self._at

    def is_due(self, now: float) -> bool:
        """Due HELLOs that could not be written yet become one, with the uptime of when it is."""
        if self._at is not None and now >= self._at:
            self._is_due = True
            self._at = now + HELLO_INTERVALS_S[min(self._count, len(HELLO_INTERVALS_S) - 1)]
            self._count += 1
        return self._is_due

    def sent(self, uptime_ms: int, now: float) -> None:
        if self._first_ms is None:
            self._first_ms = uptime_ms
        self._sent_at = now
        self._is_due = False

    def soon(self, now: float) -> None:
        """Something good was heard: no need to wait for the next interval."""
        at = max(now, self._sent_at + HELLO_MIN_INTERVAL_S)
        if self._at is None or at < self._at:
            self._at = at

    def end(self) -> None:
        """A session began."""
        self._at, self._is_due = None, False

    def begin(self, now: float) -> None:
        """A session ended: WELCOMEs from before it are stale."""
        self._first_ms = None
        self.restart(now)

    def restart(self, now: float) -> None:
        """The same row from its first interval on: the device was away."""
        self._count = 0
        self._at = max(now, self._sent_at + HELLO_MIN_INTERVAL_S)

    def is_answered_by(self, welcome: Welcome, uptime_ms: int) -> bool:
        """The echo lies between the first HELLO of the row and now."""
        first = self._first_ms
        if first is None or welcome.version != PROTOCOL_VERSION:
            return False
        return distance(welcome.echo_ms, first) >= 0 and distance(uptime_ms, welcome.echo_ms) >= 0

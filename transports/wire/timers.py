"""When to send again: the retransmission clocks of both roles (SPEC.md, streams, rule 5). Pure numbers, no clock.

The gateway measures round trips (RFC 6298) and never takes a sample from what was sent twice (Karn); a device has no room for that and
doubles from a floor that its line speed sets.
"""

from __future__ import annotations

from typing import Final, Protocol

GATEWAY_RTO_INITIAL_S: Final = 0.25
"""Before the first sample; the device's first HELLO interval, so no slower than the handshake."""
GATEWAY_RTO_MIN_S: Final = 0.025
"""Below this an adapter's latency timer (1-16 ms) looks like loss."""
GATEWAY_RTO_MAX_S: Final = 5.0
DEVICE_RTO_MIN_S: Final = 0.2
DEVICE_RTO_MAX_S: Final = 2.0
DEVICE_RTO_FRAMES: Final = 4
"""A device waits at least this many frame times."""

_ALPHA: Final = 1 / 8
_BETA: Final = 1 / 4
_K: Final = 4


class Rto(Protocol):
    """How long a sender waits before it sends again."""

    rto_s: float

    def sample(self, round_trip_s: float) -> None:
        """One round trip of bytes that were sent exactly once."""
        ...

    def back_off(self) -> None:
        """The time-out passed: wait twice as long."""
        ...

    def progress(self) -> None:
        """Something new was acknowledged: the doubling ends."""
        ...


class MeasuredRto:
    """The gateway's: RFC 6298 between 25 ms and 5 s."""

    def __init__(self) -> None:
        self.rto_s = GATEWAY_RTO_INITIAL_S
        self._base_s = GATEWAY_RTO_INITIAL_S
        self._smoothed_s: float | None = None
        self._variation_s = 0.0

    def sample(self, round_trip_s: float) -> None:
        if self._smoothed_s is None:
            self._smoothed_s = round_trip_s
            self._variation_s = round_trip_s / 2
        else:
            self._variation_s += _BETA * (abs(self._smoothed_s - round_trip_s) - self._variation_s)
            self._smoothed_s += _ALPHA * (round_trip_s - self._smoothed_s)
        self._base_s = min(max(self._smoothed_s + _K * self._variation_s, GATEWAY_RTO_MIN_S), GATEWAY_RTO_MAX_S)
        self.rto_s = self._base_s

    def back_off(self) -> None:
        self.rto_s = min(self.rto_s * 2, GATEWAY_RTO_MAX_S)

    def progress(self) -> None:
        self.rto_s = self._base_s


class FixedRto:
    """A device's: 200 ms or four frame times, doubling to 2 s."""

    def __init__(self, frame_time_s: float = 0.0) -> None:
        self._base_s = min(max(DEVICE_RTO_MIN_S, DEVICE_RTO_FRAMES * frame_time_s), DEVICE_RTO_MAX_S)
        self.rto_s = self._base_s

    def sample(self, round_trip_s: float) -> None:
        """A device does not measure."""

    def back_off(self) -> None:
        self.rto_s = min(self.rto_s * 2, DEVICE_RTO_MAX_S)

    def progress(self) -> None:
        self.rto_s = self._base_s

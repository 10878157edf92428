"""Which moment says most about a device's clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transports.protocol import ClockSample
from transports.protocols.clock_filter import SAMPLES, ClockFilter

WRAP = 1 << 32


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 400)), min_size=1, max_size=60), st.integers(0, WRAP - 1))
def test_the_best_is_the_least_delayed_of_the_newest(steps: list[tuple[int, int]], boot_ms: int) -> None:
    """Milliseconds to the next keepalive, and how long its answer was on the way. The uptime wraps."""
    clock, sent_ms = ClockFilter(), 0
    delays_ms: list[int] = []
    for step_ms, delay_ms in steps:
        sent_ms += step_ms
        delays_ms.append(delay_ms)
        clock.add((boot_ms + sent_ms) % WRAP, (sent_ms + delay_ms) / 1000)
        best = clock.best(0.0)
        told_ms = round(best.now * 1000) - (best.uptime_ms - boot_ms) % WRAP
        assert told_ms == min(delays_ms[-SAMPLES:])


def test_another_boot_is_another_clock() -> None:
    clock = ClockFilter()
    clock.add(1000, 1.0)
    clock.clear()
    assert clock.best(7.0) == ClockSample(0, 7.0)
    clock.add(5, 9.0)
    assert clock.best(0.0) == ClockSample(5, 9.0)

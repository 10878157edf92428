"""When the gateway asks a silent device whether it is there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from transports.wire.liveness import TURNS_PER_KEEPALIVE, Liveness

TIMES = st.floats(0, 1e7, allow_nan=False)


@given(TIMES, st.floats(0.05, 60))
def test_it_is_asked_after_a_keepalive_or_a_little_earlier(now: float, keepalive_s: float) -> None:
    asked_at = Liveness(keepalive_s, now).ping_at()
    assert asked_at is not None
    tolerance_s = 1e-6
    assert keepalive_s * (1 - 1 / TURNS_PER_KEEPALIVE) - tolerance_s <= asked_at - now <= keepalive_s + tolerance_s


@given(st.lists(TIMES, min_size=100, max_size=100))
def test_a_hundred_devices_wake_the_gateway_sixteen_times_in_a_keepalive(joined_at: list[float]) -> None:
    turns = {(Liveness(1.0, at % 1.0).ping_at() or 0.0) % 1.0 for at in joined_at}
    assert len(turns) <= TURNS_PER_KEEPALIVE


@given(TIMES, st.floats(0, 0.05))
def test_a_loop_that_comes_late_asks_no_less_often(now: float, late_s: float) -> None:
    """Each wait ends on time, however late the one before it was answered for."""
    liveness = Liveness(1.0, now)
    first = liveness.ping_at()
    assert first is not None
    for count in range(1, 5):
        asked_at = liveness.ping_at()
        assert asked_at == first + count - 1
        liveness.pinged_at = liveness.sent_at = asked_at + late_s
        liveness.heard_at = asked_at + late_s + 0.005

"""Boot clock and wall time: a line has the same stamp whenever it is read, and the right one after the clock was set."""

from __future__ import annotations

import time

import pytest

from gateway.logs.clock import STEADY_NS, SystemClock


def test_two_looks_give_the_same_stamps() -> None:
    clock = SystemClock()
    assert len({clock.offset_ns() for _ in range(1000)}) == 1
    assert abs(clock.boot_ns() + clock.offset_ns() - time.time_ns()) < STEADY_NS


@pytest.mark.parametrize(("moved_ns", "is_followed"), [(STEADY_NS // 2, False), (2 * STEADY_NS, True), (-(10**18), True)])
def test_a_drift_moves_no_stamps_and_a_clock_that_is_set_does(monkeypatch: pytest.MonkeyPatch, moved_ns: int, is_followed: bool) -> None:
    clock = SystemClock()
    before = clock.offset_ns()
    now_ns = time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: now_ns() + moved_ns)
        after = clock.offset_ns()
        assert (after != before) is is_followed
        assert clock.offset_ns() == after

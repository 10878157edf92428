"""How often a target is asked."""

from __future__ import annotations

import pytest

from transports.protocols.exec_pace import CHECK_S, FULL_BYTES, IDLE_S, QUICK_S, SLOW_S, Pace


def delay(pace: Pace, now: float) -> float:
    assert pace.at is not None
    return pace.at - now


def test_a_target_is_asked_seldom_while_nothing_comes_and_hardly_ever_while_nothing_runs() -> None:
    pace = Pace()
    pace.begin(0.0)
    assert delay(pace, 0.0) == 0.0
    for _ in range(50):
        pace.heard(0, True, 0.0)
    assert delay(pace, 0.0) == SLOW_S
    for _ in range(50):
        pace.heard(0, False, 0.0)
    assert delay(pace, 0.0) == IDLE_S


def test_something_new_is_followed_at_once() -> None:
    pace = Pace()
    pace.begin(0.0)
    for _ in range(50):
        pace.heard(0, False, 0.0)
    pace.hurry(1.0)
    assert delay(pace, 1.0) == pytest.approx(QUICK_S)
    pace.heard(1, True, 1.0)
    assert delay(pace, 1.0) == pytest.approx(QUICK_S)
    pace.heard(FULL_BYTES, True, 1.0)
    assert delay(pace, 1.0) == 0.0


def test_supervisors_are_looked_at_now_and_then() -> None:
    pace = Pace()
    pace.begin(0.0)
    assert not pace.is_check_due(CHECK_S - 0.1)
    assert pace.is_check_due(CHECK_S)
    pace.checked(CHECK_S)
    assert not pace.is_check_due(CHECK_S + 1)

"""The law of the back-off: between half and all of a step that doubles up to a bound."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.backoff import Backoff


@given(seed=st.integers(), first_s=st.floats(0.01, 1), growth=st.floats(1, 100), count=st.integers(1, 30))
def test_every_delay_lies_in_the_upper_half_of_its_step(seed: int, first_s: float, growth: float, count: int) -> None:
    backoff = Backoff(random.Random(seed), first_s=first_s, max_s=first_s * growth)
    for attempt in range(count):
        step_s = min(first_s * 2**attempt, first_s * growth)
        assert step_s / 2 <= backoff.next_delay_s() <= step_s


def test_a_success_starts_again_from_the_first_step() -> None:
    backoff = Backoff(random.Random(1))
    for _ in range(10):
        backoff.next_delay_s()
    assert backoff.next_delay_s() >= 2.5
    backoff.reset()
    assert backoff.next_delay_s() <= 0.1


def test_the_same_seed_gives_the_same_delays_and_another_seed_others() -> None:
    first, same, other = (Backoff(random.Random(seed)) for seed in (7, 7, 8))
    delays = [first.next_delay_s() for _ in range(5)]
    assert delays == [same.next_delay_s() for _ in range(5)]
    assert delays != [other.next_delay_s() for _ in range(5)]


def test_impossible_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="at most max_s"):
        Backoff(random.Random(1), first_s=2, max_s=1)

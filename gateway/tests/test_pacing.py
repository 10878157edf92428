"""How fast rejected pods of one owner become Failed."""

from __future__ import annotations

from gateway.pods.pacing import FORGET_AFTER_S, MAX_OWNERS, RejectionPacer


def test_each_rejection_of_one_owner_waits_longer_than_the_last() -> None:
    pacer = RejectionPacer()
    assert [pacer.delay_s("rs-1", now) for now in range(4)] == [1, 10, 60, 60]
    assert pacer.delay_s("rs-2", 4) == 1
    assert [pacer.delay_s(None, now) for now in range(3)] == [0, 0, 0]


def test_an_owner_that_was_quiet_starts_anew() -> None:
    pacer = RejectionPacer()
    pacer.delay_s("rs-1", 0)
    assert pacer.delay_s("rs-1", FORGET_AFTER_S) == 10
    assert pacer.delay_s("rs-1", 2 * FORGET_AFTER_S + 1) == 1


def test_owners_are_bounded_and_the_oldest_is_forgotten() -> None:
    pacer = RejectionPacer()
    for number in range(MAX_OWNERS + 1):
        pacer.delay_s(f"rs-{number}", 0)
    assert pacer.delay_s(f"rs-{MAX_OWNERS}", 1) == 10
    assert pacer.delay_s("rs-1", 1) == 10
    assert pacer.delay_s("rs-0", 1) == 1

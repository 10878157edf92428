"""A LOG record belongs to the newest run that began in its slot at or before its offset."""

from __future__ import annotations

from gateway.devices.attribution import MAX_SPANS_PER_SLOT, Attribution, Run

FIRST, SECOND = Run(0xA, 1), Run(0xA, 2)


def attribution() -> Attribution:
    known = Attribution()
    known.begin_epoch(7)
    return known


def test_each_run_of_a_slot_owns_what_it_wrote() -> None:
    known = attribution()
    known.learn(0, 100, FIRST)
    known.learn(0, 300, SECOND)

    assert known.owner(0, 99) is None
    assert known.owner(0, 100) == FIRST
    assert known.owner(0, 299) == FIRST
    assert known.owner(0, 300) == SECOND


def test_slots_do_not_mix() -> None:
    known = attribution()
    known.learn(0, 0, FIRST)
    known.learn(1, 50, SECOND)

    assert known.owner(0, 60) == FIRST
    assert known.owner(1, 60) == SECOND
    assert known.owner(2, 60) is None


def test_hearing_of_a_run_twice_changes_nothing() -> None:
    known = attribution()
    known.learn(0, 100, FIRST)
    known.learn(0, 100, FIRST)
    known.learn(0, 300, SECOND)
    known.learn(0, 100, FIRST)

    assert known.owner(0, 300) == SECOND


def test_another_epoch_forgets_and_the_same_does_not() -> None:
    known = attribution()
    known.learn(0, 100, FIRST)
    known.begin_epoch(7)
    assert known.owner(0, 100) == FIRST
    known.begin_epoch(8)
    assert known.owner(0, 100) is None


def test_memory_is_bounded_whatever_a_device_says() -> None:
    known = attribution()
    for gen in range(10 * MAX_SPANS_PER_SLOT):
        known.learn(0, gen, Run(1, gen))
    assert known.owner(0, 8 * MAX_SPANS_PER_SLOT) is None
    assert known.owner(0, 10 * MAX_SPANS_PER_SLOT) == Run(1, 10 * MAX_SPANS_PER_SLOT - 1)

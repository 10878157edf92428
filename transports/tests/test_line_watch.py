"""The line errors of a device outlive its links, and a wrong speed is told instead of its consequences."""

from __future__ import annotations

import pytest

from transports.baud_watch import AFTER_S
from transports.line_watch import HELD_S, LineWatch
from transports.link import LineErrors
from transports.protocol import BAUD_MISMATCH, GARBAGE, OUTPUT_HELD, Counters, Problem


class Line:
    """The counting part of a link; errors is what its UART saw since it was opened."""

    def __init__(self) -> None:
        self.errors = LineErrors()

    def line_errors(self) -> LineErrors:
        return self.errors


@pytest.fixture
def counters() -> Counters:
    return Counters()


def test_errors_add_up_over_replugs(counters: Counters) -> None:
    watch = LineWatch()
    for framing in (3, 4):
        line = Line()
        watch.opened(line, counters, 0.0)
        line.errors = LineErrors(framing=framing)
        watch.closed()
    watch.opened(line := Line(), counters, 0.0)
    line.errors = LineErrors(overrun=1)
    assert watch.errors == LineErrors(framing=7, overrun=1)


def test_a_device_whose_links_count_nothing_has_no_numbers(counters: Counters) -> None:
    watch = LineWatch()
    watch.opened(object(), counters, 0.0)
    assert watch.look(1000, counters, AFTER_S) is None
    watch.closed()
    assert watch.errors is None


def test_what_was_counted_stays_while_another_kind_of_link_is_open(counters: Counters) -> None:
    watch, line = LineWatch(), Line()
    watch.opened(line, counters, 0.0)
    line.errors = LineErrors(parity=2)
    watch.closed()
    watch.opened(object(), counters, 0.0)
    assert watch.errors == LineErrors(parity=2)


def test_a_wrong_speed_is_told_and_the_garbage_that_it_makes_is_not(counters: Counters) -> None:
    watch, line, garbage = LineWatch(), Line(), Problem(GARBAGE, "20 broken frames")
    watch.opened(line, counters, 0.0)
    assert not watch.knows_better(garbage)
    line.errors = LineErrors(framing=20)
    told = watch.look(100, counters, AFTER_S)
    assert told is not None
    assert told.reason == BAUD_MISMATCH
    assert watch.knows_better(garbage)
    assert not watch.knows_better(told)
    watch.closed()
    assert not watch.knows_better(garbage)


def test_the_next_link_may_be_at_the_right_speed(counters: Counters) -> None:
    watch = LineWatch()
    for _ in range(2):
        watch.opened(line := Line(), counters, 0.0)
        line.errors = LineErrors(framing=20)
        assert watch.look(100, counters, AFTER_S) is not None
        watch.closed()
    watch.opened(Line(), counters, 0.0)
    counters.rx_frames += 1
    assert watch.look(100, counters, AFTER_S) is None


def test_a_device_that_talks_and_takes_nothing_is_told_once_until_it_does(counters: Counters) -> None:
    watch = LineWatch()
    watch.opened(object(), counters, 0.0)
    for begun in (0.0, 100.0):
        watch.sending(begun)
        assert watch.look(1, counters, begun + HELD_S / 2) is None
        told = watch.look(1, counters, begun + HELD_S)
        assert told is not None
        assert told.reason == OUTPUT_HELD
        assert watch.look(1, counters, begun + 2 * HELD_S) is None
        watch.sent()
        assert watch.look(1, counters, begun + 3 * HELD_S) is None


def test_a_send_that_the_unplug_ended_holds_nothing_back_on_the_next_link(counters: Counters) -> None:
    watch = LineWatch()
    watch.opened(object(), counters, 0.0)
    watch.sending(0.0)
    watch.closed()
    watch.opened(object(), counters, 1.0)
    assert watch.look(1, counters, 1.0 + HELD_S) is None

"""Output waits for LIST, and what was acknowledged never goes back."""

from __future__ import annotations

from transports.listed_first import ListedFirst
from transports.protocol import Checkpoint, ClockSample, Event, Gap, GapReason, Joined, Left, Listed, Output, Record, RecordKind

CLOCK = ClockSample(0, 0.0)
SAVED = Checkpoint(boot_id=1, epoch=1, expected=100, tail=b"half", sid=7)


def output(begin: int, end: int, *, epoch: int = 1, sid: int = 8) -> Output:
    record = Record(begin, end, 0, 0, RecordKind.STDOUT, b"x")
    return Output(epoch, (record,), Checkpoint(1, epoch, end, b"", sid), CLOCK)


def joined(epoch: int = 1) -> Joined:
    return Joined(b"", 1, epoch, False, 0, 0, 0, CLOCK)


def order(gate: ListedFirst, *events: Event) -> list[Event]:
    return [ordered for event in events for ordered in gate.order(event)]


def test_output_before_the_list_is_told_after_it_and_the_session_at_once() -> None:
    first, second, third = output(100, 120), output(120, 140), output(140, 150)
    told = order(ListedFirst(SAVED), joined(), first, second, Listed(()), third)
    session = Output(1, (), Checkpoint(1, 1, 100, b"half", 8), CLOCK)
    assert told == [joined(), session, Listed(()), first, second, third]


def test_output_of_a_new_epoch_begins_its_checkpoint_at_zero() -> None:
    told = order(ListedFirst(SAVED), joined(2), output(0, 20, epoch=2))
    assert told[1] == Output(2, (), Checkpoint(1, 2, 0, b"", 8), CLOCK)


def test_the_end_of_an_epoch_waits_for_nothing() -> None:
    waiting = output(100, 120)
    end = Output(1, (Gap(120, None, None, GapReason.UNKNOWN),), Checkpoint(2, 2), CLOCK)
    told = order(ListedFirst(SAVED), joined(), waiting, Left("reset"), end, joined(2), output(0, 20, epoch=2), Listed(()))
    assert told[2:] == [Left("reset"), waiting, end, joined(2), Output(2, (), Checkpoint(1, 2, 0, b"", 8), CLOCK), Listed(()), told[-1]]
    assert told[-1] == output(0, 20, epoch=2)


def test_what_waited_when_the_session_ended_is_told_with_the_next_one() -> None:
    first, second = output(100, 120), output(120, 140, sid=9)
    told = order(ListedFirst(SAVED), joined(), first, Left("cable"), joined(), second, Listed(()))
    assert [item for item in told if isinstance(item, Output) and item.items] == [first, second]


def test_output_after_the_list_passes_and_is_what_the_next_session_goes_on_from() -> None:
    gate = ListedFirst(SAVED)
    order(gate, joined(), Listed(()), output(100, 120))
    told = order(gate, Left("cable"), joined(), output(120, 140, sid=9))
    assert told[-1] == Output(1, (), Checkpoint(1, 1, 120, b"", 9), CLOCK)

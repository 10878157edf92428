"""The table of ports ends as the newest word says, in whatever order events and looks come."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from transports.discovery.facts import PortFacts
from transports.discovery.ports import Appeared, Change, PortTable, Vanished
from transports.tests.port_examples import adapter

FIRST = adapter("ttyUSB0", "1-1.3", usec=100)
AGAIN = replace(FIRST, instance=200)
OTHER = adapter("ttyUSB1", "1-1.4", usec=100)


def test_plug_unplug_and_a_look_tell_each_change_once() -> None:
    table = PortTable()
    assert table.added(FIRST) == [Appeared(FIRST)]
    assert table.added(FIRST) == []
    assert table.scanned([FIRST, OTHER]) == [Appeared(OTHER)]
    assert table.removed(FIRST.key, FIRST.instance) == [Vanished(FIRST)]
    assert table.removed(FIRST.key, FIRST.instance) == []
    assert table.scanned([]) == [Vanished(OTHER)]


def test_a_replug_whose_events_were_lost_is_seen_by_a_look() -> None:
    table = PortTable()
    table.added(FIRST)
    assert table.scanned([AGAIN]) == [Vanished(FIRST), Appeared(AGAIN)]


def test_a_late_word_of_an_earlier_plug_does_not_unplug_the_new_one() -> None:
    table = PortTable()
    table.scanned([AGAIN])  # the look was newer than the events that follow
    assert table.removed(FIRST.key, FIRST.instance) == []
    assert table.added(AGAIN) == []
    assert dict(table.ports) == {AGAIN.key: AGAIN}


def test_facts_that_udev_mends_are_taken_and_are_no_change() -> None:
    table = PortTable()
    table.added(FIRST)
    mended = replace(FIRST, product="Board of the lab")
    assert table.added(mended) == []
    assert table.ports[FIRST.key].product == "Board of the lab"


def test_without_udevs_time_another_chip_at_the_same_key_is_another_port() -> None:
    table = PortTable()
    mute = replace(FIRST, instance=0)
    table.added(mute)
    assert table.added(mute) == []
    assert table.added(replace(mute, serial="B7")) == [Vanished(mute), Appeared(replace(mute, serial="B7"))]


# -- laws

words = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 2), st.integers(1, 3)),
        st.tuples(st.just("remove"), st.integers(0, 2), st.integers(0, 3)),
        st.tuples(st.just("scan"), st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), unique_by=lambda one: one[0])),
    )
)


def port(place: int, instance: int) -> PortFacts:
    return adapter(f"ttyUSB{place}", f"1-1.{place + 1}", usec=instance)


@given(words)
def test_the_changes_that_are_told_make_the_table(story: list[tuple[object, ...]]) -> None:
    """Whoever hears only the changes knows what is there; nothing vanishes that was not there, or appears twice."""
    table = PortTable()
    known: dict[str, PortFacts] = {}
    for word in story:
        changes: list[Change] = []
        match word:
            case ("add", int(place), int(instance)):
                changes += table.added(port(place, instance))
            case ("remove", int(place), int(instance)):
                changes += table.removed(port(place, 1).key, instance)
            case ("scan", list(seen)):
                changes += table.scanned([port(place, instance) for place, instance in seen])
                assert dict(table.ports) == {port(*one).key: port(*one) for one in seen}
        for change in changes:
            match change:
                case Appeared(there):
                    assert there.key not in known
                    known[there.key] = there
                case Vanished(gone):
                    assert known.pop(gone.key) == gone
    assert known == dict(table.ports)

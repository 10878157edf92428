"""Attempts only move on: whatever comes late, twice or at once, an end stays the end and the ledger says what memory says."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.exits import NEVER_STARTED, Exit
from gateway.devices.identity import unnamed, workload_id
from gateway.devices.ledger import Ledger
from gateway.devices.runbook import RunBook
from gateway.devices.runs import Runs
from gateway.devices.slotbook import Place, SlotBook, held
from gateway.logs.record import text_entries
from gateway.logs.store import AttemptKey, LogStore
from gateway.pods.seams import AttemptState, PodUid
from gateway.tests.desk import UID, WID, entry
from transports.protocol import WorkloadState, WorkloadStatus

RUN = ("dev", WID, 1)
STATUS = WorkloadStatus(WID, 1, 2, WorkloadState.RUNNING, 100)
END = Exit(3, 0, "Error", "")


class Office:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger(folder / "ledger.sqlite")
        self.logs = LogStore(folder / "logs", budget_bytes=1 << 20)
        self.told: list[PodUid] = []
        seconds = itertools.count(1000)
        self.book = RunBook(Runs(self.ledger.entries()), self.ledger, self.logs, self.told.append, lambda: float(next(seconds)))

    @property
    def state(self) -> str:
        """In memory and on disk the same."""
        (kept,) = self.ledger.entries()
        assert self.book.runs.of_run(RUN) == kept
        return kept.state

    def close(self) -> None:
        self.logs.close()
        self.ledger.close()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.close()


async def intend(office: Office, gen: int = 1) -> None:
    await office.book.intend(entry(AttemptState.INTENDED, gen=gen))


async def test_the_way_of_an_attempt(office: Office) -> None:
    book = office.book
    await intend(office)
    assert office.state == "intended"
    await book.running(RUN, STATUS, epoch=5, boot_id=9)
    assert office.state == "running"
    await book.stopping(RUN)
    assert office.state == "stopping"
    await book.running(RUN, STATUS, epoch=5, boot_id=9)
    assert office.state == "stopping"
    await book.exited(RUN, END)
    (kept,) = office.ledger.entries()
    assert (kept.state, kept.exit_code, kept.reason, kept.slot, kept.start_off, kept.epoch, kept.boot_id) == (
        "exited",
        3,
        "Error",
        2,
        100,
        5,
        9,
    )
    assert kept.started_at == 1000
    assert set(office.told) == {UID}


async def test_a_run_is_ready_unless_the_device_says_that_it_is_not(office: Office) -> None:
    await intend(office)
    seen = []
    for ready in (False, True, None):
        await office.book.running(RUN, replace(STATUS, ready=ready), epoch=5, boot_id=9)
        (attempt,) = office.book.runs.attempts(UID)["main"]
        assert office.state == "running"
        seen.append(attempt.is_ready)
    assert seen == [False, True, True]
    assert len(office.told) == 2


Change = Callable[[RunBook], Coroutine[Any, Any, None]]
LATE: list[Change] = [
    lambda book: book.running(RUN, STATUS, 5, 9),
    lambda book: book.stopping(RUN),
    lambda book: book.exited(RUN, Exit(0, 0, "Completed", "")),
    lambda book: book.never_started(RUN, NEVER_STARTED),
    lambda book: book.withdraw(RUN),
]


@pytest.mark.parametrize("late", LATE)
async def test_an_end_stays_the_end(office: Office, late: Change) -> None:
    await intend(office)
    await office.book.exited(RUN, END)
    before = office.ledger.entries()
    office.told.clear()
    await late(office.book)
    assert office.ledger.entries() == before
    assert office.told == []


@pytest.mark.parametrize("late", LATE)
async def test_an_end_that_is_being_written_is_the_end(office: Office, late: Change) -> None:
    """Both begin at once: the second one looks when the first one is durable."""
    await intend(office)
    await office.book.running(RUN, STATUS, 5, 9)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(office.book.exited, RUN, END)
        tasks.start_soon(late, office.book)
    (kept,) = office.ledger.entries()
    assert (kept.state, kept.exit_code) == ("exited", 3)


async def test_what_is_confirmed_cannot_be_withdrawn_nor_unstarted(office: Office) -> None:
    await intend(office)
    await office.book.running(RUN, STATUS, 5, 9)
    await office.book.withdraw(RUN)
    await office.book.never_started(RUN, NEVER_STARTED)
    assert office.state == "running"


async def test_a_withdrawn_intent_was_never_there(office: Office) -> None:
    await intend(office)
    await office.book.withdraw(RUN)
    assert office.ledger.entries() == []
    assert office.book.pods() == []


async def test_news_that_change_nothing_cost_no_write_and_tell_nobody(office: Office) -> None:
    await intend(office)
    await office.book.running(RUN, STATUS, 5, 9)
    statements: list[str] = []
    office.ledger._db.set_trace_callback(statements.append)
    office.told.clear()
    for _ in range(10):
        await office.book.running(RUN, STATUS, 5, 9)
    assert (statements, office.told) == ([], [])


async def test_nothing_is_told_before_it_is_durable(tmp_path: Path) -> None:
    seen: list[str] = []
    office = Office(tmp_path)

    def look(_uid: PodUid) -> None:
        other = Ledger(tmp_path / "ledger.sqlite")
        seen.extend(kept.state for kept in other.entries())
        other.close()

    office.book = RunBook(Runs(), office.ledger, office.logs, look, lambda: 1000.0)
    await intend(office)
    await office.book.running(RUN, STATUS, 5, 9)
    await office.book.exited(RUN, END)
    assert seen == ["running", "exited"]  # who intends knows by itself
    office.close()


async def test_a_run_without_a_name_is_written_when_it_has_one(office: Office) -> None:
    office.book.remember_unnamed(replace(entry(), container=unnamed(WID)))
    office.logs.append(AttemptKey(UID, unnamed(WID), 1), text_entries(1, b"early\n"))
    await office.book.exited(RUN, END)
    assert office.ledger.entries() == []
    assert office.book.recognise(UID, {"side": False}) == []
    (named,) = office.book.recognise(UID, {"side": False, "main": True})
    assert (named.container, named.is_init, named.state) == ("main", True, "exited")
    await office.book.keep(RUN)
    assert office.state == "exited"
    ring = office.logs.log(AttemptKey(UID, "main", 1)).ring
    assert ring is not None
    assert ring.records == 1
    assert office.logs.log(AttemptKey(UID, "main", 1)).closed


# -- slots


async def test_a_slot_is_held_until_the_end_is_certain(office: Office) -> None:
    """The pod is deleted, or Failed, and its program goes on."""
    await intend(office)
    await office.book.running(RUN, STATUS, 5, 9)
    office.book.slots.retire(UID)
    assert office.book.slots.usage("dev") == (1, 1)
    await office.book.stopping(RUN)
    assert office.book.slots.usage("dev") == (1, 1)
    await office.book.exited(RUN, END)
    assert office.book.slots.usage("dev") == (0, 0)


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([], {}),
        ([Place("a")], {"a": 1}),
        ([Place("a"), Place("a")], {"a": 2}),
        ([Place("a", is_init=True), Place("a", is_init=True)], {"a": 1}),
        ([Place("a", is_init=True), Place("a"), Place("b")], {"a": 1, "b": 1}),
        ([Place("a", is_init=True), Place("b")], {"a": 1, "b": 1}),
    ],
)
def test_the_slots_of_a_pod(places: list[Place], expected: dict[str, int]) -> None:
    assert held(places) == expected


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["assign", "unassign", "start", "end", "retire", "forget", "end_begins", "begins"]),
        st.sampled_from(["u1", "u2"]),
        st.sampled_from(["init", "main"]),
        st.sampled_from(["a", "b"]),
    ),
    max_size=30,
)


@given(MOVES)
def test_what_is_counted_step_by_step_is_what_is_there(moves: list[tuple[str, str, str, str]]) -> None:
    """Usages are counted when a pod moves; a book that is made from scratch counts the same."""
    runs = Runs()
    book = SlotBook(runs, lambda uid: None)
    for move, uid, container, device in moves:
        match move:
            case "assign":
                book.assign(uid, container, Place(device, container == "init"))
            case "start" | "end":
                state = AttemptState.RUNNING if move == "start" else AttemptState.EXITED
                made = replace(entry(state, device=device, container=container), uid=uid, wid=workload_id(uid, container))
                runs.put(replace(made, is_init=container == "init"))
            case "forget":
                runs.forget(uid)
                book.forget(uid)
            case _:
                getattr(book, move)(uid)
        usages = {name: usage for name, usage in book.usages().items() if usage != (0, 0)}
        assert usages == count_anew(book, runs)


def count_anew(book: SlotBook, runs: Runs) -> dict[str, tuple[int, int]]:
    counted: dict[str, tuple[int, int]] = {}
    for uid in ("u1", "u2"):
        places = book.places(uid)
        if uid in book._retired:
            newest = runs.containers(uid)
            places = {name: place for name, place in places.items() if name in newest and newest[name].state != "exited"}
        is_ending = uid in book._ending or uid in book._retired
        for device, count in held(places.values()).items():
            used, ending = counted.get(device, (0, 0))
            counted[device] = used + count, ending + count * is_ending
    return counted

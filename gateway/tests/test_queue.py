"""The keyed queue: stingy, fair, one worker per key, delayed re-adds."""

from __future__ import annotations

import anyio
from hypothesis import given
from hypothesis import strategies as st

from gateway.pods.queue import MAX_STALE_TIMERS, KeyQueue, WorkQueue
from gateway.tests.fakes_pods import TurnedClock, idle


def test_a_key_waits_at_most_once_and_keys_come_in_order() -> None:
    queue: KeyQueue[str] = KeyQueue()
    for key in "abacb":
        queue.add(key)
    assert [queue.take(0), queue.take(0), queue.take(0), queue.take(0)] == ["a", "b", "c", None]


def test_a_key_added_while_it_is_worked_on_comes_again_afterwards_and_behind_the_others() -> None:
    queue: KeyQueue[str] = KeyQueue()
    queue.add("a")
    assert queue.take(0) == "a"
    queue.add("a")
    queue.add("b")
    assert queue.take(0) == "b"
    assert queue.take(0) is None
    queue.done("a")
    assert queue.take(0) == "a"


def test_the_earliest_of_several_timers_counts_and_work_forgets_them() -> None:
    queue: KeyQueue[str] = KeyQueue()
    queue.add_at("a", 20)
    queue.add_at("a", 10)
    queue.add_at("a", 30)
    assert queue.next_deadline() == 10
    assert queue.take(9.9) is None
    assert queue.take(10) == "a"
    queue.done("a")
    assert queue.take(100) is None
    assert queue.next_deadline() is None


def test_timers_far_away_do_not_pile_up() -> None:
    queue: KeyQueue[str] = KeyQueue()
    for _ in range(10_000):
        queue.add_at("a", 1e9)
        queue.add("a")
        queue.take(0)
        queue.done("a")
    assert len(queue._timers) <= MAX_STALE_TIMERS + 2


@given(st.lists(st.tuples(st.sampled_from(["add", "at", "take", "done", "pass"]), st.integers(0, 3), st.integers(0, 9))))
def test_no_key_is_lost_or_worked_on_twice_at_once(steps: list[tuple[str, int, int]]) -> None:
    queue: KeyQueue[int] = KeyQueue()
    now = 0.0
    wanted: dict[int, float] = {}
    working: set[int] = set()
    for step, key, number in steps:
        match step:
            case "add":
                queue.add(key)
                wanted[key] = now
            case "at":
                queue.add_at(key, now + number)
                wanted[key] = min(wanted.get(key, now + number), now + number)
            case "take":
                taken = queue.take(now)
                if taken is None:
                    assert not [key for key, at in wanted.items() if at <= now and key not in working]
                else:
                    assert taken not in working
                    assert wanted.pop(taken) <= now
                    working.add(taken)
            case "done" if key in working:
                working.remove(key)
                queue.done(key)
            case "pass":
                now += number


async def test_get_waits_for_a_key_or_for_a_timer() -> None:
    clock = TurnedClock()
    queue: WorkQueue[str] = WorkQueue(clock)
    got: list[str] = []

    async def work() -> None:
        while True:
            got.append(await queue.get())
            queue.done(got[-1])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await idle()
        queue.add("now")
        await idle()
        queue.add_at("later", clock.now() + 5)
        await clock.turn(4)
        assert got == ["now"]
        await clock.turn(1)
        assert got == ["now", "later"]
        tasks.cancel_scope.cancel()

"""An alarm comes at the time that was set last, and not before."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from gateway.tests.warped_time import HastyLoop
from transports.alarm import Alarm
from transports.bell import Bell


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": HastyLoop}


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_it_comes_at_its_time() -> None:
    bell = Bell()
    alarm = Alarm(bell.ring)
    began = now()
    alarm.set(began + 30)
    await bell.wait()
    assert now() == pytest.approx(began + 30, abs=1)


async def test_a_time_that_moves_on_is_found_when_the_first_has_come() -> None:
    bell = Bell()
    alarm = Alarm(bell.ring)
    began = now()
    for seconds in range(10, 60):
        alarm.set(began + seconds)
    await bell.wait()
    assert now() == pytest.approx(began + 59, abs=1)


async def test_an_earlier_time_counts_at_once() -> None:
    bell = Bell()
    alarm = Alarm(bell.ring)
    began = now()
    alarm.set(began + 1000)
    alarm.set(began + 10)
    await bell.wait()
    assert now() == pytest.approx(began + 10, abs=1)


@pytest.mark.parametrize("ends_it", [lambda alarm: alarm.set(None), lambda alarm: alarm.cancel()], ids=["set to never", "cancelled"])
async def test_what_was_taken_back_does_not_come(ends_it: object) -> None:
    bell = Bell()
    alarm = Alarm(bell.ring)
    alarm.set(now() + 10)
    assert callable(ends_it)
    ends_it(alarm)
    with anyio.move_on_after(1000) as patience:
        await bell.wait()
    assert patience.cancelled_caught

"""Ports that rest equally long are woken together, never later than they asked for and never much earlier."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from transports.rests import TURNS_PER_REST, Rests, rests_of_this_loop

PAUSE_S = 0.04


async def test_many_rests_of_one_length_end_in_few_turns() -> None:
    rests, ended = Rests(), list[float]()
    begins = []
    for _ in range(50):
        begins.append(asyncio.get_running_loop().time())
        rests.begin(PAUSE_S, ended.append)
        await anyio.sleep(PAUSE_S / 50)
    await anyio.sleep(2 * PAUSE_S)
    assert len(ended) == 50
    spread_s = begins[-1] - begins[0]
    assert len(set(ended)) <= spread_s / (PAUSE_S / TURNS_PER_REST) + 2


@pytest.mark.parametrize("pause_s", [0.0028, 0.011, 0.04, 3600])
async def test_a_rest_is_at_most_as_long_as_asked_for_and_at_least_three_quarters_of_it(pause_s: float) -> None:
    rests = Rests()
    before = asyncio.get_running_loop().time()
    at = rests.begin(pause_s, lambda at: None)
    after = asyncio.get_running_loop().time()
    assert before + 0.75 * pause_s - 1e-6 <= at <= after + pause_s


async def test_who_is_woken_may_rest_again_at_once() -> None:
    rests, times = Rests(), list[float]()
    done = anyio.Event()

    def again(at: float) -> None:
        times.append(at)
        rests.begin(0.004, again) if len(times) < 5 else done.set()

    rests.begin(0.004, again)
    with anyio.fail_after(5):
        await done.wait()
    assert times == sorted(set(times))


async def test_all_ports_of_a_loop_share_them() -> None:
    assert rests_of_this_loop() is rests_of_this_loop()

"""When restarts are a loop, when the loop has ended, and what people see of it."""

from __future__ import annotations

import logging
from pathlib import Path

import anyio
import pytest

from gateway.devices.board import MAX_EXCUSED_S, MOMENT_S
from gateway.devices.steadiness import LOOP, QUIET_S, WINDOW_S, Steadiness
from gateway.tests.desk import desk
from gateway.tests.fake_device import FakeDevice
from gateway.tests.warped_time import WarpedLoop


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "asyncio", {"loop_factory": WarpedLoop}


def restarts(subject: Steadiness, *instants: float) -> list[float]:
    """The instants at which a loop began."""
    return [now for now in instants if subject.restarted(now)]


def test_five_restarts_a_second_are_a_loop_that_begins_once() -> None:
    subject = Steadiness()
    assert restarts(subject, *(number / 5 for number in range(50))) == [(LOOP - 1) / 5]
    assert subject.is_looping
    assert subject.restarts == 50


@pytest.mark.parametrize("pause_s", [WINDOW_S / (LOOP - 1) + 0.1, 60.0])
def test_restarts_now_and_then_are_no_loop(pause_s: float) -> None:
    subject = Steadiness()
    assert restarts(subject, *(number * pause_s for number in range(50))) == []
    assert not subject.is_looping


def test_a_loop_ends_after_a_while_without_restarts_and_can_begin_again() -> None:
    subject = Steadiness()
    restarts(subject, 0, 1, 2, 3, 4, 5)
    assert subject.quiet_at == 5 + QUIET_S
    assert subject.settle(5 + QUIET_S - 0.1) == 0
    assert subject.restarts == 6
    assert subject.settle(5 + QUIET_S) == 6
    assert subject.restarts == 0
    assert restarts(subject, 100) == []
    assert restarts(subject, 101, 102, 103, 104) == [104]


def test_the_slowest_loop_ends_once() -> None:
    subject = Steadiness()
    for number in range(20):
        now = number * WINDOW_S / (LOOP - 1)
        assert subject.settle(now) == 0
        subject.restarted(now)
    assert subject.restarts == 20


async def test_a_loop_is_told_once_and_its_end_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        board = table.boards["dev"]
        device.join()
        await table.handled()
        for _ in range(30):
            device.reset()
            device.join()
            await table.handled()
        assert (board.state, board.is_allocatable(anyio.current_time())) == ("Faulted", False)
        assert board.has_problem(anyio.current_time())
        assert "again and again" in board.problem
        assert len(caplog.messages) < 4 * LOOP

        await table.until(lambda: not board.steadiness.is_looping)
        assert (board.state, board.problem) == ("Ready", "")
        assert not board.has_problem(anyio.current_time())
    assert caplog.messages.count("device restarts in a loop; told again when it has ended") == 1
    assert caplog.messages[-1] == "device restarts no more after 30 times"


async def test_one_restart_and_a_short_absence_are_no_problem_of_the_node(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        board = table.boards["dev"]
        assert board.has_problem(anyio.current_time())  # nobody has seen it yet
        device.join()
        await table.handled()
        device.lose()
        await table.handled()
        away_at = board.away_since
        assert away_at is not None
        assert not board.has_problem(away_at + MOMENT_S / 2)
        assert board.has_problem(away_at + MOMENT_S)
        device.join()
        await table.handled()
        assert not board.has_problem(anyio.current_time())


async def test_a_board_that_does_not_come_back_when_it_said_is_a_problem_of_the_node(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        board = table.boards["dev"]
        device.join()
        device.sleep()
        await table.handled()
        assert not board.has_problem(anyio.current_time() + 3600)  # its session goes on
        device.lose()
        await table.handled()
        away_at = board.away_since
        assert away_at is not None
        assert not board.has_problem(away_at + 59)
        assert board.has_problem(away_at + 63)
        device.join()
        await table.handled()
        assert not board.has_problem(anyio.current_time())


async def test_a_sleep_of_a_hundred_years_excuses_nobody_for_that_long(tmp_path: Path) -> None:
    device = FakeDevice("dev")
    async with desk(tmp_path, device) as table:
        board, now = table.boards["dev"], anyio.current_time()
        board.goes_away(now, 100 * 365 * 86400.0)
        assert board.has_problem(now + MAX_EXCUSED_S + 3)

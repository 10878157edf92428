"""The programs of a simulated device do what their names say, with time as data."""

from __future__ import annotations

import json

import pytest

from transports.protocol import ExitReason
from transports.simulated.outcomes import Blocked, Exited, Outcome, ResetDevice, Wait
from transports.simulated.programs import Invocation, Program, accept, exited, start


class Paper:
    """Takes as many lines as there is room for."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.room = room
        self.out: list[str] = []
        self.err: list[str] = []

    def __call__(self, line: bytes, *, stderr: bool = False, ends_line: bool = True) -> bool:
        if self.room == 0:
            return False
        self.room -= 1
        (self.err if stderr else self.out).append(line.decode())
        return True


def load(name: str, *args: str, env: tuple[str, ...] = ()) -> Program:
    program = start(Invocation(name, args, env, "board-a"))
    assert program is not None
    return program


ONCE: list[tuple[str, tuple[str, ...], list[str], list[str], Outcome]] = [
    ("hello", (), ["hello from board-a"], [], Wait()),
    ("echo", ("a", "b c"), ["a b c"], [], exited(0)),
    ("echo", (), [""], [], exited(0)),
    ("echo", ("two\nlines",), ["two", "lines"], [], exited(0)),
    ("args", ("-x", 'q"', "é"), [json.dumps(["-x", 'q"', "é"], ensure_ascii=False)], [], exited(0)),
    ("args", (), ["[]"], [], exited(0)),
    ("cat", (), [], [], Wait()),
    ("exit", ("3",), [], [], Exited(3, ExitReason.ERROR)),
    ("exit", (), [], [], Exited(0, ExitReason.COMPLETED)),
    ("exit", ("256",), [], ["exit: '256' is not an exit code from 0 to 255"], exited(2)),
    ("sleep", ("soon",), [], ["sleep: 'soon' is not a number of seconds"], exited(2)),
    ("sleep", ("nan",), [], ["sleep: 'nan' is not a number of seconds from 0 to 1e+09"], exited(2)),
    ("sleep", (), [], ["sleep: takes one argument"], exited(2)),
    ("counter", ("--rate",), [], ["counter: --rate needs a value"], exited(2)),
    ("counter", ("--rate", "0"), [], ["counter: --rate must be above 0"], exited(2)),
    ("counter", ("--speed=1",), [], ["counter: '--speed' is none of --rate, --count"], exited(2)),
    ("firehose", ("--count", "1.5"), [], ["firehose: '1.5' is not a count from 0 to 1000000000000"], exited(2)),
    ("crash", (), [], ["panic: crash was asked for"], Exited(134, ExitReason.PANIC, 6)),
]


@pytest.mark.parametrize(("name", "args", "out", "err", "outcome"), ONCE, ids=[f"{row[0]} {' '.join(row[1])}" for row in ONCE])
def test_one_poll_says_it_all(name: str, args: tuple[str, ...], out: list[str], err: list[str], outcome: Outcome) -> None:
    paper = Paper()
    assert load(name, *args).poll(7.0, paper) == outcome
    assert (paper.out, paper.err) == (out, err)


def test_env_is_sorted() -> None:
    paper = Paper()
    assert load("env", env=("B=2", "A=1 1", "AA=0")).poll(0.0, paper) == exited(0)
    assert paper.out == ["A=1 1", "AA=0", "B=2"]


def test_an_unknown_program_is_not_there_unless_anything_goes() -> None:
    call = Invocation("nginx", ("-g", "daemon off;"))
    assert start(call) is None
    paper = Paper()
    assert accept(call).poll(0.0, paper) == Wait()
    assert paper.out == ["nginx -g 'daemon off;'"]


def test_sleep_ends_on_time() -> None:
    program = load("sleep", "1.5")
    assert program.poll(10.0, Paper()) == Wait(11.5)
    assert program.poll(11.0, Paper()) == Wait(11.5)
    assert program.poll(11.5, Paper()) == exited(0)


def test_counter_keeps_its_rate_whoever_is_late() -> None:
    program, paper = load("counter", "--rate", "10", "--count=5"), Paper()
    assert program.poll(100.0, paper) == Wait(100.1)
    assert program.poll(100.1, paper) == Wait(100.2)
    assert program.poll(100.35, paper) == Wait(100.4)
    assert program.poll(100.4, paper) == exited(0)
    assert paper.out == ["1", "2", "3", "4", "5"]


def test_counter_does_not_wait_for_room() -> None:
    program, paper = load("counter", "--rate", "10"), Paper(room=1)
    program.poll(0.0, paper)
    program.poll(0.25, paper)
    paper.room = 9
    program.poll(0.3, paper)
    assert paper.out == ["1", "4"]


def test_firehose_fills_what_room_there_is_and_misses_no_number() -> None:
    program, paper = load("firehose"), Paper(room=3)
    assert program.poll(0.0, paper) == Blocked()
    paper.room = 2
    assert program.poll(0.0, paper) == Blocked()
    assert [int(line.split()[0]) for line in paper.out] == [1, 2, 3, 4, 5]
    assert {len(line) for line in paper.out} == {80}


def test_firehose_lets_the_others_have_a_turn() -> None:
    assert load("firehose").poll(5.0, Paper()) == Wait(5.0)


def test_a_printer_waits_for_room_and_goes_on_where_it_was() -> None:
    program, paper = load("env", env=("A=1", "B=2", "C=3")), Paper(room=2)
    assert program.poll(0.0, paper) == Blocked()
    paper.room = 5
    assert program.poll(0.0, paper) == exited(0)
    assert paper.out == ["A=1", "B=2", "C=3"]


def test_reboot_says_so_first() -> None:
    program, paper = load("reboot", "1"), Paper(room=0)
    assert program.poll(0.0, paper) == Blocked()
    paper.room = 1
    assert program.poll(0.5, paper) == Wait(1.5)
    assert program.poll(1.5, paper) == ResetDevice()
    assert paper.out == ["rebooting"]


@pytest.mark.parametrize(("name", "ends"), [("hello", True), ("cat", True), ("counter", True), ("stubborn", False), ("stuck", False)])
def test_who_ends_when_asked(name: str, ends: bool) -> None:
    assert load(name).stop(0.0) is ends

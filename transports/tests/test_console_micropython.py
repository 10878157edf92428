"""MicroPython at the far end of a console: the script, the raw REPL played by hand, and how runs end. hil-tests has a real board."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.console_options import ConsoleOptions
from transports.protocol import Answered, ExitReason, Joined, Listed, Output, RecordKind, WorkloadState
from transports.protocols.console.micropython import BANNER, DONE, OK_S, RETRY_S, SILENCE_S
from transports.protocols.console.python_script import MAX_SCRIPT_BYTES, RUN, STATEMENT_BYTES, mark, script, statements
from transports.protocols.console.typed import Untypable
from transports.tests.console_rig import Rig
from transports.wire.numbers import Code

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


# -- the script, executed by the Python of this test: what it uses means the same there


def executed(argv: list[str], env: list[str]) -> tuple[str, str]:
    """(output, text of the exception) of all statements, as a REPL executes them."""
    names: dict[str, Any] = {}
    output, before = io.StringIO(), sys.argv[:]
    try:
        with contextlib.redirect_stdout(output):
            for statement in [*statements(script(argv, env, "n")), RUN]:
                exec(statement, names)
    except Exception as error:
        return output.getvalue(), str(error)
    finally:
        sys.argv[:] = before
    return output.getvalue(), ""


@settings(deadline=None)
@given(st.lists(TEXT, max_size=4), st.dictionaries(TEXT.filter(lambda name: "=" not in name), TEXT, max_size=3))
def test_a_program_gets_back_what_was_put_in(args: list[str], environ: dict[str, str]) -> None:
    env = [f"{name}={value}" for name, value in environ.items()]
    output, error = executed(["python", "-c", "print(ascii((argv[1:], environ)))", *args], env)
    assert (output, error) == (f"{(args, environ)!a}\n", "")


@given(st.lists(TEXT, min_size=1, max_size=9), st.lists(TEXT.map("A={}".format), max_size=3))
def test_a_board_is_told_no_more_at_once_than_it_keeps(args: list[str], env: list[str]) -> None:
    for statement in [*statements(script(["-c", *args], env, "12345678")), RUN]:
        assert len(statement) + 1 <= STATEMENT_BYTES
        assert statement.isascii()
        assert statement.decode().isprintable()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("pass", ("", "")),
        ("raise SystemExit", ("", "")),
        ("raise SystemExit(None)", ("", "")),
        ("raise SystemExit(0)", ("", "")),
        ("raise SystemExit(3)", ("", "WIRELET-n:3")),
        ("raise SystemExit(-1)", ("", "WIRELET-n:255")),
        ("raise SystemExit('no such board')", ("no such board\n", "WIRELET-n:1")),
        ("print(1)\n1/0", ("1\n", "division by zero")),
        ("def f():\n return __name__\nprint(f())", ("__main__\n", "")),
        ("import sys\nprint(sys.argv)", ("['-c', 'x']\n", "")),
    ],
)
def test_how_a_program_ends(code: str, told: tuple[str, str]) -> None:
    assert executed(["-c", code, "x"], []) == told


@pytest.mark.parametrize(("argv", "run"), [(["prog.py", "x"], b"open('prog.py')"), (["micropython", "-m", "mod"], b"__import__('mod')")])
def test_files_and_modules(argv: list[str], run: bytes) -> None:
    assert run in script(argv, [], "n")


@pytest.mark.parametrize(("argv", "told"), [([], "says none"), (["python3"], "says none"), (["-c"], "says none"), (["-x"], "says none")])
def test_a_command_that_python_has_not_is_refused(argv: list[str], told: str) -> None:
    with pytest.raises(Untypable, match=told):
        script(argv, [], "n")


def test_a_script_that_is_too_big_is_refused_with_both_sizes() -> None:
    with pytest.raises(Untypable, match=rf"are \d+ bytes for MicroPython, more than {MAX_SCRIPT_BYTES}"):
        script(["-c", "x" * MAX_SCRIPT_BYTES], [], "n")


# -- the REPL


class Board(Rig):
    def take(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent

    def enter(self, code: str = "pass") -> None:
        """From START to the raw prompt."""
        self.start(args=("-c", code))
        assert self.take() == b"\r\x03\x03"
        self.hear(b"\r\n>>> ").wait(SILENCE_S)
        assert self.take() == b"\x01"
        self.hear(b"\r\n" + BANNER)

    def begin(self, code: str = "pass") -> Board:
        self.enter(code)
        while RUN not in self.sent:
            assert self.take().endswith(b"\x04")
            self.hear(DONE)
        assert self.take() == RUN + b"\x04"
        return self

    @property
    def error_log(self) -> str:
        return self.log(0, RecordKind.STDERR)

    @property
    def nonce(self) -> str:
        return self.last(Output).checkpoint.tail.partition(b'"k')[2][:8].decode()


def up(**more: Any) -> Board:
    rig = Board(ConsoleOptions(profile="micropython"), **more)
    rig.up()
    return rig


def test_nothing_is_sent_before_a_pod_asks_and_each_statement_waits_for_its_answer() -> None:
    rig = up()
    rig.hear(b">>> ").wait(60)
    assert rig.sent == b""
    rig.enter()
    assert rig.take() == b"_s=[];_a=_s.append\x04"
    rig.hear(DONE[:3]).wait(1)
    assert rig.sent == b""
    rig.hear(DONE[3:])
    assert rig.take().startswith(b"_a(")


@pytest.mark.parametrize(
    ("said", "exit_code", "reason", "log", "error_log", "message"),
    [
        (b"hi\r\n\x04\x04>", 0, ExitReason.COMPLETED, "hi\n", "", ""),
        (b"hi\r\n\x04Traceback:\r\nException: MARK3\r\n\x04>", 3, ExitReason.ERROR, "hi\n", "", ""),
        (b"\x04T:\r\nKeyboardInterrupt: \r\n\x04>", 130, ExitReason.ERROR, "", "T:\nKeyboardInterrupt: \n", "KeyboardInterrupt:"),
        (b"x\x04T:\r\nValueError: no\r\n\x04>", 1, ExitReason.ERROR, "x\n", "T:\nValueError: no\n", "ValueError: no"),
    ],
)
def test_how_a_run_ends(said: bytes, exit_code: int, reason: ExitReason, log: str, error_log: str, message: str) -> None:
    for is_cut in (False, True):
        rig = up().begin()
        answer = b"OK" + said.replace(b"MARK", mark(rig.nonce).encode())
        for piece in [answer[at : at + 1] for at in range(len(answer))] if is_cut else [answer]:
            rig.hear(piece)
        (status,) = rig.statuses
        assert (status.exit_code, status.reason, status.message) == (exit_code, reason, message)
        assert (rig.run_log, rig.error_log) == (log, error_log)
        assert rig.take() == b"\x02"


@pytest.mark.parametrize("digits", [4, 20, 5000])
def test_an_exit_code_that_no_script_can_have_is_only_a_message(digits: int) -> None:
    rig = up().begin()
    code = b"9" * digits
    rig.hear(b"OK\x04T:\r\nException: MARK".replace(b"MARK", mark(rig.nonce).encode()) + code + b"\r\n\x04>")
    (status,) = rig.statuses
    assert (status.exit_code, status.reason) == (1, ExitReason.ERROR)


def test_a_board_that_does_not_take_a_statement_says_why() -> None:
    rig = up()
    rig.enter()
    rig.hear(b"OK\x04Traceback:\r\nMemoryError: \r\n\x04>")
    (answer,) = [each for each in rig.all(Answered) if each.code]
    assert (answer.code, answer.text) == (Code.INTERNAL, "the REPL does not take the script: MemoryError: ")
    assert rig.take().endswith(b"\x02")


def test_a_console_without_a_repl_is_tried_again_and_given_up() -> None:
    rig = up()
    request = rig.start(args=("-c", "pass"))
    rig.wait(RETRY_S + SILENCE_S)
    assert rig.take() == b"\r\x03\x03\x01\r\x03\x03\x01"
    rig.wait(30)
    answer = rig.answer(request)
    assert answer is not None
    assert answer.text == "no REPL of MicroPython within 15 s"


def test_a_script_that_is_not_taken_has_failed_to_start() -> None:
    rig = up().begin()
    rig.wait(OK_S)
    assert [(status.exit_code, status.reason) for status in rig.statuses] == [(128, ExitReason.START_FAILED)]


def test_what_is_no_command_of_python_is_refused() -> None:
    rig = up()
    answer = rig.answer(rig.start())
    assert answer is not None
    assert answer.code == Code.INVALID


def test_a_stop_is_control_c_three_times() -> None:
    rig = up().begin()
    rig.hear(b"OK")
    rig.stop(grace_ms=4000)
    assert rig.take() == b"\x03"
    rig.wait(60)
    assert rig.take() == b"\x03\x03"


def test_a_prompt_where_the_output_was_is_a_restart() -> None:
    rig = up().begin()
    boot = rig.last(Joined).boot_id
    rig.hear(b"OKgoing\r\nMicroPython v1.24; board\r\n>>> ").wait(SILENCE_S)
    assert rig.last(Joined).boot_id != boot
    assert rig.last(Listed).workloads == ()
    assert rig.run_log.startswith("going\n")
    assert [status.state for status in rig.statuses] == []
    rig.begin()
    assert rig.last(Output).checkpoint.tail.startswith(b"console1 micropython [[")


def test_a_killed_gateway_learns_the_end_or_that_it_missed_it() -> None:
    rig = up().begin()
    rig.hear(b"OKup\r\n")
    checkpoint = rig.last(Output).checkpoint
    hears = up(checkpoint=checkpoint, seed=3)
    assert hears.last(Listed).workloads[0].state is WorkloadState.RUNNING
    assert hears.take() == b"\x01"
    hears.hear(b"down\r\n\x04\x04>" + BANNER)
    assert hears.statuses[-1].exit_code == 0
    missed = up(checkpoint=checkpoint, seed=4)
    missed.hear(BANNER)
    assert (missed.statuses[-1].reason, missed.statuses[-1].exit_code) == (ExitReason.LINK_LOSS, 137)

"""A shell at the far end of a console, played by hand: what is typed when, what is logged, and how runs end. hil-tests has real shells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports.console_options import ConsoleOptions, LoginOptions
from transports.driver import BadOption
from transports.protocol import Answered, ExitReason, Gap, Listed, Output, WorkloadState
from transports.protocols.console.shell import ECHO_S, LOST_S, RETRY_S, SILENCE_S
from transports.protocols.console.typed import mark, question, script
from transports.tests.console_rig import Rig
from transports.wire.numbers import Code

SHELL = ConsoleOptions(profile="shell", prompts=("# ",))
PROMPT = b"board:~# "


class Far(Rig):
    """The far end echoes what is typed and prompts after each line, as a shell does."""

    def take(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent

    def type_all(self) -> bytes:
        """From the first typed line to the one that runs the script; returns all that was typed."""
        typed = b""
        while b"eval" not in typed:
            line = self.take()
            assert line.endswith(b"\r"), "nothing more is typed"
            typed += line
            self.hear(line[:-1] + b"\r\n")
            if b"eval" not in line:
                self.hear(PROMPT)
        return typed

    @property
    def nonce(self) -> str:
        run = re.search(rb'"([0-9a-f]{8})i?"', self.last(Output).checkpoint.tail)
        assert run is not None
        return run[1].decode()

    def begin(self, *args: str, **more: Any) -> Far:
        """A run of a command, up to the mark of its begin."""
        self.start(args=args or ("run",), **more)
        assert self.take() == b"\r"
        self.hear(b"\r\n" + PROMPT).wait(SILENCE_S)
        self.type_all()
        self.hear(b"\r\n" + mark("B", self.nonce) + b"\r\n")
        return self

    def end(self, exit_code: int) -> bytes:
        return b"\r\n" + mark("E", self.nonce) + b":%d\r\n" % exit_code


def up(options: ConsoleOptions = SHELL) -> Far:
    rig = Far(options)
    rig.up()
    return rig


def test_nothing_is_typed_before_a_pod_asks_and_each_line_waits_for_a_prompt() -> None:
    rig = up()
    rig.hear(b"login: ").wait(60).hear(PROMPT).wait(60)
    assert rig.sent == b""
    request = rig.start(args=("sh", "-c", "x" * 2000))
    assert rig.take() == b"\r"
    rig.hear(b"\r\n" + PROMPT)
    assert rig.sent == b"", "a prompt in the midst of a flood is none"
    rig.wait(SILENCE_S)
    assert rig.take() == b" unset HISTFILE _x; _w=\r"
    rig.hear(b" unset HISTFILE _x; _w=\r\n").wait(1)
    assert (rig.sent, rig.answer(request)) == (b"", None)
    rig.hear(PROMPT)
    typed = rig.type_all()
    assert typed.count(b"\r") > 5
    answer = rig.answer(request)
    assert answer is not None
    assert answer.status is not None
    assert answer.status.state is WorkloadState.RUNNING


@given(st.binary(max_size=200), st.integers(0, 255), st.lists(st.integers(1, 40), max_size=30))
def test_the_log_is_what_comes_between_the_marks_however_it_is_cut(output: bytes, exit_code: int, cuts: list[int]) -> None:
    rig = up().begin(env=("SECRET=x",))
    rest = output + rig.end(exit_code) + PROMPT
    for size in cuts:
        rig.hear(rest[:size])
        rest = rest[size:]
    rig.hear(rest)
    assert [(status.exit_code, status.reason) for status in rig.statuses] == [
        (exit_code, ExitReason.ERROR if exit_code else ExitReason.COMPLETED)
    ]
    whole = Rig().up()
    whole.start()
    whole.hear(output).stop()
    assert rig.run_log == whole.run_log
    assert "WIRELET" not in rig.device_log or b"WIRELET" in output
    assert "printf" not in rig.device_log


def test_a_line_is_not_held_back_by_the_mark_that_may_follow() -> None:
    rig = up().begin()
    rig.hear(b"up\r\n").wait(SILENCE_S)
    assert rig.run_log == "up\n"
    rig.hear(mark("E", rig.nonce) + b":0\r\n")
    assert (rig.run_log, rig.statuses[-1].exit_code) == ("up\n", 0)


def secret(folder: Path, text: str = "s3cret\n", mode: int = 0o600) -> str:
    path = folder / "password"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_a_login_is_answered_in_order_and_the_password_is_logged_nowhere(tmp_path: Path) -> None:
    steps = (LoginOptions(expect="login:", send="root"), LoginOptions(expect="Password:", send_file=secret(tmp_path)))
    rig = up(ConsoleOptions(profile="shell", login=steps))
    rig.hear(b"board login: ").wait(5)
    rig.start(args=("run",))
    assert rig.take() == b"\r"
    rig.hear(b"\r\nboard login: ").wait(SILENCE_S)
    assert rig.take() == b"root\r"
    rig.hear(b"root\r\nPassword: ").wait(SILENCE_S)
    assert rig.take() == b"s3cret\r"
    rig.hear(b"s3c").hear(b"ret\r\nLast login: Mon\r\n" + PROMPT).wait(SILENCE_S)
    assert rig.take().startswith(b" unset HISTFILE")
    assert "Password: *****\nLast login: Mon\n" in rig.device_log
    assert b"s3cret" not in repr(rig.events).encode()


def test_a_login_that_is_refused_gives_up_without_trying_again(tmp_path: Path) -> None:
    rig = up(ConsoleOptions(profile="shell", login=(LoginOptions(expect="login:", send="root"),)))
    request = rig.start(args=("run",))
    rig.hear(b"\r\nlogin: ").wait(SILENCE_S).hear(b"root\r\nLogin incorrect\r\nlogin: ").wait(30)
    answer = rig.answer(request)
    assert answer is not None
    assert (answer.code, answer.text) == (Code.INTERNAL, "no prompt of a shell within 15 s")
    assert rig.sent == b"\rroot\r"


def test_a_shell_that_does_not_wake_is_interrupted() -> None:
    rig = up()
    rig.start(args=("run",))
    rig.take()
    rig.wait(RETRY_S)
    assert rig.take() == b"\x03\r"


def test_a_shell_that_stops_answering_is_refused_and_the_next_pod_may_try() -> None:
    rig = up()
    request = rig.start(args=("run",))
    rig.hear(PROMPT).wait(SILENCE_S).wait(ECHO_S)
    answer = rig.answer(request)
    assert answer is not None
    assert "stopped answering" in answer.text
    rig.take()
    assert rig.begin("again").answer(request) == answer


def test_a_command_that_the_shell_does_not_run_has_failed_to_start() -> None:
    rig = up()
    rig.start(args=("run",))
    rig.hear(PROMPT).wait(SILENCE_S)
    rig.take()
    rig.sent = b" unset HISTFILE _x; _w=\r"
    rig.type_all()
    rig.wait(ECHO_S)
    assert [(status.exit_code, status.reason) for status in rig.statuses] == [(128, ExitReason.START_FAILED)]


@pytest.mark.parametrize(
    ("more", "told"),
    [({}, "the container has none"), ({"args": ("a",), "env": ("x.y=1",)}, "no name"), ({"args": ("a" * 20000,)}, "more than")],
)
def test_what_a_shell_cannot_run_is_refused(more: dict[str, Any], told: str) -> None:
    rig = up()
    answer = rig.answer(rig.start(**more))
    assert answer is not None
    assert answer.code == Code.INVALID
    assert told in answer.text
    assert rig.sent == b""


def test_a_stop_interrupts_and_then_asks_the_shell_how_it_ended() -> None:
    rig = up().begin()
    rig.stop(grace_ms=4000)
    assert rig.take() == b"\x03"
    rig.hear(b"^C\r\n" + PROMPT).wait(SILENCE_S)
    asked = question(rig.nonce).encode()
    assert rig.take() == asked + b"\r"
    rig.hear(asked + b"\r\n" + rig.end(130))
    assert [(status.exit_code, status.reason) for status in rig.statuses] == [(130, ExitReason.ERROR)]
    assert rig.run_log == "^C\nboard:~# \n"


def test_a_stop_becomes_more_urgent() -> None:
    rig = up().begin()
    rig.stop(grace_ms=4000)
    rig.take()
    rig.hear(b"^Cignored\r\n").wait(2)
    assert rig.take() == b"\x03"
    rig.wait(2)
    assert rig.take() == b"\x1c"
    rig.wait(60)
    assert rig.sent == b""


def test_a_stop_before_the_begin_refuses_the_start() -> None:
    rig = up()
    request = rig.start(args=("run",))
    rig.stop()
    answer = rig.answer(request)
    assert answer is not None
    assert answer.code == Code.BAD_STATE
    rig.take()
    rig.hear(PROMPT).wait(60)
    assert rig.sent == b""


def test_a_mark_that_the_line_lost_is_asked_for() -> None:
    rig = up().begin()
    rig.hear(b"out\r\n" + PROMPT).wait(LOST_S)
    assert rig.sent == b""
    rig.wait(SILENCE_S)
    asked = question(rig.nonce).encode()
    assert rig.take() == asked + b"\r"
    rig.hear(asked + b"\r\n" + rig.end(3))
    assert rig.statuses[-1].exit_code == 3


def test_a_killed_gateway_asks_how_it_ended() -> None:
    rig = up().begin()
    rig.hear(b"one\r\n")
    again = Far(SHELL, rig.last(Output).checkpoint, seed=9, now=rig.now + 10)
    again.up()
    assert [status.gen for status in again.last(Listed).workloads] == [1]
    asked = question(rig.nonce).encode() + b"\r"
    assert again.take() == asked
    again.hear(asked + b"\n" + rig.end(5))
    assert again.statuses[-1].exit_code == 5
    assert any(isinstance(item, Gap) for item in again.items)


# -- a run that reads what is typed


def test_a_run_with_input_reads_the_console_and_others_read_nothing() -> None:
    for has_input, told in ((True, "exec 'cat'); "), (False, "exec 'cat') </dev/null; ")):
        assert told in script(["cat"], [], "n", has_input=has_input)


def test_what_a_person_types_goes_to_the_run_and_not_into_the_profiles_conversation() -> None:
    rig = up()
    rig.start(args=("cat",), stdin=True)
    assert rig.take() == b"\r"
    assert rig.answer(rig.keys(b"early")) == Answered(rig.last(Answered).request_id, Code.NOT_FOUND, None, "the run has ended")
    rig.hear(b"\r\n" + PROMPT).wait(SILENCE_S)
    rig.type_all()
    early = rig.answer(rig.keys(b"early"))
    assert early is not None
    assert early.code == Code.BUSY
    rig.hear(b"\r\n" + mark("B", rig.nonce) + b"\r\n")
    rig.keys(b"hello\n")
    rig.keys(b"", is_end=True)
    assert rig.take() == b"hello\n\x04"
    rig.hear(b"hello\r\nhello\r\n" + rig.end(0))
    assert rig.statuses[-1].exit_code == 0


def test_a_prompt_of_the_run_itself_is_no_end() -> None:
    rig = up().begin("sh", stdin=True)
    rig.hear(PROMPT).wait(60)
    assert rig.sent == b""
    rig.keys(b"ls\n")
    rig.stop(grace_ms=4000)
    rig.take()
    rig.hear(b"^C\r\n" + PROMPT).wait(SILENCE_S)
    assert rig.take() == question(rig.nonce).encode() + b"\r"


def test_after_a_kill_a_run_with_input_is_asked_for_only_at_a_prompt_that_stays() -> None:
    rig = up().begin("sh", stdin=True)
    rig.hear(b"one\r\n")
    again = Far(SHELL, rig.last(Output).checkpoint, seed=9, now=rig.now + 10)
    again.up()
    assert again.take() == b"\r"
    again.hear(b"\r\n" + PROMPT).wait(LOST_S + SILENCE_S)
    asked = question(rig.nonce, only_ended=True).encode() + b"\r"
    assert again.take() == asked
    # The run is a shell itself, which does not know the status: it goes on.
    again.hear(asked + b"\n\r\n" + mark("E", rig.nonce) + b":\r\n" + PROMPT)
    assert again.statuses == []
    again.wait(LOST_S + SILENCE_S)
    again.take()
    again.hear(asked + b"\n" + rig.end(5))
    assert again.statuses[-1].exit_code == 5


def test_a_gateway_that_is_killed_while_it_types_has_begun_nothing() -> None:
    rig = up()
    rig.start(args=("run",))
    rig.hear(PROMPT).wait(SILENCE_S)
    assert rig.take()
    again = rig.killed().up()
    assert again.last(Listed).workloads == ()
    assert again.sent == b""


def test_a_login_where_the_run_was_is_its_end() -> None:
    options = ConsoleOptions(profile="shell", login=(LoginOptions(expect="login:", send="root"),))
    rig = Far(options)
    rig.up()
    rig.begin()
    rig.down().up().hear(b"\r\nboard login: ").wait(SILENCE_S)
    (status,) = rig.statuses
    assert status.reason is ExitReason.LINK_LOSS
    assert "asks for a login" in status.message


def test_a_board_that_was_reset_to_end_a_run_has_ended_it() -> None:
    rig = up(ConsoleOptions(profile="shell", login=(LoginOptions(expect="login:", send="root"),))).begin()
    rig.stop()
    rig.hear(b"^CU-Boot 2024\r\nboard login: ").wait(SILENCE_S)
    assert [status.reason for status in rig.statuses] == [ExitReason.LINK_LOSS]


# -- options


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        ("s3cret\n", 0o644, "can be used by everybody; chmod o="),
        ("", 0o600, "must hold one line of 1 to 256 bytes"),
        ("a\nb\n", 0o600, "must hold one line"),
        ("a" * 257, 0o600, "must hold one line"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused_and_not_shown(tmp_path: Path, text: str, mode: int, told: str) -> None:
    with pytest.raises(BadOption, match=told) as caught:
        LoginOptions(expect="Password:", send_file=secret(tmp_path, text, mode))
    assert caught.value.option == "send_file"


def test_a_file_that_is_not_there_is_told_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match=r"cannot read .*/absent: No such file"):
        LoginOptions(expect="Password:", send_file=str(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("options", "option", "told"),
    [
        ({"login": (LoginOptions(expect="a", send="b"),)}, "login", "is for profile shell"),
        ({"profile": "shell", "ok": ("a",)}, "ok", "is for profile raw"),
        ({"profile": "shell", "prompts": ("",)}, "prompts", "ends of prompts"),
        ({"profile": "shell", "start_deadline": 60.0}, "start_deadline", "1s to 25s, not 60s"),
        ({"profile": "shell", "login": (LoginOptions(expect="a", send="b"),) * 9}, "login", "at most 8 steps, not 9"),
    ],
)
def test_an_option_that_does_not_fit_its_profile_is_refused(options: dict[str, Any], option: str, told: str) -> None:
    with pytest.raises(BadOption, match=told) as caught:
        ConsoleOptions(**options)
    assert caught.value.option == option


def test_a_login_step_has_one_answer() -> None:
    with pytest.raises(ValueError, match="exactly one of: send, sendFile"):
        LoginOptions(expect="a")

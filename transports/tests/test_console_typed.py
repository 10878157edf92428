"""What is typed into a shell: a real sh gives back what was put in, and the terminal sees nothing but plain characters."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.protocols.console.typed import (
    MAX_SCRIPT_BYTES,
    TYPED_BYTES,
    Untypable,
    mark,
    question,
    quote,
    script,
    typed_lines,
)

SHELLS = [["sh"], ["dash"], ["bash", "--posix"], ["busybox", "ash"]]
"""Those that there are: Debian has the first three, hil-tests need the last."""
THERE = [pytest.param(shell, id=shell[0]) for shell in SHELLS if shutil.which(shell[0])]

TELL = ["sh", "-c", 'printf "%s\\0" "$#" "$@"; exec env -0', "sh"]
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
NASTY = st.sampled_from(
    ["'", '"', "$HOME", "`id`", "\\", "\n\n", "%s", "!!", "\x03", "\t", "~", "*", "", "-n", "\r", "ü", "$(x)", "# ", "\x7f"]
)


def run(shell: list[str], argv: list[str], env: list[str], nonce: str = "12ab34cd") -> subprocess.CompletedProcess[bytes]:
    typed = "".join(f"{line}\n" for line in typed_lines(script(argv, env, nonce)))
    return subprocess.run(shell, input=typed.encode(), capture_output=True, timeout=20, check=False)


@pytest.mark.property
@pytest.mark.parametrize("shell", THERE)
@settings(max_examples=40, deadline=None)
@given(args=st.lists(WORDS | NASTY, max_size=4), values=st.lists(WORDS | NASTY, max_size=3))
def test_a_real_shell_gives_back_what_was_put_in(shell: list[str], args: list[str], values: list[str]) -> None:
    env = [f"W_{number}={value}" for number, value in enumerate(values)]
    done = run(shell, [*TELL, *args], env)
    output, _, status = done.stdout.partition(mark("B", "12ab34cd") + b"\n")[2].rpartition(b"\n" + mark("E", "12ab34cd"))
    count, *told = output.decode().removesuffix("\0").split("\0")
    assert (status, int(count), told[: len(args)]) == (b":0\n", len(args), args)
    assert sorted(each for each in told[len(args) :] if each.startswith("W_")) == sorted(env)


def output_of(shell: list[str], *argv: str) -> bytes:
    return run(shell, list(argv), []).stdout.partition(mark("B", "12ab34cd") + b"\n")[2].rpartition(b"\n" + mark("E", "12ab34cd"))[0]


@pytest.mark.parametrize("shell", THERE)
def test_no_piece_is_taken_for_an_option(shell: list[str]) -> None:
    assert output_of(shell, "printf", "%s", "x" + "-" * 1000) == b"x" + b"-" * 1000


@pytest.mark.parametrize("shell", THERE)
def test_line_ends_where_a_piece_ends_are_kept(shell: list[str]) -> None:
    assert output_of(shell, "printf", "%s", "\n" * 500 + "end") == b"\n" * 500 + b"end"


@pytest.mark.parametrize("shell", THERE)
@pytest.mark.parametrize(
    ("argv", "status"), [(["true"], 0), (["sh", "-c", "exit 7"], 7), (["/no/such/program"], 127), (["sh", "-c", "kill -9 $$"], 137)]
)
def test_the_exit_code_is_in_the_mark(shell: list[str], argv: list[str], status: int) -> None:
    assert run(shell, argv, []).stdout.endswith(b"\n" + mark("E", "12ab34cd") + b":%d\n" % status)


def test_the_command_has_no_input_and_leaves_the_shell_as_it_was() -> None:
    typed = "".join(f"{line}\n" for line in typed_lines(script(["cat"], ["A=1"], "n")))
    done = subprocess.run(["sh"], input=f'{typed}echo "A=$A w=$_w"\n'.encode(), capture_output=True, timeout=20, check=False)
    assert done.stdout.endswith(b"A= w=\n")


@given(WORDS, st.lists(WORDS | NASTY, max_size=5))
def test_the_terminal_sees_nothing_but_plain_short_lines(nonce_text: str, argv: list[str]) -> None:
    nonce = f"{hash(nonce_text) & 0xFFFFFFFF:08x}"
    lines = typed_lines(script(argv or ["x"], ["A=# $ > "], nonce))
    assert all(line.isascii() and line.isprintable() and len(line) < TYPED_BYTES + 80 for line in lines)
    for kind in "BE":
        assert not any(mark(kind, nonce).decode() in line for line in (*lines, question(nonce)))
    assert not any(prompt in line for line in lines[1:-1] for prompt in ("# ", "> "))


@pytest.mark.parametrize("shell", THERE)
def test_a_question_is_answered_with_the_status_or_what_the_shell_says(shell: list[str]) -> None:
    asked = f"_x=3\n{question('n')}\nunset _x; false\n{question('n')}\n"
    done = subprocess.run(shell, input=asked.encode(), capture_output=True, timeout=20, check=True)
    assert done.stdout == b"\nWIRELET-En:3\n\nWIRELET-En:1\n"


@pytest.mark.parametrize(
    ("argv", "env", "message"),
    [
        (["a\0b"], [], "a zero byte"),
        (["a"], ["A=\0"], "a zero byte"),
        (["a"], ["my.name=1"], "'my.name' is no name that a shell can export"),
        (["a"], ["A;B=1"], "'A;B' is no name"),
        (["a" * MAX_SCRIPT_BYTES], [], f"more than {MAX_SCRIPT_BYTES}"),
    ],
)
def test_what_a_shell_cannot_be_told_is_refused(argv: list[str], env: list[str], message: str) -> None:
    with pytest.raises(Untypable, match=message):
        script(argv, env, "n")


def test_quotes() -> None:
    assert quote("it's") == "'it'\\''s'"

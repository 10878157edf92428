"""The script of a job, read back by Python's reader of shell words; hil-tests/test_exec_quoting.py runs it in real shells."""

from __future__ import annotations

import shlex

from hypothesis import given
from hypothesis import strategies as st

from transports.protocol import StartWorkload
from transports.protocols.exec_command import job_script

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["'", "''", "$(x)", "a\nb"]
)


def words_of(request: StartWorkload) -> list[str]:
    script = job_script(request).decode()
    first, _, second = script.partition("\n") if not request.working_dir else (script, "", "")
    assert first.startswith("cd -- ")
    return shlex.split(second)


@given(st.lists(WORDS, min_size=1, max_size=4).filter(lambda words: "=" not in words[0]), WORDS)
def test_no_shell_reads_a_word(words: list[str], value: str) -> None:
    assert words_of(StartWorkload(1, 1, "p", tuple(words), (f"A={value}",))) == ["exec", "env", "--", f"A={value}", *words]


def test_a_program_with_an_equals_sign_is_no_variable() -> None:
    assert words_of(StartWorkload(1, 1, "p", ("a=b", "x"))) == ["exec", "env", "--", "sh", "-c", '"$0" "$@"', "a=b", "x"]


def test_without_a_command_the_image_is_the_command() -> None:
    assert words_of(StartWorkload(1, 1, "uname")) == ["exec", "env", "--", "uname"]


def test_the_working_directory_is_a_word_too() -> None:
    script = job_script(StartWorkload(1, 1, "p", ("x",), working_dir="/it's $HOME")).decode()
    assert shlex.split(script.partition(" || ")[0]) == ["cd", "--", "/it's $HOME"]

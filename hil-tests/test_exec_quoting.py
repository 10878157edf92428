"""No word of a pod is read by a shell: generated commands, variables and directories through a real dash and a real busybox ash."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from shell_target import SHELLS, Target

from transports.protocol import StartWorkload
from transports.protocols.exec_command import job_script

NASTY: Final = (
    "",
    "'",
    "''",
    "\\",
    "$(touch hit)",
    "`touch hit`",
    "; touch hit",
    "& touch hit",
    "\n",
    "a\nb",
    "!",
    "*",
    "~",
    "-n",
    "--",
    "#",
    "=",
)
WORDS: Final = st.sampled_from(NASTY) | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
NAMES: Final = st.from_regex(r"[A-Za-z_.-][A-Za-z0-9_.-]{0,8}", fullmatch=True) | st.sampled_from(("A B", "$x", "a;b", "a'b"))


@pytest.fixture(scope="module", params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, need: Callable[[str], None]) -> Target:
    if request.param == "busybox":
        need("busybox")
    return Target(tmp_path_factory.mktemp(request.param), request.param)


def run(machine: Target, request: StartWorkload) -> bytes:
    """What the job says, run as the wrapper runs it."""
    script = machine.home / "job"
    script.write_bytes(job_script(request))
    done = subprocess.run(
        [*machine.shell, str(script)],
        env={"PATH": machine.path, "HOME": str(machine.home)},
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not (machine.home / "hit").exists()
    return done.stdout


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(WORDS, min_size=1, max_size=5))
@example(words=list(NASTY))
def test_every_word_arrives_as_it_was_written(machine: Target, words: list[str]) -> None:
    said = run(machine, StartWorkload(1, 1, "p", ("printf", "%s\\0", *words)))
    assert said.split(b"\0")[:-1] == [word.encode() for word in words]


@settings(max_examples=60, deadline=None)
@given(variables=st.dictionaries(NAMES.filter(lambda name: name not in ("PATH", "_")), WORDS, max_size=5))
def test_every_variable_arrives_whatever_its_name(machine: Target, variables: dict[str, str]) -> None:
    env = tuple(f"{name}={value}" for name, value in variables.items())
    said = set(run(machine, StartWorkload(1, 1, "p", ("env", "-0"), env)).split(b"\0"))
    assert {variable.encode() for variable in env} <= said


@settings(max_examples=30, deadline=None)
@given(name=WORDS.filter(lambda name: name not in ("", ".", "..") and "/" not in name and len(name.encode()) < 200))
@example(name="$(touch hit)")
@example(name="-P")
@example(name="a\n")
def test_a_job_begins_in_its_working_directory(machine: Target, name: str) -> None:
    directory = machine.home / "places" / name
    directory.mkdir(parents=True, exist_ok=True)
    said = run(machine, StartWorkload(1, 1, "p", ("sh", "-c", "pwd"), working_dir=str(directory)))
    assert said == os.fsencode(directory) + b"\n"


@pytest.mark.parametrize("name", ["a=b", "-x", "it's", "$x", "a b"])
def test_a_program_of_any_name_is_a_program(machine: Target, name: str) -> None:
    program = machine.home / "programs" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text('#!/bin/sh\nprintf "<%s>" "$@"\n')
    program.chmod(0o755)
    path = f"PATH={program.parent}:{machine.path}"
    assert run(machine, StartWorkload(1, 1, "p", (name, "one", "two words"), (path,))) == b"<one><two words>"


def test_without_a_command_the_image_is_the_command_and_home_is_where_it_runs(machine: Target) -> None:
    assert run(machine, StartWorkload(1, 1, "env")).count(b"HOME=") == 1
    assert run(machine, StartWorkload(1, 1, "p", ("sh", "-c", "pwd"))) == f"{machine.home}\n".encode()


def test_a_directory_that_is_not_there_is_told(machine: Target, tmp_path: Path) -> None:
    script = tmp_path / "job"
    script.write_bytes(job_script(StartWorkload(1, 1, "p", ("true",), working_dir="/nowhere")))
    done = subprocess.run([*machine.shell, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 126
    assert "/nowhere" in done.stderr

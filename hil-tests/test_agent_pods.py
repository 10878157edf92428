"""Pods on a machine behind a real sshd by the agent: frames over the channel, and every way in which that may break."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_lab import AgentLab
from counted import account
from processes import Reaper
from sshd import Sshd
from workbench import Workbench

COUNT = 'i=0; while [ $i -lt "$0" ]; do i=$((i+1)); echo $i; sleep 0.01; done'
FOR_EVER = "100000000"


@pytest.fixture
def lab(tmp_path: Path, workbench: Workbench, need: Callable[[str], None]) -> Iterator[AgentLab]:
    need("sshd")
    with contextlib.closing(Reaper()) as reaper:
        sshd = Sshd(tmp_path / "sshd", reaper)
        sshd.start()
        made = AgentLab(tmp_path, workbench, sshd)
        yield made
        made.close()
        sshd.stop()


def assert_all(lines: list[str], least: int) -> None:
    told = account(lines)
    assert told.missing == 0
    assert told.last == told.delivered >= least


def test_a_pod_is_a_command_with_its_words_its_environment_and_its_directory(lab: AgentLab, tmp_path: Path) -> None:
    lab.set_up()
    nasty = 'it\'s $(reboot) `x` \\ "q"\n two'
    script = 'printf "[%s]\\n" "$@" "$V" "$PWD"; echo oops >&2; exit 7'
    lab.run("words", "sh", "-c", script, "sh", nasty, "", env=[{"name": "V", "value": nasty}], workingDir=str(tmp_path))
    ended = lab.wait_for_end("words")
    assert (ended["exitCode"], ended["reason"]) == (7, "Error")
    assert "\n".join(line for line in lab.logs("words") if line != "oops") == f"[{nasty}]\n[]\n[{nasty}]\n[{tmp_path}]"
    assert "oops" in lab.logs("words")

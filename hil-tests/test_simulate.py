"""`wirelet simulate` as a person or a script uses it: one process, many boards, cables pulled by commands on stdin."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from gateways import WIRELET
from workbench import Workbench


def simulate(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WIRELET, "simulate", *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )


def test_links_come_go_and_come_back_by_command(workbench: Workbench) -> None:
    boards = workbench.boards(3)
    boards.unplug(1)
    assert [link.exists() for link in boards.links] == [True, False, True]
    boards.plug(1)
    boards.process.tell("unplug")
    boards.process.wait_for(lambda: not any(link.exists() for link in boards.links), "all links to vanish")
    boards.process.tell("plug")
    boards.process.wait_for(lambda: all(link.exists() for link in boards.links), "all links to come back")
    boards.process.tell("reset 2")
    boards.process.wait_for(lambda: f"reset {boards.links[2]}" in boards.process.log_tail(), "the reset")


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_takes_the_links_away(workbench: Workbench, ending: signal.Signals) -> None:
    boards = workbench.boards(2)
    boards.process.stop(ending)
    assert [link.is_symlink() for link in boards.links] == [False, False]
    assert "Traceback" not in boards.process.log_tail(100)


def test_a_link_left_by_a_killed_process_is_taken_over(workbench: Workbench) -> None:
    boards = workbench.boards()
    boards.kill()
    assert boards.links[0].is_symlink()
    boards.start()
    assert boards.links[0].exists()


def test_a_wrong_command_is_one_line_and_changes_nothing(workbench: Workbench) -> None:
    boards = workbench.boards(2)
    for command in ("unplug 2", "explode", "plug 0 1", ""):
        boards.process.tell(command)
    boards.process.tell("reset 0")
    boards.process.wait_for(lambda: "reset" in boards.process.log_tail(1), "the last command")
    refusals = [line for line in boards.process.log_tail(100).splitlines() if line.startswith("wirelet simulate:")]
    assert refusals == [
        "wirelet simulate: 'unplug 2': a command is unplug, plug, reset and a number from 0 to 1",
        "wirelet simulate: unknown command 'explode'; there are: unplug, plug, reset",
        "wirelet simulate: 'plug 0 1': a command is unplug, plug, reset and a number from 0 to 1",
    ]
    assert all(link.exists() for link in boards.links)


def test_the_end_of_stdin_ends_only_the_commands(workbench: Workbench) -> None:
    link = workbench.folder / "board"
    board = workbench.process("board", [*WIRELET, "simulate", "--link", str(link)])
    board.wait_for(lambda: "ready" in board.log_tail(), "the board")
    port = os.open(link, os.O_RDWR | os.O_NOCTTY)
    try:
        assert os.read(port, 11) == b"wirelet-sim"
    finally:
        os.close(port)
    assert board.is_running


REFUSED = [
    (("--link", "{folder}/board", "--count", "2"), 2, "needs a %d for --count 2"),
    (("--link", "{folder}/board", "--slots", "32"), 2, "argument --slots: '32' is not a number from 1 to 31"),
    (("--link", "{folder}/board", "--ring", "1k"), 2, "argument --ring: '1k' is not a number from 1024 to 16777216"),
    (("--link", "{folder}"), 1, "exists and is no link of a simulated device"),
    (("--link", "/proc/nowhere/board"), 1, "/proc/nowhere: No such file or directory"),
]


@pytest.mark.parametrize(("options", "code", "message"), REFUSED, ids=[row[2] for row in REFUSED])
def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, options: tuple[str, ...], code: int, message: str) -> None:
    ran = simulate(*(option.format(folder=tmp_path) for option in options))
    assert ran.returncode == code
    assert message in ran.stderr.splitlines()[-1]
    assert "Traceback" not in ran.stderr
    assert list(tmp_path.iterdir()) == []

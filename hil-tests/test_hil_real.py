"""`make hil-real` itself: it says what is so of a port, and fails where something is wrong. The boards here are simulated; on real ones a
person runs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hil_real
import pytest
from processes import Process
from workbench import Workbench

SCRIPT = hil_real.__file__
ECHO = "import os\nwhile data := os.read(0, 65536): os.write(1, {change})"


def argv(port: Path, *options: str) -> list[str]:
    return [sys.executable, SCRIPT, str(port), *options]


def verdicts(output: str) -> dict[str, str]:
    """Check -> verdict, as printed."""
    lines = output.partition("\nFor docs/")[0].splitlines()
    return {line[:14].strip(): line[15:25].strip() for line in lines if line[:1] != " "}


def wait_for_line(process: Process, text: str) -> None:
    process.wait_for(lambda: text in process.log.read_text(), text, 30)


@pytest.mark.timeout(120)
def test_a_board_is_told_with_its_programs_and_gives_a_row(workbench: Workbench) -> None:
    board = workbench.boards(1)
    done = subprocess.run(
        argv(board.links[0], "--baud", "921600", "--run", "counter --rate 100"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = verdicts(done.stdout)
    assert {name for name, verdict in told.items() if verdict == "ok"} == {"opens", "second opener", "baud rates", "session", "program"}
    assert "programs: args, cat, counter" in done.stdout
    row = done.stdout.splitlines()[-1]
    header = (Path(__file__).parent.parent / "docs" / "tested-hardware.md").read_text().partition("\n| what |")[2].splitlines()[0]
    assert row.count("|") == header.count("|") + 2  # the two that the partition took


@pytest.mark.timeout(120)
def test_the_cable_is_pulled_when_it_says_so(workbench: Workbench) -> None:
    board = workbench.boards(1)
    checking = workbench.process("hil-real", argv(board.links[0], "--unplug"))
    wait_for_line(checking, "pull the cable now")
    board.unplug()
    wait_for_line(checking, "plug it in again")
    board.plug()
    wait_for_line(checking, "For docs/tested-hardware.md")
    assert verdicts(checking.log.read_text())["unplug"] == "ok"


@pytest.mark.parametrize(("change", "verdict"), [("data", "ok"), ("data.replace(b'a', b'b')", "FAILED")])
@pytest.mark.timeout(120)
def test_a_loopback_is_held_against_every_byte(
    tmp_path: Path, workbench: Workbench, need: Callable[[str], None], change: str, verdict: str
) -> None:
    need("socat")
    port, echo = tmp_path / "port", tmp_path / "echo.py"
    echo.write_text(ECHO.format(change=change))
    socat = workbench.process("socat", ["socat", f"pty,raw,echo=0,link={port}", f"EXEC:{sys.executable} {echo}"])
    socat.wait_for(port.exists, "the port")
    done = subprocess.run(argv(port, "--loopback"), capture_output=True, text=True, check=False)
    assert verdicts(done.stdout)["loopback"] == verdict, done.stdout + done.stderr
    assert done.returncode == (0 if verdict == "ok" else 1)


def test_a_port_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(argv(tmp_path / "none"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"hil-real: {tmp_path / 'none'}: No such file or directory\n"

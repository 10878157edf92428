"""A board's port, for a while another program's: `wirelet lend` on the real control plane, and reset and power by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from gateways import WIRELET, device
from lab import assert_counted, condition, container
from pod_lab import PodLab, is_running, lab, pod_lab
from workbench import Workbench

__all__ = ["lab", "pod_lab"]  # fixtures

NOT_THERE: Final = "wirelet lend: cannot run no-such-flasher: No such file or directory"
PROGRAM: Final = """
import os, serial, sys
port = serial.Serial(os.environ["WIRELET_PORT"], exclusive=True)
print("has", sys.argv[1], os.environ["ESPTOOL_PORT"], os.environ["WIRELET_DEVICE"], flush=True)
sys.exit(int(sys.stdin.readline()))
"""
"""It has the port for itself until it is told its exit code."""


class Borrower:
    """`wirelet lend BOARD -- python -c PROGRAM`, in a process group of its own."""

    def __init__(self, lab: PodLab, board: str) -> None:
        argv = [*WIRELET, "lend", board, "--", sys.executable, "-c", PROGRAM, "{port}"]
        pipe, environment = subprocess.PIPE, lab.gateway.cli_env
        self.process = subprocess.Popen(argv, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)

    def await_port(self) -> list[str]:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def end(self, code: int) -> int:
        """The exit code of `wirelet lend` when its command ends with code."""
        self.process.communicate(f"{code}\n", timeout=30)
        return self.process.returncode

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=30)


@pytest.fixture
def board(lab: PodLab) -> str:
    """A board with a counter on it, in a pod called `counter`."""
    lab.run("counter", "counter", "--rate", "20", container=lab.own())
    return str(lab.wait_for_ready("counter")["metadata"]["annotations"]["wirelet.dev/assigned-device"])


def row(lab: PodLab, board: str) -> dict[str, Any]:
    rows = json.loads(lab.gateway.cli("get", "devices", "-o", "json"))["items"]
    return next(dict(each) for each in rows if each["name"] == board)


def allocatable(lab: PodLab) -> str:
    return str((lab.node_object() or {})["status"]["allocatable"][lab.own_resource])


def test_same_pod_and_log_after_another_program_had_the_port(lab: PodLab, board: str) -> None:
    before, slots = lab.wait_for_ready("counter"), allocatable(lab)
    follower = lab.follow("counter")
    follower.wait_for_lines(10)
    borrower = Borrower(lab, board)
    link = str(lab.boards.links[lab.number_of(board)])
    assert borrower.await_port() == ["has", link, link, board]

    pod = lab.wait_for_ready("counter", "False")
    assert condition(pod, "Ready")["reason"] == "DeviceLent"
    assert is_running(pod)
    lab.wait(lambda: "DeviceLent" in lab.event_reasons("counter"), "the pod's event")
    assert (row(lab, board)["state"], row(lab, board)["message"].split(": ")[1].split()[0]) == ("Lent", sys.executable)
    node = lab.wait_for_node(lambda node: condition(node, "DeviceProblem").get("status") == "True")
    assert f"{board}: lent to " in condition(node, "DeviceProblem")["message"]
    assert "serial.Serial" not in condition(node, "DeviceProblem")["message"]  # arguments may be secrets
    lab.wait(lambda: int(allocatable(lab)) == int(slots) - 1, "a slot less")
    had = len(follower.lines)

    assert borrower.end(3) == 3
    after = lab.wait_for_ready("counter")
    follower.wait_for_lines(had + 40)
    assert container(after) == container(before)
    assert_counted(list(follower.lines), first=1)
    assert not any("gap" in line for line in follower.lines)
    marks = [line for line in lab.gateway.cli("logs", f"device/{board}").splitlines() if "lent" in line]
    assert marks[0].startswith("wirelet: lent to ")
    assert marks[-1] == "wirelet: no longer lent"
    lab.wait(lambda: allocatable(lab) == slots, "all slots")


def test_a_borrower_that_is_killed_gives_the_port_back(lab: PodLab, board: str) -> None:
    borrower = Borrower(lab, board)
    borrower.await_port()
    lab.wait_for_ready("counter", "False")
    borrower.kill()
    lab.wait_for_ready("counter")
    assert row(lab, board)["state"] == "Ready"


def test_what_is_lent_is_not_lent_again_and_starts_nothing(lab: PodLab, board: str) -> None:
    borrower = Borrower(lab, board)
    borrower.await_port()
    second = lab.gateway.run_cli("lend", board, "--", "true")
    assert second.returncode == 1
    assert second.stderr.startswith(f"wirelet lend: {board} is lent to ")
    assert lab.gateway.run_cli("reset", board).stderr.startswith("wirelet reset: ")
    borrower.end(0)
    lab.wait_for_ready("counter")


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("lend", "nobody", "--", "true"), 1, 'wirelet lend: there is no device "nobody"; there are: '),
        (("lend", "rig-2"), 2, "wirelet lend: say what to run: "),
        (("reset", "rig-2"), 1, "wirelet reset: rig-2 has nothing for it: class "),
        (("power", "rig-2", "cycle"), 1, "wirelet power: rig-2 has nothing for it: class "),
    ],
)
def test_what_cannot_be_done_is_one_line(lab: PodLab, words: tuple[str, ...], code: int, told: str) -> None:
    ran = lab.gateway.run_cli(*words)
    assert (ran.returncode, ran.stdout) == (code, "")
    assert ran.stderr.startswith(told)
    assert ran.stderr.count("\n") == 1


def test_a_command_that_is_not_there_leaves_the_board_as_it_was(lab: PodLab) -> None:
    ran = lab.gateway.run_cli("lend", "rig-2", "--", "no-such-flasher")
    assert (ran.returncode, ran.stderr) == (127, f"{NOT_THERE}; install it, or give its path\n")
    lab.wait(lambda: row(lab, "rig-2")["state"] == "Ready", "the board")


def test_reset_and_power_run_the_hooks_of_the_class(workbench: Workbench, tmp_path: Path) -> None:
    boards = workbench.boards(1)
    hooks = {
        "reset": {"command": ["sh", "-c", f"echo reset $WIRELET_DEVICE >> {tmp_path}/ran"]},
        "power": {"cycle": {"command": ["sh", "-c", "echo no relay answers; exit 7"]}},
    }
    classes = [{"name": "sim", "slots": 1, "shared": True, "hooks": hooks}]
    manifests = tmp_path / "pods"
    manifests.mkdir()
    configuration = {"node": {"name": "desk"}, "classes": classes, "devices": [device("board", "sim", boards.links[0])]}
    gateway = workbench.gateway(configuration, "--standalone", "--manifests", str(manifests))
    assert gateway.run_cli("reset", "board").returncode == 0
    assert (tmp_path / "ran").read_text() == "reset board\n"
    failed = gateway.run_cli("power", "board", "cycle")
    why = "hook power.cycle of board ended with 7: no relay answers"
    assert (failed.returncode, failed.stderr) == (1, f"wirelet power: {why}; try the command by hand, as the gateway's user\n")
    log = gateway.cli("logs", "device/board").splitlines()
    assert log[-2:] == ["wirelet: hook reset has run", f"wirelet: {why}"]


def test_a_gateway_that_is_started_while_a_port_is_lent_leaves_it_alone(lab: PodLab, board: str) -> None:
    """Also when the lender itself was killed and only its command lives."""
    before = lab.wait_for_ready("counter")
    borrower = Borrower(lab, board)
    borrower.await_port()
    lab.gateway.kill()
    borrower.process.send_signal(signal.SIGKILL)
    lab.gateway.start()
    lab.wait(lambda: row(lab, board)["state"] == "Lent", "the next gateway to know of it")
    assert row(lab, board)["message"].split(": ")[1].split()[0] == sys.executable
    pod = lab.wait_for_ready("counter", "False")
    assert condition(pod, "Ready")["reason"] == "DeviceLent"
    assert lab.gateway.run_cli("lend", board, "--", "true").stderr.startswith(f"wirelet lend: {board} is lent to ")
    port = os.path.realpath(lab.boards.links[lab.number_of(board)])
    assert port not in {os.path.realpath(file) for file in Path(f"/proc/{lab.gateway.process.pid}/fd").iterdir()}

    borrower.process.communicate("0\n", timeout=30)
    after = lab.wait_for_ready("counter")
    assert container(after) == container(before)


def test_a_watch_shows_a_device_come_and_go(workbench: Workbench, tmp_path: Path) -> None:
    boards = workbench.boards(1)
    (tmp_path / "pods").mkdir()
    configuration = {"node": {"name": "desk"}, "classes": [{"name": "sim"}], "devices": [device("board", "sim", boards.links[0])]}
    gateway = workbench.gateway(configuration, "--standalone", "--manifests", str(tmp_path / "pods"))
    gateway.process.wait_for(lambda: "Ready" in gateway.cli("get", "devices"), "the board")
    argv = [*WIRELET, "get", "devices", "-w"]
    with subprocess.Popen(argv, env=gateway.cli_env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        states = (line.split()[3] for line in watch.stdout)
        assert [next(states), next(states)] == ["STATE", "Ready"]
        boards.unplug()
        assert next(states) == "Disconnected"
        boards.plug()
        assert any(state == "Ready" for state in states)
        watch.send_signal(signal.SIGINT)
    assert watch.returncode == 130

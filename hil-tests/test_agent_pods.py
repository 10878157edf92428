"""Pods on a machine behind a real sshd by the agent: frames over the channel, and every way in which that may break."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_lab import AgentLab
from counted import account
from ssh_lab import COUNT, FOR_EVER, assert_all, behind_sshd
from workbench import Workbench

# In a command of a pod `$$` is one `$`.


@pytest.fixture
def lab(tmp_path: Path, workbench: Workbench) -> Iterator[AgentLab]:
    with behind_sshd(AgentLab, tmp_path, workbench) as lab:
        yield lab


def test_a_pod_is_a_command_with_its_words_its_environment_and_its_directory(lab: AgentLab, tmp_path: Path) -> None:
    lab.set_up()
    nasty = 'it\'s $(reboot) `x` \\ "q"\n two'
    script = 'printf "[%s]\\n" "$@" "$V" "$PWD"; echo oops >&2; exit 7'
    lab.run("words", "sh", "-c", script, "sh", nasty, "", env=[{"name": "V", "value": nasty}], workingDir=str(tmp_path))
    ended = lab.wait_for_end("words")
    assert (ended["exitCode"], ended["reason"]) == (7, "Error")
    assert "\n".join(line for line in lab.logs("words") if line != "oops") == f"[{nasty}]\n[]\n[{nasty}]\n[{tmp_path}]"
    assert "oops" in lab.logs("words")


def test_an_end_by_a_signal_is_told_as_such(lab: AgentLab) -> None:
    lab.set_up()
    lab.run("killed", "sh", "-c", "printf half; kill -9 $$$$")
    ended = lab.wait_for_end("killed")
    assert (ended["exitCode"], ended["signal"]) == (137, 9)
    assert lab.logs("killed") == ["half"]


@pytest.mark.parametrize(
    ("command", "directory", "code", "told"),
    [
        (["no-such-program"], "", 127, "no-such-program: No such file or directory"),
        (["/etc/passwd"], "", 126, "/etc/passwd: Permission denied"),
        (["true"], "/no/such/folder", 127, "/no/such/folder: No such file or directory"),
    ],
    ids=["no program", "not to be executed", "no directory"],
)
def test_what_cannot_be_started_ends_and_says_why(lab: AgentLab, command: list[str], directory: str, code: int, told: str) -> None:
    lab.set_up()
    lab.run("wrong", *command, workingDir=directory)
    ended = lab.wait_for_end("wrong")
    assert (ended["exitCode"], ended["reason"]) == (code, "StartError")
    assert lab.logs("wrong") == [f"wirelet-agent: {told}"]


def test_a_pod_with_more_variables_than_frames_carry_is_told_so_and_harms_no_other(lab: AgentLab) -> None:
    lab.set_up()
    lab.run("long", "sleep", "1000")
    lab.wait(lambda: len(lab.workloads()) == 1, "it runs")
    (pid,) = lab.workloads()
    lab.run("many", "true", env=[{"name": f"V{number}", "value": "x"} for number in range(65)])
    lab.wait(lambda: "START: 65 env exceed the 64 that a device takes" in str(lab.pod("many")), "the reason")
    assert "CreateContainerConfigError" in str(lab.pod("many"))
    assert lab.workloads() == [pid]
    assert (lab.pod("long") or {})["status"]["containerStatuses"][0]["ready"]


def test_a_deleted_pod_gets_the_signal(lab: AgentLab, tmp_path: Path) -> None:
    lab.set_up()
    told = tmp_path / "told"
    lab.run("trap", "sh", "-c", f"trap 'echo TERM >{told}; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    lab.wait(lambda: lab.logs("trap") == ["up"], "it is up")
    lab.delete("trap")
    lab.wait(lambda: lab.pod("trap") is None, "its end")
    assert told.read_text() == "TERM\n"


def test_who_ignores_the_signal_is_killed_after_the_grace_with_all_that_it_started(lab: AgentLab, tmp_path: Path) -> None:
    lab.set_up()
    told = tmp_path / "pids"
    lab.run("deaf", "sh", "-c", f"trap '' TERM; sleep 1000 & echo $$$$ $! >{told}; echo up; while :; do sleep 0.05; done")
    lab.wait(lambda: lab.logs("deaf") == ["up"], "it is up")
    pids = [int(pid) for pid in told.read_text().split()]
    assert all(map(is_running, pids))
    lab.delete("deaf")
    lab.wait(lambda: lab.pod("deaf") is None, "its end")
    assert not any(map(is_running, pids))


def test_killed_connections_lose_no_line(lab: AgentLab) -> None:
    lab.set_up()
    lab.run("counter", "sh", "-c", COUNT, FOR_EVER)
    for seen in (20, 100, 200):
        lab.wait(lambda seen=seen: len(lab.logs("counter")) > seen, f"{seen} lines")  # type: ignore[misc]  # the loop's own
        lab.sshd.drop_connections()
    seen = len(lab.logs("counter"))
    lab.wait(lambda: len(lab.logs("counter")) > seen + 100, "it goes on")
    assert_all(lab.logs("counter"), 300)


def test_a_killed_gateway_adopts_the_program_and_every_line_is_there_once(lab: AgentLab, tmp_path: Path) -> None:
    lab.set_up()
    started = tmp_path / "started"
    lab.run("counter", "sh", "-c", f"echo $$$$ >>{started}; {COUNT}", FOR_EVER)
    lab.run("short", "sh", "-c", f"while [ ! -e {tmp_path}/end ]; do sleep 0.05; done; echo over; exit 9")
    lab.wait(lambda: len(lab.logs("counter")) > 50, "some lines")
    lab.wait(lambda: len(lab.workloads()) == 2, "both run")
    lab.gateway.kill()
    (tmp_path / "end").touch()
    lab.wait(lambda: len(lab.workloads()) == 1, "the short one ends meanwhile")
    lab.gateway.start()
    assert lab.wait_for_end("short")["exitCode"] == 9
    lab.wait(lambda: len(lab.logs("counter")) > 300, "it goes on")
    assert_all(lab.logs("counter"), 300)
    assert lab.logs("short") == ["over"]
    assert [int(pid) for pid in started.read_text().split()] == lab.workloads()


def test_what_a_full_log_lost_while_nobody_read_is_told_with_its_size(lab: AgentLab, tmp_path: Path) -> None:
    lab.log = "64Ki"
    lab.set_up()
    lines, more = 20_000, 1_000
    lab.run(
        "flood",
        "sh",
        "-c",
        f"seq 10; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; seq 11 {lines}; touch {tmp_path}/done; "
        f"while [ ! -e {tmp_path}/end ]; do sleep 0.05; done; seq {lines + 1} {lines + more}",
    )
    lab.wait(lambda: len(lab.logs("flood")) == 10, "its first lines")
    lab.gateway.kill()
    (tmp_path / "go").touch()
    lab.wait((tmp_path / "done").exists, "that it has said all: it must not wait for a gateway that is not there")
    lab.gateway.start()
    (tmp_path / "end").touch()
    assert lab.wait_for_end("flood")["exitCode"] == 0
    told = account(lab.logs("flood"), lines + more)
    assert told.delivered + told.missing == lines + more
    assert told.missing > 10_000
    assert told.delivered > 2_000


def test_while_a_gateway_reads_no_line_of_a_fast_program_is_lost(lab: AgentLab) -> None:
    lab.log = "64Ki"
    lab.set_up()
    lab.run("fast", "seq", "200000")
    assert lab.wait_for_end("fast")["exitCode"] == 0
    lines = lab.logs("fast")
    assert not [line for line in lines if "ring overwritten" in line]
    assert lines[-1] == "200000"


def test_who_left_the_group_and_holds_the_output_open_does_not_hold_up_the_end(lab: AgentLab, tmp_path: Path) -> None:
    lab.set_up()
    left = tmp_path / "left"
    lab.run("leaver", "sh", "-c", f"setsid sh -c 'touch {left}; sleep 30' & while [ ! -e {left} ]; do sleep 0.02; done; echo said; exit 3")
    assert lab.wait_for_end("leaver")["exitCode"] == 3
    assert lab.logs("leaver") == ["said"]


def test_a_killed_agent_takes_its_programs_along_and_another_one_is_started(lab: AgentLab, tmp_path: Path) -> None:
    lab.set_up()
    lab.run("counter", "sh", "-c", f"echo $$$$ >>{tmp_path}/started; {COUNT}", FOR_EVER, restart="Always")
    lab.wait(lambda: len(lab.logs("counter")) > 5, "some lines")
    (pid,) = lab.workloads()
    os.kill(lab.server, signal.SIGKILL)
    lab.wait(lambda: not is_running(pid), "the end of the program")
    lab.wait(lambda: len((tmp_path / "started").read_text().split()) == 2, "the program's second start")

    def restarted() -> dict[str, Any] | None:
        (status,) = (lab.pod("counter") or {})["status"]["containerStatuses"]
        return status if status["restartCount"] == 1 else None

    status = lab.wait(restarted, "the restart to be told")
    assert status["lastState"]["terminated"]["reason"] == "DeviceRebooted"


def test_two_dozen_pods_share_one_connection(lab: AgentLab) -> None:
    lab.set_up(slots=24)
    for number in range(24):
        lab.run(f"pod-{number}", "sh", "-c", COUNT, "100")
    for number in range(24):
        assert lab.wait_for_end(f"pod-{number}")["exitCode"] == 0
    assert all(lab.logs(f"pod-{number}") == [str(n) for n in range(1, 101)] for number in range(24))
    assert lab.sshd.process.log_tail(100_000).count("Accepted publickey") == 1


def test_a_person_may_run_another_command_beside_it(lab: AgentLab) -> None:
    lab.set_up()
    lab.run("long", "sh", "-c", "echo up; sleep 1000", env=[{"name": "V", "value": "it's"}])
    lab.wait(lambda: lab.logs("long") == ["up"], "it is up")
    told = lab.gateway.run_cli("exec", "long", "--", "sh", "-c", 'echo "$V"; exit 5')
    assert (told.stdout, told.returncode) == ("it's\n", 5)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False

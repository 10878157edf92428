"""How the agent comes onto a machine behind a real sshd, and how one version follows another."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_lab import AgentLab
from needs import find_python_3_9
from ssh_lab import behind_sshd
from workbench import Workbench

from transports.agent import wirelet_agent

SOURCE = Path(wirelet_agent.__file__)
WAITS = "while [ ! -e {} ]; do sleep 0.05; done; echo over"


@pytest.fixture
def lab(tmp_path: Path, workbench: Workbench) -> Iterator[AgentLab]:
    with behind_sshd(AgentLab, tmp_path, workbench) as lab:
        yield lab


def agents(lab: AgentLab) -> list[Path]:
    return list(lab.folder.glob("agent-*"))


def test_a_machine_gets_the_agent_once(lab: AgentLab) -> None:
    lab.set_up()
    (agent,) = agents(lab)
    assert agent.read_bytes() == SOURCE.read_bytes()
    assert (agent.parent.stat().st_mode & 0o777, (lab.folder / "agent.sock").stat().st_mode & 0o777) == (0o700, 0o600)
    server, put_at = lab.server, agent.stat().st_ino
    lab.gateway.restart()
    lab.wait_until_ready()
    assert (lab.server, agents(lab)[0].stat().st_ino) == (server, put_at)


def test_a_file_that_is_not_whole_is_put_again_while_its_programs_go_on(lab: AgentLab, tmp_path: Path) -> None:
    lab.set_up()
    lab.run("long", "sh", "-c", WAITS.format(tmp_path / "end"))
    lab.wait(lambda: len(lab.workloads()) == 1, "it runs")
    (agent,) = agents(lab)
    os.truncate(agent, 1000)
    lab.sshd.drop_connections()
    lab.wait(lambda: agent.read_bytes() == SOURCE.read_bytes(), "the whole file")
    (tmp_path / "end").touch()
    assert lab.wait_for_end("long")["exitCode"] == 0
    assert lab.logs("long") == ["over"]


def test_another_version_takes_over_when_nothing_runs_and_its_file_goes(lab: AgentLab, tmp_path: Path) -> None:
    lab.folder.mkdir(parents=True)
    old = lab.folder / "agent-0123456789ab.py"
    old.write_text(SOURCE.read_text() + "# of yesterday\n")
    lab.command = f"exec python3 {old} --directory {lab.folder} --slots 4 --log 65536"
    lab.set_up()
    first = lab.server
    lab.run("long", "sh", "-c", WAITS.format(tmp_path / "end"))
    lab.wait(lambda: len(lab.workloads()) == 1, "it runs")
    (workload,) = lab.workloads()

    lab.command = ""
    lab.reconfigure()
    lab.wait(lambda: [agent.read_bytes() for agent in agents(lab)] == [SOURCE.read_bytes()], "the new file alone")
    assert (lab.server, lab.workloads()) == (first, [workload])
    (tmp_path / "end").touch()
    assert lab.wait_for_end("long")["exitCode"] == 0
    assert lab.logs("long") == ["over"]
    lab.delete("long")
    lab.wait(lambda: lab.server != first, "the new version")
    lab.wait_until_ready()
    lab.run("after", "echo", "new")
    assert lab.wait_for_end("after")["exitCode"] == 0


def test_an_idle_agent_of_another_version_is_replaced_at_once(lab: AgentLab) -> None:
    lab.log = "128Ki"
    lab.set_up()
    first = lab.server
    lab.log = "256Ki"
    lab.reconfigure()
    assert lab.server != first


def test_an_agent_of_somebody_else_s_making_is_started_by_the_link_s_command(lab: AgentLab) -> None:
    lab.command = f"exec {sys.executable} -m gateway agent --directory {lab.folder} --slots 2"
    lab.set_up()
    lab.run("words", "echo", "it's", workingDir="/tmp")
    assert lab.wait_for_end("words")["exitCode"] == 0
    assert lab.logs("words") == ["it's"]
    assert agents(lab) == []


def test_a_machine_without_such_a_python_says_so(lab: AgentLab) -> None:
    lab.python = "python-of-nobody"
    lab.set_up(wait=False)
    lab.wait(lambda: "python-of-nobody" in str(lab.device()), "the reason")


def test_a_directory_that_cannot_be_made_is_told(lab: AgentLab) -> None:
    lab.directory.write_text("in the way")
    lab.set_up(wait=False)
    lab.wait(lambda: f"{lab.directory}/rack: Not a directory" in str(lab.device()), "the reason")


def test_python_3_9_is_enough(lab: AgentLab, need: Callable[[str], None]) -> None:
    need("python3.9")
    lab.python = str(find_python_3_9())
    lab.set_up()
    lab.run("words", "sh", "-c", 'echo "$V"; exit 4', env=[{"name": "V", "value": "it's"}])
    assert lab.wait_for_end("words")["exitCode"] == 4
    assert lab.logs("words") == ["it's"]
    lab.run("long", "sh", "-c", "echo up; sleep 1000")
    lab.wait(lambda: lab.logs("long") == ["up"], "it is up")
    lab.gateway.kill()
    lab.gateway.start()
    lab.wait_until_ready()
    lab.delete("long")
    lab.wait(lambda: lab.pod("long") is None, "its end")
    assert lab.workloads() == []

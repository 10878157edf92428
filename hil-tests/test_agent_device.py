"""The agent as a device: what SPEC.md asks of one, by a gateway's core over two pipes, with real programs."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_talk import WAIT_S, AgentTalk
from needs import find_python_3_9
from sshd import children

from transports.agent.wirelet_agent import DRAIN_S
from transports.protocol import Away, ExitReason, Reboot, RemoveWorkload, StopWorkload, WorkloadState
from transports.wire.numbers import AwayReason, Code, Method


@pytest.fixture(params=["this Python", "Python 3.9"])
def agent(request: pytest.FixtureRequest, tmp_path: Path, need: Callable[[str], None]) -> Iterator[AgentTalk]:
    python = sys.executable
    if request.param == "Python 3.9":
        need("python3.9")
        python = str(find_python_3_9())
    with contextlib.closing(AgentTalk(tmp_path / "agent", "--slots", "2", "--log", "65536", python=python)) as made:
        yield made


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_run_is_known_until_it_is_removed(agent: AgentTalk) -> None:
    assert agent.connect() == ()
    started = agent.start("sh", "-c", 'echo "$A"; exit 3', env=["A=b=c"], tag=b"tag")
    assert started.status is not None
    assert (started.status.slot, started.status.start_off, started.status.tag) == (0, 0, b"tag")
    ended = agent.ended()
    assert (ended.exit_code, ended.signal, ended.reason, ended.tag) == (3, None, ExitReason.ERROR, b"tag")
    assert ended.end_off is not None
    agent.until(lambda: agent.checkpoint is not None and agent.checkpoint.stored >= (ended.end_off or 0))
    assert agent.said() == [b"b=c"]
    again = agent.start("sh", "-c", "echo twice")
    assert again.status == ended
    assert agent.start("true", gen=2).code == Code.BAD_STATE
    agent.hang_up()
    assert agent.connect() == (ended,)
    assert agent.ask(RemoveWorkload(1, 1)).code == Code.OK
    assert agent.ask(RemoveWorkload(1, 1)).code == Code.OK
    agent.hang_up()
    assert agent.connect() == ()


def test_what_cannot_be_is_refused_with_its_code(agent: AgentTalk) -> None:
    agent.connect()
    assert agent.start("sleep", "1000", tty=True).code == Code.UNSUPPORTED
    assert agent.start("sleep", "1000", wid=1).code == Code.OK
    assert agent.start("sleep", "1000", wid=2).code == Code.OK
    assert agent.start("sleep", "1000", wid=3).code == Code.BUSY
    assert agent.ask(RemoveWorkload(1, 1)).code == Code.BAD_STATE
    assert agent.ask(RemoveWorkload(1, 7)).code == Code.OK
    assert agent.ask(StopWorkload(9, 1, 0)).code == Code.OK
    assert agent.ask(StopWorkload(1, 2, 0)).code == Code.OK
    assert agent.ask(Reboot(mode=1)).code == Code.UNSUPPORTED


def test_a_stop_s_signal_and_grace_are_those_of_the_request_and_a_shorter_grace_counts(agent: AgentTalk) -> None:
    agent.connect()
    agent.start("sh", "-c", "exec 2>/dev/null; trap 'echo USR1' USR1; trap 'echo INT' INT; echo up; while :; do sleep 0.05; done")
    agent.until(lambda: agent.said() == [b"up"])
    assert agent.ask(StopWorkload(1, 1, 600_000, int(signal.SIGUSR1))).code == Code.OK
    agent.until(lambda: agent.said() == [b"up", b"USR1"])
    agent.ask(StopWorkload(1, 1, 100, int(signal.SIGINT)))
    ended = agent.ended()
    assert (ended.exit_code, ended.signal, ended.reason) == (137, 9, ExitReason.STOPPED)
    assert agent.said() == [b"up", b"USR1", b"INT"]


def test_standard_error_is_told_apart_and_standard_input_is_empty(agent: AgentTalk) -> None:
    agent.connect()
    agent.start("sh", "-c", "cat; echo out; echo err >&2")
    agent.ended()
    agent.until(lambda: len(agent.said()) == 2)
    assert {record.data: record.kind.name for record in agent.records if record.start is None} == {b"out": "STDOUT", b"err": "STDERR"}


def test_a_line_of_any_length_and_any_bytes_comes_whole(agent: AgentTalk) -> None:
    agent.connect()
    agent.start("sh", "-c", r"head -c 20000 /dev/zero; printf '\377\r\n\n'; printf end")
    agent.ended()
    agent.until(lambda: b"end" in agent.said())
    kinds = [record.kind.name for record in agent.records if record.start is None]
    whole = b"".join(data + b"\n" * (kind == "STDOUT") for data, kind in zip(agent.said(), kinds, strict=True))
    assert whole == b"\0" * 20000 + b"\xff\r\n\nend\n"


def test_a_run_may_end_with_its_session(agent: AgentTalk) -> None:
    agent.connect()
    agent.ask_raw(Method.START, {1: 1, 2: 1, 3: "host", 4: ["sleep", "1000"], 9: [1, 200]})
    agent.until(lambda: agent.records)
    (pid,) = programs(agent)
    agent.hang_up()
    wait_for_end(pid)
    (status,) = agent.connect()
    assert (status.state, status.reason) == (WorkloadState.EXITED, ExitReason.LINK_LOSS)


@pytest.mark.parametrize("after_ms", [600_000, 0xFFFFFFFF])
def test_a_run_that_is_to_end_with_its_session_goes_on_when_that_is_back_in_time(agent: AgentTalk, after_ms: int) -> None:
    agent.connect()
    agent.ask_raw(Method.START, {1: 1, 2: 1, 3: "host", 4: ["sleep", "1000"], 9: [1, after_ms]})
    agent.until(lambda: agent.records)
    agent.hang_up()
    (status,) = agent.connect()
    assert status.state is WorkloadState.RUNNING


def test_a_reboot_is_announced_and_ends_everything(agent: AgentTalk) -> None:
    agent.connect()
    agent.start("sleep", "1000")
    server, (pid,) = agent.server, programs(agent)
    boot_id = agent.checkpoint.boot_id if agent.checkpoint else 0
    assert agent.ask(Reboot()).code == Code.OK
    (away,) = agent.until(lambda: [event for event in agent.events if isinstance(event, Away)])
    assert away.reason == AwayReason.REBOOT
    wait_for_end(pid)
    agent.hang_up()
    assert agent.connect() == ()
    assert agent.server != server
    agent.start("true")
    agent.until(lambda: agent.checkpoint is not None and agent.checkpoint.boot_id != boot_id)


@pytest.mark.parametrize("with_guardian", [False, True], ids=["alone", "after its guardian"])
def test_a_killed_server_leaves_no_program_behind(agent: AgentTalk, with_guardian: bool) -> None:
    agent.connect()
    agent.start("sh", "-c", "sleep 1000 & sleep 1000")
    (pid,) = programs(agent)
    wait_until(lambda: len(children(pid)) == 2)
    pids = [pid, *children(pid)]
    if with_guardian:
        (guardian,) = set(children(agent.server)) - {pid}
        os.kill(guardian, signal.SIGKILL)
        wait_until(lambda: len(set(children(agent.server)) - {pid, guardian}) == 1)
    os.kill(agent.server, signal.SIGKILL)
    for each in pids:
        wait_for_end(each)
    agent.hang_up()
    assert agent.connect() == ()


def test_a_second_connection_takes_the_agent_from_the_first(agent: AgentTalk) -> None:
    agent.connect()
    agent.start("sleep", "1000")
    first = agent._front
    assert first is not None
    (status,) = agent.connect()
    assert status.state is WorkloadState.RUNNING
    assert first.wait(10) == 0
    first.communicate()


def test_a_connection_that_ends_while_another_takes_its_place_harms_nobody(agent: AgentTalk, tmp_path: Path) -> None:
    agent.connect()
    agent.start("sleep", "1000")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as second:
        second.connect(str(tmp_path / "agent/agent.sock"))
        agent.ask(StopWorkload(9, 1, 0))  # it has been accepted by then
        os.kill(agent.server, signal.SIGSTOP)
        second.sendall(b"wirelet-agent of nobody\n")
        agent.hang_up()
        os.kill(agent.server, signal.SIGCONT)
        second.settimeout(WAIT_S)
        assert second.recv(3) == b"ok\n"
        assert second.recv(1) == b"\0"
    (status,) = agent.connect()
    assert status.state is WorkloadState.RUNNING


def test_who_holds_the_output_open_is_waited_for_a_moment_and_heard(agent: AgentTalk, tmp_path: Path) -> None:
    agent.connect()
    left = tmp_path / "left"
    leaver = f"setsid sh -c 'touch {left}; sleep {DRAIN_S / 5}; echo late; sleep 10' &"
    agent.start("sh", "-c", f"{leaver} while [ ! -e {left} ]; do sleep 0.02; done; echo soon")
    agent.ended()
    agent.until(lambda: agent.said() == [b"soon", b"late"])


def test_an_agent_that_hangs_is_told_and_nothing_else_is_started(agent: AgentTalk) -> None:
    agent.connect()
    server = agent.server
    os.kill(server, signal.SIGSTOP)
    try:
        agent.hang_up()
        told = agent.try_to_connect()
        assert f"process {server} does not answer within 10 s" in told
    finally:
        os.kill(server, signal.SIGCONT)
    assert agent.connect() == ()
    assert agent.server == server


def test_a_directory_that_others_may_write_is_refused(agent: AgentTalk, tmp_path: Path) -> None:
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent").chmod(0o777)
    assert "others may write there" in agent.try_to_connect()


def programs(agent: AgentTalk) -> list[int]:
    """All but the guardian."""
    return [pid for pid in children(agent.server) if b"wirelet_agent" not in Path(f"/proc/{pid}/cmdline").read_bytes()]


def wait_until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_end(pid: int) -> None:
    wait_until(lambda: not is_running(pid))

"""What happens to a machine may not end the agent's programs, and nothing of it may outlive the agent: no sshd, real processes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import pytest
from agent_talk import AgentTalk
from needs import OWN_MOUNTS
from sshd import children
from test_agent_device import is_running, programs, wait_for_end, wait_until

from transports.agent.wirelet_agent import MAX_SLOTS
from transports.protocol import ExitReason, Gap, Joined, Output, RemoveWorkload, StopWorkload, WorkloadState
from transports.wire.numbers import Code, Method

LONGEST_MS = 0xFFFFFFFF
PUT = str(resources.files("transports.agent").joinpath("put.py"))
WITHOUT_ID = (*OWN_MOUNTS, "sh", "-c", '{ [ ! -e /etc/machine-id ] || mount --bind /dev/null /etc/machine-id; } && exec "$@"', "sh")
"""Starts a program that finds no id of this machine."""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[AgentTalk]:
    with contextlib.closing(AgentTalk(tmp_path / "agent", "--slots", "2", "--log", "65536")) as made:
        yield made


def guardian_of(agent: AgentTalk) -> int:
    (guardian,) = set(children(agent.server)) - set(programs(agent))
    return guardian


# -- what a gateway may ask


def test_the_longest_grace_harms_nobody_even_without_a_keepalive(agent: AgentTalk) -> None:
    agent.keepalive_s = 0
    agent.connect()
    agent.start("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done")
    agent.until(lambda: agent.said() == [b"up"])
    (pid,) = programs(agent)
    assert agent.ask(StopWorkload(1, 1, LONGEST_MS)).code == Code.OK
    server = agent.server
    agent.hang_up()
    (status,) = agent.connect()
    assert status.state is WorkloadState.STOPPING
    assert (agent.server, programs(agent)) == (server, [pid])


def test_a_signal_that_there_is_not_is_refused(agent: AgentTalk) -> None:
    agent.connect()
    agent.start("sleep", "1000")
    for number in (65, 255):
        assert agent.ask(StopWorkload(1, 1, 1000, number)).code == Code.INVALID
    assert agent.ask(StopWorkload(1, 1, 1000, 64)).code == Code.OK
    assert agent.ended().signal == 64


# -- programs


def test_a_gateway_comes_back_while_every_program_prints_without_end(tmp_path: Path) -> None:
    with contextlib.closing(AgentTalk(tmp_path / "agent", "--slots", str(MAX_SLOTS))) as agent:
        agent.connect()
        for wid in range(MAX_SLOTS):
            agent.start("sh", "-c", "yes '' & yes '' >&2", wid=wid + 1)
        agent.hang_up()
        assert len(agent.connect()) == MAX_SLOTS


def test_a_machine_without_room_for_another_program_says_so(agent: AgentTalk) -> None:
    agent.connect()
    used = {int(fd) for fd in os.listdir(f"/proc/{agent.server}/fd")}
    _, second_free = [fd for fd in range(len(used) + 2) if fd not in used][:2]
    resource.prlimit(agent.server, resource.RLIMIT_NOFILE, (second_free, second_free))  # room for /dev/null, and for no pipe
    agent.start("true")
    ended = agent.ended()
    assert (ended.exit_code, ended.reason) == (126, ExitReason.START_FAILED)
    agent.until(lambda: agent.said() == [b"wirelet-agent: Too many open files"])


def test_who_stays_behind_and_prints_without_end_costs_no_line_of_others(agent: AgentTalk, tmp_path: Path) -> None:
    agent.connect()
    left = tmp_path / "left"
    agent.start("sh", "-c", f"setsid sh -c 'touch {left}; exec yes' & while [ ! -e {left} ]; do sleep 0.02; done")
    agent.ended()
    agent.ask(RemoveWorkload(1, 1))
    gaps = [item for event in agent.events if isinstance(event, Output) for item in event.items if isinstance(item, Gap)]
    assert gaps == []


# -- the guardian


def test_a_start_that_failed_leaves_the_guardian_nothing_to_kill(agent: AgentTalk) -> None:
    agent.connect()
    guardian = guardian_of(agent)
    os.kill(guardian, signal.SIGSTOP)
    agent.start("no-such-program", wid=1)
    agent.start("true", wid=2)
    agent.ended(2)
    told = os.open(f"/proc/{guardian}/fd/{reading_end(guardian)}", os.O_RDONLY | os.O_NONBLOCK)
    lines = os.read(told, 4096).decode().split()
    os.close(told)
    os.kill(guardian, signal.SIGCONT)
    assert lines
    assert sorted(line[1:] for line in lines if line[0] == "+") == sorted(line[1:] for line in lines if line[0] == "-")


def reading_end(pid: int) -> int:
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        flags = int(Path(f"/proc/{pid}/fdinfo/{fd.name}").read_text().split("flags:")[1].split()[0], 8)
        if os.readlink(fd).startswith("pipe:") and flags & os.O_ACCMODE == os.O_RDONLY:
            return int(fd.name)
    raise AssertionError("no pipe")


def test_a_start_just_after_the_guardian_s_end_is_a_start(agent: AgentTalk) -> None:
    agent.connect()
    guardian, server = guardian_of(agent), agent.server
    os.kill(server, signal.SIGSTOP)
    try:
        os.kill(guardian, signal.SIGKILL)
        agent.ask_raw(Method.START, {1: 1, 2: 1, 3: "host", 4: ["echo", "up"]})
        agent._talk()
    finally:
        os.kill(server, signal.SIGCONT)
    ended = agent.ended()
    assert (ended.exit_code, ended.signal) == (0, None)


def test_another_guardian_does_not_hold_a_connection_that_was_replaced(agent: AgentTalk) -> None:
    agent.connect()
    guardian = guardian_of(agent)
    os.kill(guardian, signal.SIGKILL)
    wait_until(lambda: bool(set(children(agent.server)) - {guardian}))
    first = agent._front
    assert first is not None
    agent.connect()
    assert first.wait(10) == 0
    first.communicate()


def test_an_agent_that_cannot_have_another_guardian_keeps_its_programs_and_tries_again(agent: AgentTalk) -> None:
    agent.connect()
    agent.start("sleep", "1000")
    (pid,) = programs(agent)
    server, guardian = agent.server, guardian_of(agent)
    soft, hard = resource.prlimit(server, resource.RLIMIT_NOFILE)
    resource.prlimit(server, resource.RLIMIT_NOFILE, (3, hard))
    os.kill(guardian, signal.SIGKILL)
    agent.ask(StopWorkload(9, 1, 0))
    agent.ask(StopWorkload(9, 1, 0))
    assert is_running(pid)
    resource.prlimit(server, resource.RLIMIT_NOFILE, (soft, hard))
    agent.until(lambda: set(children(server)) - {pid, guardian}, "another guardian")
    os.kill(server, signal.SIGKILL)
    wait_for_end(pid)


def test_a_server_without_a_guardian_takes_its_programs_along_however_it_ends(agent: AgentTalk) -> None:
    agent.connect()
    agent.start("sleep", "1000")
    (pid,) = programs(agent)
    server, guardian = agent.server, guardian_of(agent)
    resource.prlimit(server, resource.RLIMIT_NOFILE, (3, 3))
    os.kill(guardian, signal.SIGKILL)
    agent.ask(StopWorkload(9, 1, 0))
    os.kill(server, signal.SIGINT)  # an exception
    wait_for_end(pid)


# -- the directory


def test_a_server_whose_directory_is_gone_ends_with_its_programs(agent: AgentTalk, tmp_path: Path) -> None:
    agent.connect()
    agent.start("sleep", "1000")
    (pid,) = programs(agent)
    first = agent.server
    shutil.rmtree(tmp_path / "agent")
    agent.hang_up()
    try:
        wait_for_end(pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(first, signal.SIGTERM)
    assert agent.connect() == ()


def test_an_agent_starts_on_a_full_disk(tmp_path: Path, need: Callable[[str], None]) -> None:
    need("tmpfs")
    directory = tmp_path / "agent"
    directory.mkdir(0o700)
    fill = f"mount -t tmpfs -o size=64k,mode=700 tmpfs {directory} && ! dd if=/dev/zero of={directory}/fill 2>/dev/null"
    before = (*OWN_MOUNTS, "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", f'{fill} && exec "$@"', "sh")
    with contextlib.closing(AgentTalk(directory, before=before)) as agent:
        agent.connect()
        agent.start("echo", "up")
        assert agent.ended().exit_code == 0


def put(base: Path, *before: str) -> str:
    """Something that is not put. What is said about it."""
    source = b"# an agent" * 1000
    words = ["nonce", hashlib.sha256(source).hexdigest(), str(len(source)), str(base), "rack", "4", "65536"]
    tried = subprocess.run([*before, sys.executable, "-I", PUT, *words], input=source, capture_output=True, timeout=20, check=False)
    assert tried.returncode == 1
    return tried.stderr.decode()


def test_a_put_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    assert "File too large" in put(tmp_path, "sh", "-c", 'ulimit -f 8; exec "$@"', "sh")
    assert os.listdir(tmp_path / "rack") == []


def test_nothing_is_put_where_others_may_write(tmp_path: Path) -> None:
    (tmp_path / "rack").mkdir()
    (tmp_path / "rack").chmod(0o777)
    assert "others may write there, or own it" in put(tmp_path)
    assert os.listdir(tmp_path / "rack") == []


def test_a_machine_without_an_id_gets_one_even_if_its_file_is_not_whole(tmp_path: Path, need: Callable[[str], None]) -> None:
    need("tmpfs")
    directory = tmp_path / "agent"
    directory.mkdir(0o700)
    (directory / "agent.id").touch()
    with contextlib.closing(AgentTalk(directory, before=WITHOUT_ID)) as agent:
        agent.connect()
        made = (directory / "agent.id").read_bytes()
        assert len(made) == 16
        os.kill(agent.server, signal.SIGKILL)
        agent.hang_up()
        agent.connect()
        assert (directory / "agent.id").read_bytes() == made
        assert len({event.device_id for event in agent.events if isinstance(event, Joined)}) == 1


@pytest.mark.parametrize("call", ["signal(SIGCHLD, SIG_IGN)", "pthread_sigmask(SIG_BLOCK, [SIGCHLD, SIGTERM])"], ids=["ignored", "blocked"])
def test_who_starts_an_agent_may_have_lost_its_hearing(tmp_path: Path, call: str) -> None:
    deaf = (sys.executable, "-c", f"import os, sys; from signal import *; {call}; os.execvp(sys.argv[1], sys.argv[1:])")
    with contextlib.closing(AgentTalk(tmp_path / "agent", before=deaf)) as agent:
        agent.connect()
        agent.start("sh", "-c", "exit 3")
        assert agent.ended().exit_code == 3


def test_why_an_agent_ends_as_soon_as_it_is_started_is_told(tmp_path: Path, need: Callable[[str], None]) -> None:
    need("tmpfs")
    directory = tmp_path / "agent"
    directory.mkdir(0o700)
    (directory / "agent.id").mkdir()
    told = AgentTalk(directory, before=WITHOUT_ID).try_to_connect()
    assert "it ends as soon as it is started: IsADirectoryError: [Errno 21] Is a directory: 'agent.id'" in told


def test_whoever_comes_to_an_agent_that_hangs_is_told_so(agent: AgentTalk) -> None:
    agent.connect()
    server = agent.server
    os.kill(server, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(12) as many:
            told = list(many.map(lambda _: agent.try_to_connect(), range(12)))
    finally:
        os.kill(server, signal.SIGCONT)
    assert {f"process {server} does not answer within 10 s" in each for each in told} == {True}


def test_a_home_of_any_bytes_is_where_a_program_begins(tmp_path: Path) -> None:
    home = os.fsencode(tmp_path) + b"/j\xf6rg"
    os.mkdir(home)
    with contextlib.closing(AgentTalk(tmp_path / "agent", before=("env", b"HOME=" + home))) as agent:
        agent.connect()
        agent.start("pwd")
        assert agent.ended().exit_code == 0
        agent.until(lambda: agent.said() == [home])

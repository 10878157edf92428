"""exec and attach from a person's terminal: to consoles, where one types and many look on, and to machines behind a real sshd."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from console_lab import ConsoleDesk
from gateways import WIRELET, Gateway
from person import Person
from raw_port import RawPort
from ssh_lab import SshLab, behind_sshd
from terminal_port import TerminalPort
from workbench import Workbench


@pytest.fixture
def people() -> Iterator[Callable[..., Person]]:
    """people(gateway, "attach", "-it", "x"): one at a terminal."""
    with contextlib.ExitStack() as made:

        def make(gateway: Gateway, *words: str, user: str = "alice", **size: int) -> Person:
            env = {**gateway.cli_env, "LOGNAME": user}
            return made.enter_context(contextlib.closing(Person([*WIRELET, *words], env, **size)))

        yield make


def piped(gateway: Gateway, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*WIRELET, *words], env=gateway.cli_env, input=stdin, capture_output=True, timeout=30, check=False)


def device_row(gateway: Gateway) -> dict[str, Any]:
    return dict(json.loads(gateway.cli("get", "devices", "-o", "json"))["items"][0])


# -- consoles


@pytest.fixture
def port(tmp_path: Path) -> Iterator[RawPort]:
    with contextlib.closing(RawPort(tmp_path / "port")) as made:
        yield made


def test_one_types_to_a_console_and_others_look_on(
    workbench: Workbench, tmp_path: Path, port: RawPort, people: Callable[..., Person]
) -> None:
    desk = ConsoleDesk(workbench, tmp_path, port.link)
    desk.put("board", stdin=True)
    desk.wait_for("board", "Running")
    alice = people(desk.gateway, "attach", "-it", "board")
    alice.sees(b"Ctrl-] leaves.")
    desk.wait(lambda: device_row(desk.gateway)["typists"] == ["alice"], "alice at the keyboard")
    bob = people(desk.gateway, "attach", "board", user="bob")

    def bob_looks_on() -> bool:
        port.send(b"tick\r\n")
        return bob.looks_for(b"tick")

    desk.wait(bob_looks_on, "bob to look on: nobody is shown what came before")
    carol = piped(desk.gateway, "attach", "-i", "board", stdin=b"mine\n")
    assert carol.returncode == 1
    assert b"alice types to container main on board-a" in carol.stderr

    alice.types(b"ls\x03")
    desk.wait(lambda: bytes(port.received) == b"ls\x03", "the keys on the wire, and nobody else's")
    # A prompt has no line end; whoever looks on sees it at once, and the log gets it as one line in the end.
    port.send(b"login: ")
    alice.sees(b"login: ")
    bob.sees(b"login: ")
    port.send(b"root\r\nwelcome\r\n")
    alice.sees(b"root\r\nwelcome\r\n")
    assert desk.log("board").replace("tick\n", "") == "login: root\nwelcome\n"

    alice.types(b"\x1d")
    assert alice.ends() == 0
    desk.wait(lambda: device_row(desk.gateway)["typists"] == [], "nobody at the keyboard")
    assert bytes(port.received) == b"ls\x03"
    port.send(b"still here\r\n")
    bob.sees(b"still here\r\n")
    desk.remove("board")
    assert bob.ends() == 0


def test_nothing_is_typed_to_a_pod_that_did_not_ask_for_it(workbench: Workbench, tmp_path: Path, port: RawPort) -> None:
    desk = ConsoleDesk(workbench, tmp_path, port.link)
    desk.put("deaf")
    desk.wait_for("deaf", "Running")
    refused = piped(desk.gateway, "attach", "-i", "deaf", stdin=b"x")
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert b"its pod does not say stdin: true" in refused.stderr
    refused = piped(desk.gateway, "exec", "deaf", "--", "ls")
    assert refused.returncode == 1
    assert b"nothing but its workloads runs on this kind of device" in refused.stderr
    refused = piped(desk.gateway, "attach", "absent")
    assert (refused.returncode, refused.stderr) == (1, b'wirelet attach: no pod "absent" in namespace default; there are: deaf\n')
    assert bytes(port.received) == b""


def test_a_program_on_a_shell_reads_what_is_piped_to_it(workbench: Workbench, tmp_path: Path) -> None:
    env = {"PS1": "# ", "HISTFILE": str(tmp_path / "history")}
    with contextlib.closing(TerminalPort(tmp_path / "port", ["dash", "-i"], env)) as shell:
        desk = ConsoleDesk(workbench, tmp_path, shell.link, profile="shell")
        program = 'echo up; while read -r line; do echo "got $line"; done; exit 7'
        desk.put("reader", stdin=True, command=["sh", "-c", program])
        desk.wait(lambda: desk.log("reader") == "up\n", "the program")
        told = piped(desk.gateway, "attach", "-i", "reader", stdin=b"one\n# \ntwo\n")
        assert told.returncode == 0
        desk.wait_for("reader", "Error")
        assert desk.end_of("reader")["exitCode"] == 7
        assert [line for line in desk.log("reader").splitlines() if line.startswith("got ")] == ["got one", "got #", "got two"]
        assert b"got two\n" in told.stdout
        assert "WIRELET" not in desk.device_log


def test_a_gateway_that_leaves_is_told(workbench: Workbench, tmp_path: Path, port: RawPort, people: Callable[..., Person]) -> None:
    desk = ConsoleDesk(workbench, tmp_path, port.link)
    desk.put("board", stdin=True)
    desk.wait_for("board", "Running")
    alice = people(desk.gateway, "attach", "-it", "board")
    desk.wait(lambda: device_row(desk.gateway)["typists"] == ["alice"], "alice at the keyboard")
    desk.gateway.kill()
    alice.sees(b"the gateway left in the middle")
    assert alice.ends() == 1


# -- machines behind sshd


@pytest.fixture
def lab(tmp_path: Path, workbench: Workbench) -> Iterator[SshLab]:
    with behind_sshd(SshLab, tmp_path, workbench) as lab:
        lab.set_up()
        lab.run("job", "sh", "-c", "echo up; exec sleep 1000", env=[{"name": "V", "value": "it's $HOME"}], workingDir="/")
        lab.wait(lambda: lab.logs("job") == ["up"], "the job")
        yield lab


def test_a_command_beside_a_job_has_its_environment_its_streams_and_its_exit_code(lab: SshLab) -> None:
    program = 'cat; printf "%s\\n" "$V" "$PWD" "$@"; echo oops >&2; exit 3'
    told = piped(lab.gateway, "exec", "-i", "job", "--", "sh", "-c", program, "sh", "$(reboot) 'x'", stdin=b"\x00\xffpiped\n")
    assert told.stdout == b"\x00\xffpiped\nit's $HOME\n/\n$(reboot) 'x'\n"
    assert told.stderr == b"oops\n"
    assert told.returncode == 3
    assert piped(lab.gateway, "exec", "job", "--", "cat").returncode == 0  # without -i it finds the end of its input
    absent = piped(lab.gateway, "exec", "job", "--", "/no/such")
    assert absent.returncode == 127
    assert b"/no/such" in absent.stderr
    assert lab.logs("job") == ["up"]


def test_a_large_output_comes_whole(lab: SshLab) -> None:
    told = piped(lab.gateway, "exec", "-i", "job", "--", "sh", "-c", "cat; head -c 20000000 /dev/zero", stdin=b"x" * 3_000_000)
    assert (told.returncode, len(told.stdout), told.stdout.count(b"x")) == (0, 23_000_000, 3_000_000)


def test_a_shell_at_a_terminal(lab: SshLab, people: Callable[..., Person]) -> None:
    alice = people(lab.gateway, "exec", "-it", "job", "--", "sh", columns=93, rows=31)
    alice.types(b"stty size; tty; echo $((6*7))\n")
    alice.sees(b"31 93\r\n")
    alice.sees(b"/dev/pts/")
    alice.sees(b"42\r\n")
    alice.resize(70, 20)
    alice.types(b"until stty size | grep '^20 70$'; do sleep 0.1; done\n")
    alice.sees(b"20 70\r\n")  # what the terminal shows of the typed line has a $ there
    alice.types(b"sleep 1000\n")
    alice.sees(b"sleep 1000\r\n")
    alice.types(b"\x03")
    alice.sees(b"^C")
    alice.types(b"exit 5\n")
    assert alice.ends() == 5


def test_a_person_who_leaves_takes_the_command_along(lab: SshLab, tmp_path: Path, people: Callable[..., Person]) -> None:
    mark = tmp_path / "ended"
    alice = people(
        lab.gateway, "exec", "-t", "job", "--", "sh", "-c", f"trap 'touch {mark}; exit' HUP TERM; echo up; while :; do sleep 0.1; done"
    )
    alice.sees(b"up")
    alice.close()
    lab.wait(mark.exists, "the command to hear of it")
    assert lab.logs("job") == ["up"]


def test_more_commands_than_sshd_takes_are_refused_in_words(lab: SshLab) -> None:
    with contextlib.ExitStack() as held:
        open_ones = []
        for _ in range(9):  # MaxSessions 10, and one is the gateway's own
            popen = held.enter_context(
                subprocess.Popen(
                    [*WIRELET, "exec", "-i", "job", "--", "sh", "-c", "echo up; cat"], env=lab.gateway.cli_env, stdin=-1, stdout=-1
                )
            )
            open_ones.append(popen)
            assert popen.stdout is not None
            assert popen.stdout.readline() == b"up\n"
        refused = piped(lab.gateway, "exec", "job", "--", "true")
        assert refused.returncode == 1
        assert b"MaxSessions" in refused.stderr
        for popen in open_ones:
            assert popen.stdin is not None
            popen.stdin.close()
            assert popen.wait(20) == 0
    assert piped(lab.gateway, "exec", "job", "--", "true").returncode == 0

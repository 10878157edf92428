"""Commands on real shells behind a real terminal: what they are told, how they end, and what survives; a getty asks for a login before."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest
from console_lab import ConsoleDesk, ConsoleLab
from control_plane import ControlPlane
from terminal_port import TerminalPort
from workbench import Workbench

SHELLS: Final = {"dash": "dash -i", "busybox": "busybox ash -i", "bash": "bash --norc -i"}
LOGIN_SHELL: Final = """#!/bin/sh
# What a getty runs: it has asked for the name. A password is asked for as login(1) does.
stty -echo; printf 'Password: '; read -r password; stty echo; echo
[ "$2 $password" = "root s3cret" ] || { echo 'Login incorrect'; exit 1; }
echo 'Last login: Mon on ttyS0'
exec env PS1='board:~# ' busybox ash -i
"""
NASTY: Final = ["it's", '"$HOME"', "`id`", "\\", "a\nb", "%s", "\t", "!!", "ü", "# ", "", "-n", "\x03"]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., TerminalPort]]:
    """terminal("busybox", "ash", "-i"): its port."""
    env = {"PS1": "# ", "HISTFILE": str(tmp_path / "history")}
    with contextlib.ExitStack() as made:
        yield lambda *argv: made.enter_context(contextlib.closing(TerminalPort(tmp_path / "port", argv, env)))


@pytest.fixture
def shell(need: Callable[[str], None], terminal: Callable[..., TerminalPort]) -> Callable[[str], TerminalPort]:
    """shell("dash"): its port."""

    def make(name: str) -> TerminalPort:
        if name == "busybox":
            need("busybox")
        return terminal(*SHELLS[name].split())

    return make


@pytest.mark.parametrize("name", SHELLS)
def test_a_command_gets_what_was_put_in_and_its_exit_code_is_the_pods(
    shell: Callable[[str], TerminalPort], workbench: Workbench, tmp_path: Path, name: str
) -> None:
    desk = ConsoleDesk(workbench, tmp_path, shell(name).link, profile="shell")
    env = [{"name": f"W_{number}", "value": value} for number, value in enumerate(NASTY)]
    program = r"""for each; do printf "<%s>" "$each"; done; env -0 | sort -z | grep -z ^W_ | tr "\\0" "|"; exit 3"""
    told = desk.ran("nasty", "Error", command=["sh", "-c", program, "sh", *NASTY], env=env)
    ordered = sorted(f"W_{number}={value}" for number, value in enumerate(NASTY))
    wanted = "".join(f"<{value}>" for value in NASTY) + "".join(f"{each}|" for each in ordered)
    assert told == f"{wanted}\n"
    assert desk.end_of("nasty")["exitCode"] == 3

    assert desk.ran("again", "Completed", command=["echo", "hello"]) == "hello\n"
    assert desk.ran("many", "Completed", command=["seq", "5000"]).split() == [str(number) for number in range(1, 5001)]
    assert "/no/such/program: " in desk.ran("absent", "Error", command=["/no/such/program"])
    assert desk.end_of("absent")["exitCode"] == 127
    assert "WIRELET" not in desk.device_log
    assert "printf" not in desk.device_log


def test_a_stop_is_a_control_c_and_then_more(shell: Callable[[str], TerminalPort], workbench: Workbench, tmp_path: Path) -> None:
    desk = ConsoleDesk(workbench, tmp_path, shell("dash").link, profile="shell")
    desk.put("quiet", command=["sleep", "1000"])
    desk.wait_for("quiet", "Running")
    desk.remove("quiet")
    desk.wait(lambda: not desk.row("quiet"), "the pod to be gone")

    stubborn = "trap : INT; echo up; while :; do sleep 0.1; done"
    desk.put("stubborn", command=["sh", "-c", stubborn], grace_s=2)
    desk.wait(lambda: desk.log("stubborn") == "up\n", "the program to run")
    desk.remove("stubborn")
    desk.wait(lambda: not desk.row("stubborn"), "the pod to be gone")
    assert desk.ran("next", "Completed", command=["echo", "free"]) == "free\n"


def test_one_workload_at_a_time(shell: Callable[[str], TerminalPort], workbench: Workbench, tmp_path: Path) -> None:
    desk = ConsoleDesk(workbench, tmp_path, shell("busybox").link, profile="shell")
    desk.put("first", command=["sh", "-c", "echo up; sleep 1000"])
    desk.wait_for("first", "Running")
    desk.put("second", command=["echo", "mine"])
    desk.wait_for("second", "DeviceBusy")
    desk.remove("first")
    desk.wait_for("second", "Completed")


def test_a_killed_gateway_adopts_the_command_and_learns_how_it_ended(
    shell: Callable[[str], TerminalPort], workbench: Workbench, tmp_path: Path
) -> None:
    desk = ConsoleDesk(workbench, tmp_path, shell("busybox").link, profile="shell")
    go, done = tmp_path / "go", tmp_path / "done"
    waiting = f"echo up; until [ -e {go} ]; do sleep 0.05; done; echo down; touch {done}; exit 5"
    desk.put("long", command=["sh", "-c", waiting])
    desk.wait(lambda: "up" in desk.log("long"), "the command to run")
    desk.gateway.kill()
    go.touch()
    desk.wait_without_gateway(done.exists, "the command to end")
    desk.gateway.start()
    desk.wait_for("long", "Error")
    assert desk.end_of("long")["exitCode"] == 5
    first, gap, *_ = desk.log("long").splitlines()
    assert first == "up"
    assert "nobody was reading" in gap


def test_a_pulled_cable_is_a_gap_in_the_same_run(shell: Callable[[str], TerminalPort], workbench: Workbench, tmp_path: Path) -> None:
    port = shell("dash")
    desk = ConsoleDesk(workbench, tmp_path, port.link, profile="shell")
    go = tmp_path / "go"
    desk.put("long", command=["sh", "-c", f"echo up; until [ -e {go} ]; do sleep 0.05; done; echo down; exit 4"])
    desk.wait(lambda: "up" in desk.log("long"), "the command to run")
    port.pull()
    desk.wait(lambda: "Disconnected" in desk.gateway.cli("get", "devices"), "the cable to be out")
    port.plug()
    desk.wait(lambda: "Ready" in desk.gateway.cli("get", "devices"), "the cable to be in")
    go.touch()
    desk.wait_for("long", "Error")
    assert desk.end_of("long")["exitCode"] == 4
    up, gap, *_, down = desk.log("long").splitlines()
    assert (up, down) == ("up", "down")
    assert "nobody was reading" in gap


def test_a_getty_is_logged_in_and_the_password_is_shown_nowhere(
    need: Callable[[str], None], terminal: Callable[..., TerminalPort], workbench: Workbench, tmp_path: Path
) -> None:
    need("busybox")
    login, secret = tmp_path / "login", tmp_path / "password"
    login.write_text(LOGIN_SHELL)
    login.chmod(0o755)
    secret.write_text("s3cret\n")
    secret.chmod(0o600)
    port = terminal("busybox", "getty", "-l", str(login), "0", "-")
    steps = [{"expect": "login:", "send": "root"}, {"expect": "Password:", "sendFile": str(secret)}]
    desk = ConsoleDesk(workbench, tmp_path, port.link, profile="shell", login=steps)
    assert desk.ran("first", "Completed", command=["echo", "in"]) == "in\n"
    assert desk.ran("second", "Completed", command=["echo", "still in"]) == "still in\n"
    assert "Password:" in desk.device_log
    for text in (desk.device_log, desk.gateway.log(), desk.gateway.cli("get", "devices", "-o", "json")):
        assert "s3cret" not in text


def test_a_console_without_a_shell_refuses_and_says_why(
    terminal: Callable[..., TerminalPort], workbench: Workbench, tmp_path: Path
) -> None:
    port = terminal("cat")
    desk = ConsoleDesk(workbench, tmp_path, port.link, profile="shell", startDeadline="1s")
    desk.put("nobody", command=["echo", "x"])
    desk.wait_for("nobody", "RunContainerError")
    desk.put("empty")
    desk.wait_for("empty", "CreateContainerConfigError")


def test_kubectl_shows_the_log_of_a_command(
    control_plane: ControlPlane, namespace: str, shell: Callable[[str], TerminalPort], workbench: Workbench
) -> None:
    port = shell("busybox")
    lab = ConsoleLab(control_plane, workbench, namespace)
    lab.begin(port.link, profile="shell")
    lab.run("numbers", "any", request=True, restartPolicy="Never", container={"command": ["sh", "-c"], "args": ["seq 3; exit 6"]})
    ended = lab.wait_for_phase("numbers", "Failed")
    assert ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 6
    assert lab.logs("numbers") == ["1", "2", "3"]
    lab.close()

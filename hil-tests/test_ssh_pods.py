"""Pods on a machine behind a real sshd with Debian's configuration, and every way in which that may break."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_lab import AgentLab
from gateways import WIRELET
from own_terminal import OwnTerminal
from ssh_lab import COUNT, FOR_EVER, SshLab, assert_all, behind_sshd
from workbench import Workbench


@pytest.fixture
def lab(tmp_path: Path, workbench: Workbench) -> Iterator[SshLab]:
    with behind_sshd(SshLab, tmp_path, workbench) as lab:
        yield lab


def test_a_pod_is_a_command_with_its_words_and_its_environment(lab: SshLab) -> None:
    lab.set_up()
    nasty = 'it\'s $(reboot) `x` \\ "q"\n two'
    lab.run("words", "sh", "-c", 'printf "[%s]\\n" "$@" "$V"; echo oops >&2; exit 7', "sh", nasty, "", env=[{"name": "V", "value": nasty}])
    ended = lab.wait_for_end("words")
    assert (ended["exitCode"], ended["reason"]) == (7, "Error")
    assert "\n".join(lab.logs("words")) in (f"[{nasty}]\n[]\n[{nasty}]\noops", f"oops\n[{nasty}]\n[]\n[{nasty}]")


def test_a_deleted_pod_gets_the_signal(lab: SshLab) -> None:
    lab.set_up()
    told = lab.directory.parent / "told"
    lab.run("trap", "sh", "-c", f"trap 'echo TERM >{told}; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    lab.wait(lambda: lab.logs("trap") == ["up"], "it is up")
    lab.delete("trap")
    lab.wait(lambda: lab.pod("trap") is None, "its end")
    assert told.read_text() == "TERM\n"
    lab.wait(lambda: not list(lab.directory.glob("*/run.*")), "nothing of it is left on the machine")


def test_killed_connections_lose_no_line(lab: SshLab) -> None:
    lab.set_up()
    lab.run("counter", "sh", "-c", COUNT, FOR_EVER)
    for seen in (20, 100, 200):
        lab.wait(lambda seen=seen: len(lab.logs("counter")) > seen, f"{seen} lines")  # type: ignore[misc]  # the loop's own
        lab.sshd.drop_connections()
    seen = len(lab.logs("counter"))
    lab.wait(lambda: len(lab.logs("counter")) > seen + 100, "it goes on")
    assert_all(lab.logs("counter"), 300)


def test_a_killed_gateway_adopts_the_job_and_every_line_is_there_once(lab: SshLab) -> None:
    lab.set_up()
    lab.run("counter", "sh", "-c", COUNT, FOR_EVER)
    lab.run("short", "sh", "-c", "sleep 3; echo over; exit 9")
    lab.wait(lambda: len(lab.logs("counter")) > 50, "some lines")
    (job,) = [path.read_text() for path in lab.directory.glob("*/run.*/job.process") if "sleep 0.01" in (path.parent / "job").read_text()]
    lab.gateway.kill()
    lab.wait(lambda: len(list(lab.directory.glob("*/run.*/exit"))) == 1, "the short one ends meanwhile")
    lab.gateway.start()
    assert lab.wait_for_end("short")["exitCode"] == 9
    lab.wait(lambda: len(lab.logs("counter")) > 300, "it goes on")
    assert_all(lab.logs("counter"), 300)
    assert lab.logs("short") == ["over"]
    assert job in [path.read_text() for path in lab.directory.glob("*/run.*/job.process")]


def test_a_wrong_host_key_is_told_and_nothing_is_started(lab: SshLab) -> None:
    lab.sshd.known_hosts.write_text("")
    lab.set_up(wait=False)
    device = lab.wait(lambda: lab.device() if "host key" in str(lab.device()) else None, "the refusal")
    assert f"is not in {lab.sshd.known_hosts}" in str(device)
    assert not lab.directory.exists()
    lab.sshd.trust_host_key()
    lab.wait(lambda: lab.device()["state"] == "Ready", "the next attempt")


def test_two_dozen_pods_share_one_connection(lab: SshLab) -> None:
    """An untouched sshd gives ten sessions to a connection (MaxSessions)."""
    lab.set_up(slots=24)
    for number in range(24):
        lab.run(f"pod-{number}", "sh", "-c", COUNT, "100")
    for number in range(24):
        assert lab.wait_for_end(f"pod-{number}")["exitCode"] == 0
    assert all(lab.logs(f"pod-{number}") == [str(n) for n in range(1, 101)] for number in range(24))
    assert lab.sshd.process.log_tail(100_000).count("Accepted publickey") == 1


@pytest.mark.parametrize("kind", [SshLab, AgentLab], ids=["exec", "agent"])
def test_a_pod_that_asks_for_a_terminal_is_told_where_to_have_one(kind: type[SshLab], tmp_path: Path, workbench: Workbench) -> None:
    with behind_sshd(kind, tmp_path, workbench) as lab:
        lab.set_up()
        lab.run("job", "sleep", "1000", tty=True)
        waiting = lab.wait(lambda: lab.container_state("job").get("waiting"), "the refusal")
        assert waiting["reason"] == "CreateContainerConfigError"
        _, _, way = waiting["message"].partition("leave it out, and have one beside it: wirelet ")
        lab.run("job", "sleep", "1000")
        lab.wait(lambda: "running" in lab.container_state("job"), "the job without it")
        with OwnTerminal([*WIRELET, *way.replace("POD", "job").split()], lab.gateway.cli_env) as terminal:
            terminal.type("tty; echo $((6*7))\n")
            assert "/dev/pts/" in terminal.wait_for("42\r\n")

"""A machine behind sshd as a node of the real control plane: kubectl places a pod on it, follows its log, and takes it away."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import remembered
from control_plane import ControlPlane
from lab import Lab, assert_counted, condition, container
from person import Person
from ssh_lab import exec_class
from sshd import Sshd, running
from workbench import Workbench


class SshNode(Lab):
    """A lab whose one device is the machine."""

    def __init__(self, control_plane: ControlPlane, workbench: Workbench, namespace: str, sshd: Sshd, directory: Path) -> None:
        super().__init__(control_plane, workbench, namespace)
        self.sshd = sshd
        self._directory = directory

    def configuration(self, **changes: Any) -> dict[str, Any]:
        return super().configuration(**changes) | {
            "classes": [exec_class(self.class_name, self._directory, changes["slots"])],
            "devices": [{"name": "rack", "class": self.class_name, "link": self.sshd.link()}],
        }


@pytest.fixture
def lab(
    control_plane: ControlPlane, workbench: Workbench, namespace: str, tmp_path: Path, need: Callable[[str], None]
) -> Iterator[SshNode]:
    need("sshd")
    with running(tmp_path / "sshd") as sshd:
        made = SshNode(control_plane, workbench, namespace, sshd, tmp_path / "target")
        yield made
        made.close()
        remembered.end(tmp_path / "target" / "rack")
    assert made.refused_requests() == []


def test_kubectl_runs_follows_and_deletes_a_command(lab: SshNode) -> None:
    lab.set_up()
    count = 'i=0; while :; do i=$((i+1)); echo "$i"; sleep 0.01; done'
    lab.run("counter", "host", container={"command": ["sh", "-c", count], "args": []}, request=True)
    before = lab.wait_for_ready("counter")
    follower = lab.follow("counter")
    follower.wait_for_lines(50)
    seen = len(follower.lines)
    lab.sshd.stop()
    assert condition(lab.wait_for_ready("counter", "False"), "Ready")["reason"] == "DeviceDisconnected"
    node = lab.wait_for_node(lambda node: condition(node, "DeviceProblem").get("status") == "True")
    assert "nobody listens there" in condition(node, "DeviceProblem")["message"]
    lab.sshd.start()
    after = lab.wait_for_ready("counter")
    assert container(after)["containerID"] == container(before)["containerID"]
    assert container(after)["restartCount"] == 0
    assert_counted(follower.wait_for_lines(seen + 300), first=1)
    lab.kubectl("delete", "pod", "counter", "--grace-period=5")
    lab.wait(lambda: lab.pod("counter") is None, "the pod to be gone")


def test_kubectl_runs_a_command_beside_the_pods_own(lab: SshNode) -> None:
    lab.set_up()
    lab.run("job", "host", container={"command": ["sh", "-c", "echo up; exec sleep 1000"], "args": []}, request=True)
    lab.wait_for_ready("job")
    program = 'printf "%s\\n" "$@"; echo oops >&2; cat; exit 3'
    told = lab.ran_kubectl("exec", "-i", "job", "--", "sh", "-c", program, "sh", "it's $(reboot)", stdin=b"piped\x00\xff" * 100_000)
    assert told.stdout == b"it's $(reboot)\n" + b"piped\x00\xff" * 100_000
    assert told.stderr == b"oops\ncommand terminated with exit code 3\n"
    assert told.returncode == 3
    assert lab.kubectl("logs", "job") == "up\n"


def test_kubectl_has_a_terminal_on_the_machine(lab: SshNode) -> None:
    lab.set_up()
    lab.run("job", "host", container={"command": ["sh", "-c", "echo up; exec sleep 1000"], "args": []}, request=True)
    lab.wait_for_ready("job")
    argv = lab.control_plane.kubectl_argv("-n", lab.namespace, "exec", "-it", "job", "--", "sh")
    with contextlib.closing(Person(argv, {**os.environ, **lab.control_plane.kubectl_env}, columns=93, rows=31)) as alice:
        alice.sees(b"# ")
        alice.types(b"stty size; echo $((6*7))\n")
        alice.sees(b"31 93\r\n42\r\n")
        alice.types(b"exit 5\n")
        assert alice.ends() == 5

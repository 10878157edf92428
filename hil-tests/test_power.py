"""Boards that a person switches off and on: the hooks of examples/power, and what becomes of the board and its pod."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from gateways import Gateway, device
from lab import Lab, condition, container
from workbench import Workbench

EXAMPLES: Final = Path(__file__).resolve().parents[1] / "examples" / "power"
ASKED: Final[Mapping[str, Mapping[str, list[str]]]] = {
    "uhubctl": {switch: [f"-l 1-1 -p 3 -a {switch}"] for switch in ("on", "off", "cycle")},
    "relay": {"on": ["BITFT_2=1"], "off": ["BITFT_2=0"], "cycle": ["BITFT_2=0", "BITFT_2=1"]},
    "pdu": {
        switch: [f"-t 3 -r 2 192.0.2.40 .1.3.6.1.4.1.318.1.1.12.3.3.1.1.4.6 i {number}"]
        for switch, number in (("on", 1), ("off", 2), ("cycle", 3))
    },
}
PROGRAMS: Final = {"uhubctl": "uhubctl", "relay": "usbrelay", "pdu": "snmpset"}


def put(folder: Path, name: str, script: str) -> None:
    """A program of that name, for whoever has folder first on the path."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize("switch", ["on", "off", "cycle"])
@pytest.mark.parametrize("example", ASKED)
def test_each_example_asks_its_program_for_the_boards_own_switch(example: str, switch: str, tmp_path: Path) -> None:
    put(tmp_path / "bin", PROGRAMS[example], f'echo "$@" >> {tmp_path}/asked')
    environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "WIRELET_DEVICE": "board-b", "WIRELET_HOOK": f"power.{switch}"}
    subprocess.run([EXAMPLES / f"{example}.sh"], env=environment, check=True, timeout=30)
    assert (tmp_path / "asked").read_text().splitlines() == ASKED[example][switch]


@pytest.mark.parametrize("example", ASKED)
@pytest.mark.parametrize("unknown", [{"WIRELET_DEVICE": "board-z"}, {"WIRELET_HOOK": "reset"}])
def test_an_example_refuses_what_it_does_not_know(example: str, unknown: Mapping[str, str]) -> None:
    environment = {"PATH": os.environ["PATH"], "WIRELET_DEVICE": "board-a", "WIRELET_HOOK": "power.on", **unknown}
    ran = subprocess.run([EXAMPLES / f"{example}.sh"], env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert next(iter(unknown.values())) in ran.stderr


class Rig:
    """A board on a hub whose port a `uhubctl` of ours switches, or on an adapter that keeps its power; and a pod on it."""

    def __init__(self, workbench: Workbench, folder: Path, *, is_fed_by_hub: bool) -> None:
        self.link, button, pods = folder / "board", folder / "button", folder / "pods"
        os.mkfifo(button)
        pods.mkdir()
        (pods / "hello.yaml").write_text(yaml.safe_dump(POD))
        simulate = shlex.join([sys.executable, "-m", "gateway", "simulate", "--link", str(self.link)])
        board = workbench.process("board", ["sh", "-c", f"exec {simulate} <>{button}"])
        board.wait_for(self.link.exists, "the board")
        off, on = ("unplug", "reset\\nplug") if is_fed_by_hub else ("", "reset")
        script = f'case "$*" in *off) printf "{off}\\n" ;; *on) printf "{on}\\n" ;; *) printf "{off}\\n{on}\\n" ;; esac > {button}'
        put(folder / "bin", "uhubctl", f'[ ! -e {folder}/stuck ] || {{ echo "no hub answers"; exit 3; }}\n{script}')
        path = f"{folder}/bin:{os.environ['PATH']}"
        hooks = {"power": {switch: {"command": ["env", f"PATH={path}", str(EXAMPLES / "uhubctl.sh")]} for switch in ("on", "off", "cycle")}}
        configuration = {
            "node": {"name": "desk"},
            "classes": [{"name": "sim", "shared": True, "hooks": hooks}],
            "devices": [device("board-a", "sim", self.link)],
        }
        self.gateway: Gateway = workbench.gateway(configuration, "--standalone", "--manifests", str(pods))
        self.wait(lambda: self.pod["ready"] == 1, "the pod to run")

    @property
    def state(self) -> str:
        return str(json.loads(self.gateway.cli("get", "devices", "-o", "json"))["items"][0]["state"])

    @property
    def pod(self) -> dict[str, Any]:
        items = json.loads(self.gateway.cli("get", "pods", "-o", "json"))["items"]
        return dict(items[0]) if items else {"ready": 0, "restarts": 0}

    def events(self) -> list[str]:
        return [str(event["reason"]) for event in json.loads(self.gateway.cli("get", "events", "-o", "json"))["items"]]

    def power(self, switch: str) -> tuple[int, str]:
        ran = self.gateway.run_cli("power", "board-a", switch)
        return ran.returncode, ran.stderr

    def opened(self) -> bool:
        """Does the gateway have the port?"""
        port, files = os.path.realpath(self.link), Path(f"/proc/{self.gateway.process.pid}/fd")
        return any(os.path.realpath(file) == port for file in files.iterdir())

    def wait(self, met: Callable[[], bool], what: str) -> None:
        self.gateway.process.wait_for(met, what, timeout_s=30)


POD: Final = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "hello"},
    "spec": {"containers": [{"name": "main", "image": "counter"}]},
}


@pytest.mark.parametrize("is_fed_by_hub", [True, False], ids=["on a hub", "on an adapter that stays"])
def test_a_board_that_is_switched_off_says_so_and_its_pod_restarts_when_it_is_on(
    workbench: Workbench, tmp_path: Path, is_fed_by_hub: bool
) -> None:
    rig = Rig(workbench, tmp_path, is_fed_by_hub=is_fed_by_hub)
    assert rig.power("off") == (0, "")
    assert rig.state == "Off"
    rig.wait(lambda: rig.pod["ready"] == 0 and "DeviceOff" in rig.events(), "the pod to be told")
    assert not rig.opened()
    told = "board-a is switched off; switch it on with: wirelet power board-a on\n"
    assert rig.gateway.run_cli("lend", "board-a", "--", "true").stderr == f"wirelet lend: {told}"

    assert rig.power("on") == (0, "")
    rig.wait(lambda: rig.pod["ready"] == 1 and rig.pod["restarts"] == 1, "the pod to run again")
    assert rig.state == "Ready"
    assert rig.events().count("DeviceDisconnected") == 0


def test_a_cycle_switches_a_board_on_that_was_off(workbench: Workbench, tmp_path: Path) -> None:
    rig = Rig(workbench, tmp_path, is_fed_by_hub=False)
    rig.power("off")
    assert rig.power("cycle") == (0, "")
    rig.wait(lambda: rig.state == "Ready", "the board")


def test_a_switch_that_fails_leaves_the_board_in_use(workbench: Workbench, tmp_path: Path) -> None:
    rig = Rig(workbench, tmp_path, is_fed_by_hub=True)
    (tmp_path / "stuck").touch()
    code, told = rig.power("off")
    assert (code, told.split(": ", 2)[2]) == (1, "no hub answers; try the command by hand, as the gateway's user\n")
    rig.wait(lambda: rig.state == "Ready" and rig.pod["ready"] == 1, "the board to be used again")
    assert rig.pod["restarts"] == 0


def test_a_gateway_that_is_restarted_knows_that_a_board_is_off(workbench: Workbench, tmp_path: Path) -> None:
    """Also when it was killed. The pod waits as before, and nothing is told as a fault."""
    rig = Rig(workbench, tmp_path, is_fed_by_hub=False)
    assert rig.power("off") == (0, "")
    for end in (rig.gateway.stop, rig.gateway.kill):
        end()
        rig.gateway.start()
        rig.wait(lambda: rig.state == "Off", "the next gateway to know of it")
        rig.wait(lambda: "DeviceOff" in rig.events() and rig.pod["ready"] == 0, "the pod to be told")
        assert (rig.pod["status"], rig.pod["restarts"]) == ("Running", 0)
        assert not rig.opened()
        assert {"DeviceDisconnected", "BackOff", "Failed"}.isdisjoint(rig.events())

    assert rig.power("on") == (0, "")
    rig.wait(lambda: rig.pod["ready"] == 1 and rig.pod["restarts"] == 1, "the pod to run again")
    rig.gateway.restart()
    rig.wait(lambda: rig.state == "Ready" and rig.pod["ready"] == 1, "a gateway that does not think of it any more")


def test_the_cluster_is_told_that_a_board_is_off_over_a_restart_of_the_gateway(lab: Lab) -> None:
    hooks = {"power": {switch: {"command": ["true"]} for switch in ("on", "off")}}
    lab.set_up(classes=[{"name": lab.class_name, "slots": 4, "shared": True, "hooks": hooks}])
    lab.run("counter", "counter", "--rate", "20")
    before = lab.wait_for_ready("counter")
    lab.gateway.cli("power", "board-0", "off")
    assert condition(lab.wait_for_ready("counter", "False"), "Ready")["reason"] == "DeviceOff"
    lab.boards.reset()  # its power is gone
    lab.gateway.kill()
    lab.gateway.start()
    lab.wait(lambda: json.loads(lab.gateway.cli("get", "devices", "-o", "json"))["items"][0]["state"] == "Off", "the next gateway to know")
    node = lab.wait_for_node(lambda node: "switched off" in condition(node, "DeviceProblem").get("message", ""))
    assert node["status"]["allocatable"][lab.resource] == "0"
    pod = lab.wait_for_ready("counter", "False")
    assert condition(pod, "Ready")["reason"] == "DeviceOff"
    assert (container(pod)["containerID"], container(pod)["restartCount"]) == (container(before)["containerID"], 0)

    lab.gateway.cli("power", "board-0", "on")
    after = lab.wait_for_pod("counter", lambda pod: container(pod).get("restartCount") == 1 and "running" in container(pod)["state"])
    assert container(after)["lastState"]["terminated"]["reason"] == "DeviceRebooted"


def test_a_board_is_not_off_for_ever_when_nothing_could_switch_it_on_any_more(workbench: Workbench, tmp_path: Path) -> None:
    rig = Rig(workbench, tmp_path, is_fed_by_hub=False)
    assert rig.power("off") == (0, "")
    rig.gateway.stop()
    rig.gateway.configuration["classes"][0]["hooks"] = {}
    rig.gateway.config_file.write_text(json.dumps(rig.gateway.configuration))
    rig.gateway.start()
    rig.wait(lambda: rig.state == "Ready", "the board to be used again")

"""A program that does not end: the real gateway climbs its ladder with real hooks, in the right order, on a board in another process."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from gateways import Gateway, device
from processes import Process
from workbench import Workbench

WAIT_S: Final = 90.0
"""Each rung has ten seconds to show an effect."""


class Bench:
    """One board whose commands come through a FIFO, so that hooks may press its reset button too, and a gateway that runs one pod."""

    def __init__(self, workbench: Workbench, folder: Path) -> None:
        self.workbench = workbench
        self.folder = folder
        self.link = folder / "board"
        self.button = folder / "button"
        self.hooks = folder / "hooks"
        self.pods = folder / "pods"
        self.pods.mkdir()
        os.mkfifo(self.button)
        simulate = shlex.join([sys.executable, "-m", "gateway", "simulate", "--link", str(self.link), "--slots", "2", "--trace"])
        # Open for reading and writing: the end of one writer is not the end of the commands.
        self.board: Process = workbench.process("board", ["sh", "-c", f"exec {simulate} <>{self.button}"])
        self.board.wait_for(self.link.exists, "the board")
        self.gateway: Gateway

    def start(self, image: str, grace_s: int, *, keepalive: str = "1s", **hooks: str) -> None:
        """Run a pod and wait until it runs. hooks: reset, power: shell scripts."""
        self.add("pod", image, grace_s)
        configured = {name: {"command": ["sh", "-c", script]} for name, script in hooks.items()}
        section: dict[str, Any] = {"name": "sim", "slots": 2, "shared": True, "keepalive": keepalive, "hooks": {}}
        if "reset" in configured:
            section["hooks"]["reset"] = configured["reset"]
        if "power" in configured:
            section["hooks"]["power"] = {"cycle": configured["power"]}
        configuration = {"node": {"name": "desk"}, "classes": [section], "devices": [device("board", "sim", self.link)]}
        self.gateway = self.workbench.gateway(configuration, "--standalone", "--manifests", str(self.pods))
        self.wait(lambda: self.phase("pod") == "Running", "the pod to run")

    def add(self, name: str, image: str, grace_s: int = 1) -> None:
        spec = {"terminationGracePeriodSeconds": grace_s, "containers": [{"name": "main", "image": image}]}
        (self.pods / f"{name}.yaml").write_text(json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}))

    def delete(self, name: str = "pod") -> None:
        (self.pods / f"{name}.yaml").unlink()

    def press(self, command: str) -> None:
        self.button.write_text(f"{command}\n")

    def wait(self, met: Callable[[], Any], what: str) -> None:
        self.gateway.process.wait_for(lambda: bool(met()), what, timeout_s=WAIT_S)

    def phase(self, name: str) -> str:
        pod = self.pod(name)
        return "" if pod is None else str(pod["phase"])

    def pod(self, name: str) -> dict[str, Any] | None:
        pods = json.loads(self.gateway.cli("get", "pods", "-o", "json"))["items"]
        return next((dict(pod) for pod in pods if pod["name"] == name), None)

    def row(self) -> dict[str, Any]:
        (row,) = json.loads(self.gateway.cli("get", "devices", "-o", "json"))["items"]
        return dict(row)

    def rungs(self) -> list[str]:
        """What the gateway climbed, in its order."""
        return [line.rpartition("rung=")[2].split()[0] for line in self.gateway.log().splitlines() if "rung=" in line]

    def asked(self) -> list[str]:
        """STOPs and REBOOTs in the order in which the board got them, repeated ones once."""
        kinds = [kind for line in self.board.log.read_text().splitlines() for kind in ("STOP", "REBOOT") if f": {kind}" in line]
        return [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]


@pytest.fixture
def bench(workbench: Workbench, tmp_path: Path) -> Bench:
    return Bench(workbench, tmp_path)


def test_a_stubborn_program_is_ended_by_its_device(bench: Bench) -> None:
    bench.start("stubborn", grace_s=1, reset=f"echo reset >> {bench.hooks}")
    bench.delete()
    bench.wait(lambda: bench.pod("pod") is None, "the pod to go")
    assert bench.asked() == ["STOP"]
    assert bench.rungs() == []
    assert not bench.hooks.exists()
    assert bench.row()["state"] == "Ready"


def test_a_stuck_program_ends_with_a_reboot_before_any_hook(bench: Bench) -> None:
    bench.start("stuck", grace_s=1, reset=f"echo reset >> {bench.hooks}")
    bench.delete()
    bench.wait(lambda: bench.pod("pod") is None, "the pod to go")
    assert bench.asked() == ["STOP", "REBOOT"]
    assert bench.rungs() == ["reboot"]
    assert not bench.hooks.exists()
    bench.add("next", "hello")
    bench.wait(lambda: bench.phase("next") == "Running", "the next pod to run on the board")


def test_a_hook_presses_the_button_of_a_board_whose_cable_is_out(bench: Bench) -> None:
    bench.start("stuck", grace_s=1, reset=f'echo "$WIRELET_HOOK $WIRELET_DEVICE" >> {bench.hooks}; echo reset > {bench.button}')
    bench.press("unplug")
    bench.wait(lambda: bench.row()["state"] == "Disconnected", "the cable to be out")
    bench.delete()
    bench.wait(bench.hooks.exists, "the hook")
    bench.press("plug")
    bench.wait(lambda: bench.pod("pod") is None, "the pod to go")
    assert bench.hooks.read_text() == "reset board\n"
    assert bench.rungs() == ["reset"]
    assert "hook reset has run" in bench.gateway.cli("logs", "device/board")
    assert bench.row()["state"] == "Ready"


def test_a_board_that_nothing_brings_back_is_dirty_after_every_rung(bench: Bench) -> None:
    """It ignores STOP and then hangs as a whole, which a long keepalive hides: REBOOT finds nobody, and the hooks switch nothing."""
    hooks = {"reset": f"echo reset >> {bench.hooks}; exit 1", "power": f"echo power.cycle >> {bench.hooks}"}
    bench.start("stuck", grace_s=1, keepalive="10s", **hooks)
    bench.delete()
    bench.board.wait_for(lambda: bench.asked() == ["STOP"], "the board to get STOP")
    os.kill(bench.board.pid, signal.SIGSTOP)
    try:
        bench.wait(lambda: bench.row()["state"] == "Dirty", "the board to be dirty")
        assert bench.rungs() == ["reboot", "reset", "power.cycle", "dirty"]
        assert bench.hooks.read_text().split() == ["reset", "power.cycle"]
        assert "pod does not end" in bench.row()["message"]
        assert "Dirty" in bench.gateway.cli("get", "devices")
        assert bench.phase("pod") == "Running"
        bench.add("next", "hello")
        bench.wait(lambda: (bench.pod("next") or {}).get("status") == "DeviceBusy", "the next pod to wait")
    finally:
        os.kill(bench.board.pid, signal.SIGCONT)
    bench.press("reset")
    bench.wait(lambda: bench.pod("pod") is None, "the pod to go")
    bench.wait(lambda: bench.phase("next") == "Running", "the next pod to run")
    assert bench.row()["state"] == "Ready"

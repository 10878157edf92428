"""A gateway without a cluster, and a machine with sshd that it runs pods on: pods are files in a folder."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import remembered
from counted import account
from gateways import Gateway
from needs import need
from sshd import Sshd, running
from workbench import Workbench

WAIT_S: Final = 60.0
LOOK_S: Final = 0.1
DEVICE: Final = "rack"
COUNT: Final = 'i=0; while [ $i -lt "$0" ]; do i=$((i+1)); echo $i; sleep 0.01; done'
FOR_EVER: Final = "100000000"


class SshLab:
    """gateway: `wirelet run --standalone`. What jobs leave on the machine is in folder and ends with close()."""

    def __init__(self, folder: Path, workbench: Workbench, sshd: Sshd) -> None:
        self.sshd = sshd
        self.directory = folder / "target"
        self.pods = folder / "pods"
        self.pods.mkdir()
        self._workbench = workbench
        self.gateway: Gateway

    def set_up(self, *, slots: int = 4, devices: int = 1, wait: bool = True) -> None:
        """devices on the one machine, each with a connection of its own."""
        self.gateway = self._workbench.gateway(self.configuration(slots, devices), "--standalone", "--manifests", str(self.pods))
        if wait:
            self.wait_until_ready()

    def configuration(self, slots: int, devices: int = 1) -> dict[str, Any]:
        names = [DEVICE, *(f"{DEVICE}-{number}" for number in range(1, devices))]
        return {
            "node": {"name": "x"},
            "classes": [self.device_class("sbc", slots)],
            "devices": [{"name": name, "class": "sbc", "link": self.link()} for name in names],
        }

    def wait_until_ready(self) -> None:
        self.wait(lambda: all(device["state"] == "Ready" for device in self.devices()), "the machine to be ready")

    def link(self) -> dict[str, Any]:
        return self.sshd.link()

    def device_class(self, name: str, slots: int) -> dict[str, Any]:
        return exec_class(name, self.directory, slots)

    def close(self) -> None:
        for each in self.directory.glob("*"):
            remembered.end(each)

    def run(self, name: str, *command: str, restart: str = "Never", **container: Any) -> None:
        main = {"name": "main", "image": "host", "command": list(command), **container}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {"restartPolicy": restart, "terminationGracePeriodSeconds": 5, "containers": [main]},
        }
        (self.pods / f"{name}.json").write_text(json.dumps(pod))

    def delete(self, name: str) -> None:
        (self.pods / f"{name}.json").unlink()

    def pod(self, name: str) -> dict[str, Any] | None:
        return next((pod for pod in self.gateway.pods() if pod["metadata"]["name"] == name), None)

    def device(self) -> dict[str, Any]:
        (found,) = self.devices()
        return found

    def devices(self) -> list[dict[str, Any]]:
        return list(json.loads(self.gateway.cli("get", "devices", "-o", "json"))["items"])

    def logs(self, name: str) -> list[str]:
        return self.gateway.run_cli("logs", name).stdout.splitlines()

    def wait(self, met: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
        deadline = time.monotonic() + timeout_s
        while not (value := met()):
            assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s"
            time.sleep(LOOK_S)
        return value

    def container_state(self, name: str) -> dict[str, Any]:
        """Of its container; nothing before it has one."""
        statuses = (self.pod(name) or {}).get("status", {}).get("containerStatuses") or [{}]
        return dict(statuses[0].get("state", {}))

    def wait_for_end(self, name: str) -> dict[str, Any]:
        """The terminated state of its container."""
        return dict(self.wait(lambda: self.container_state(name).get("terminated"), f"the end of {name}"))


Lab = TypeVar("Lab", bound=SshLab)


@contextlib.contextmanager
def behind_sshd(kind: type[Lab], folder: Path, workbench: Workbench) -> Iterator[Lab]:
    """A lab of that kind whose machine has an sshd of its own; set_up() is left to the test."""
    need("sshd")
    with running(folder / "sshd") as sshd:
        lab = kind(folder, workbench, sshd)
        try:
            yield lab
        finally:
            lab.close()


def assert_all(lines: list[str], least: int) -> None:
    """Of what COUNT says every line is there once, and at least so many."""
    told = account(lines)
    assert told.missing == 0
    assert told.last == told.delivered >= least


def exec_class(name: str, directory: Path, slots: int) -> dict[str, Any]:
    return {"name": name, "protocol": {"exec": {"directory": str(directory)}}, "slots": slots, "shared": True}

"""`wirelet run --standalone` in the guest, as a person would start it there, with its files in the guest's memory."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from guest.inside import await_listener, write_files
from guest.machine import Guest
from guest.process import GuestError, GuestProcess

from gateway.cli.client import Client, ClientError

WAIT_S: Final = 60.0
SHOWN_BYTES: Final = 4000
"""Of the gateway's last words, when something is not as it should."""
LOOK_S: Final = 0.1
STOP_TIMEOUT_S: Final = 45.0
"""A gateway may stay for a port that takes 30 s to close."""
_numbers: Final = itertools.count()


class Gateway:
    """configuration is completed with directories; pods are manifests. start() it, then ask it by its command line."""

    def __init__(
        self, guest: Guest, configuration: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], *, user: str = "", group: str = ""
    ) -> None:
        self._guest = guest
        self._user = user
        self._groups = (group,) if group else ()
        self.folder = f"/run/gateway-{next(_numbers)}"
        self._socket = f"{self.folder}/run/wirelet.sock"
        whole = {
            "apiVersion": "wirelet.dev/v1alpha1",
            "kind": "GatewayConfiguration",
            "runtimeDirectory": f"{self.folder}/run",
            "stateDirectory": f"{self.folder}/state",
            **configuration,
        }
        files = {f"{self.folder}/gateway.yaml": json.dumps(whole)}  # JSON is YAML
        files |= {f"{self.folder}/pods/{pod['metadata']['name']}.yaml": json.dumps(pod) for pod in pods}
        guest.call(write_files, files, user)
        guest.run("mkdir", "-p", f"{self.folder}/pods")
        self.process: GuestProcess
        self._client: Client
        self._others: list[GuestProcess] = []

    def start(self) -> None:
        """Returns when its socket answers."""
        argv = ("gateway", "run", "--standalone", "--config", f"{self.folder}/gateway.yaml", "--manifests", f"{self.folder}/pods")
        self.process = self._guest.start_module(*argv, user=self._user, groups=self._groups)
        asking = self._guest.start_calls()
        asking.begin(await_listener, self._socket)
        while not asking.has_answered and self.process.is_running:
            time.sleep(LOOK_S)
        if not asking.has_answered:
            raise GuestError(f"the gateway ended\n{self.process.output}")
        asking.answer()
        self._client = asking.keep(Client, self._socket)
        self._others.append(asking)

    def close(self) -> None:
        """End it and what was started with follow(). Idempotent."""
        for process in (*self._others, self.process):
            if process.is_running:
                process.stop(timeout_s=STOP_TIMEOUT_S)

    # -- its command line

    def cli(self, *args: str) -> str:
        """`wirelet args`; what it said. Raises GuestError when it fails."""
        process = self._command(*args)
        if exit_code := process.wait():
            raise GuestError(f"wirelet {' '.join(args)} ended with {exit_code}\n{process.output}")
        return process.output

    def follow_log(self, pod: str) -> GuestProcess:
        """`wirelet logs -f`; ends with the gateway."""
        process = self._command("logs", "-f", pod)
        self._others.append(process)
        return process

    def _command(self, *args: str) -> GuestProcess:
        return self._guest.start_module("gateway", *args, env={"WIRELET_SOCKET": self._socket})

    def pod(self, name: str) -> dict[str, Any]:
        """Its row of `wirelet get pods -o json`, got in the same way without a new process for each look; empty when there is none yet."""
        return self._row("pods", name)

    def device(self, name: str) -> dict[str, Any]:
        return self._row("devices", name)

    def await_device_told(self, name: str, beginning: str) -> dict[str, Any]:
        """The device once its message begins so."""
        return self.await_that(lambda: self.device(name), lambda row: str(row.get("message", "")).startswith(beginning))

    def metrics(self) -> str:
        """What Prometheus would get."""
        return self._guest.call(read_metrics, self._socket)

    def delete_pod(self, name: str) -> None:
        """Remove its manifest."""
        self._guest.call(os.remove, f"{self.folder}/pods/{name}.yaml")

    def _row(self, kind: str, name: str) -> dict[str, Any]:
        try:
            return next((row for row in self._client.items(kind) if row["name"] == name), {})
        except ClientError as error:
            raise GuestError(f"{error}\n{self.process.output[-SHOWN_BYTES:]}") from error

    def await_pod(self, name: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The pod once it holds. Raises GuestError with the gateway's last lines."""
        return self.await_that(lambda: self.pod(name), holds)

    def await_device(self, name: str, state: str) -> dict[str, Any]:
        """The device once it is in this state."""
        return self.await_that(lambda: self.device(name), lambda row: row.get("state") == state)

    def await_that(self, look: Callable[[], dict[str, Any]], holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """What look sees once it holds."""
        deadline = time.monotonic() + WAIT_S
        while not holds(row := look()):
            if time.monotonic() > deadline or not self.process.is_running:
                raise GuestError(f"it is {row}\n{self.process.output[-SHOWN_BYTES:]}")
            time.sleep(LOOK_S)
        return row


def read_metrics(socket: str) -> str:
    """In the guest."""
    with Client(Path(socket))._answer("/metrics", WAIT_S) as answer:  # the command line has no use for it
        return answer.read().decode()


def counter(name: str, board: int | None = None, rate_hz: int = 20) -> dict[str, Any]:
    """A pod that counts aloud, so that a missing line is seen; for that board of serial_boards(), or for any."""
    container: dict[str, Any] = {"name": "main", "image": "counter", "args": ["--rate", str(rate_hz)]}
    if board is not None:
        container["resources"] = {"limits": {f"wirelet.dev/sim-{board}": "1"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}


def serial_boards(*paths: str) -> dict[str, Any]:
    """A configuration with a board at each of these serial ports: board-0 of class sim-0, board-1 of class sim-1."""
    classes = [{"name": f"sim-{number}", "slots": 2} for number, _ in enumerate(paths)]
    devices = [
        {"name": f"board-{number}", "class": f"sim-{number}", "link": {"serial": {"path": path}}} for number, path in enumerate(paths)
    ]
    return {"node": {"name": "desk"}, "classes": classes, "devices": devices}


def is_running(pod: Mapping[str, Any]) -> bool:
    """All its containers run, and their devices answer."""
    return pod.get("status") == "Running" and bool(pod["ready"] == len(pod["containers"]))


def assert_counted(log: str) -> None:
    """Every number of a counter once and in order."""
    numbers = counted(log)
    assert numbers == list(range(1, numbers[-1] + 1)), log


def counted(log: str) -> list[int]:
    return [int(line) for line in log.splitlines() if line.isdigit()]


def await_more(log: GuestProcess) -> None:
    """A second's more of a counter's log than it has."""
    log.wait_for(f"\n{counted(log.output)[-1] + 20}\n")

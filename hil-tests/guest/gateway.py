"""`wirelet run --standalone` in the guest, as a person would start it there, with its files in the guest's memory."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from guest.inside import await_listener, write_files
from guest.machine import Guest
from guest.process import GuestError, GuestProcess

from gateway.cli.client import Client

WAIT_S: Final = 60.0
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
        self.process: GuestProcess
        self._client: Client
        self._others: list[GuestProcess] = []

    def start(self) -> None:
        """Returns when its socket answers."""
        argv = ("gateway", "run", "--standalone", "--config", f"{self.folder}/gateway.yaml", "--manifests", f"{self.folder}/pods")
        self.process = self._guest.start_module(*argv, user=self._user, groups=self._groups)
        try:
            self._guest.call(await_listener, self._socket)
        except TimeoutError as late:
            raise GuestError(self.process.output) from late
        asking = self._guest.start_calls()
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

    def _row(self, kind: str, name: str) -> dict[str, Any]:
        return next((row for row in self._client.items(kind) if row["name"] == name), {})

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
                raise GuestError(f"it is {row}\n{self.process.output[-4000:]}")
            time.sleep(LOOK_S)
        return row


def counter(name: str, rate_hz: int = 20) -> dict[str, Any]:
    """A pod that counts aloud, so that a missing line is seen."""
    container = {"name": "main", "image": "counter", "args": ["--rate", str(rate_hz)]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}

"""Wirelet's own processes, as a person would start them: simulated boards behind ptys, and a gateway with its configuration."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from processes import Process, Reaper

from gateway.tests.exposition_parser import Scrape, parse

WIRELET: Final = (sys.executable, "-m", "gateway")
CLI_TIMEOUT_S: Final = 30.0


class Simulator:
    """`wirelet simulate` with boards behind stable links. The boards live on while their cable is pulled."""

    def __init__(self, folder: Path, reaper: Reaper, links: Sequence[Path], *options: str) -> None:
        """One link, or several that differ by their number from 0: PATH-0, PATH-1. options are those of `wirelet simulate`."""
        self.links = list(links)
        where = str(links[0]) if len(links) == 1 else f"{str(links[0]).removesuffix('0')}%d"
        argv = [*WIRELET, "simulate", "--count", str(len(links)), "--link", where, *options]
        self.process = Process("boards", argv, folder / "boards.log", reaper, has_stdin=True)

    def start(self) -> None:
        """Returns when every board's link is there."""
        self.process.start()
        self._wait_for_links()

    def unplug(self, number: int = 0) -> None:
        """The pty's master is closed and the link vanishes."""
        self.process.tell(f"unplug {number}")
        self.process.wait_for(lambda: not self.links[number].exists(), "the link to vanish")

    def plug(self, number: int = 0) -> None:
        self.process.tell(f"plug {number}")
        self.process.wait_for(self.links[number].exists, "the link to come back")

    def reset(self, number: int = 0) -> None:
        """A power cycle: what the board held in RAM is gone."""
        self.process.tell(f"reset {number}")

    def kill(self) -> None:
        """SIGKILL: every board dies without a word; the links dangle."""
        self.process.stop(signal.SIGKILL)

    def stop(self) -> None:
        self.process.stop()

    def _wait_for_links(self) -> None:
        self.process.wait_for(lambda: all(link.exists() for link in self.links), "the boards to be ready")


class Gateway:
    """`wirelet run` with its files in folder. It may be killed and started again; the files stay."""

    def __init__(
        self,
        folder: Path,
        reaper: Reaper,
        configuration: Mapping[str, Any],
        *options: str,
        program: Sequence[str] = WIRELET,
        wrapper: Sequence[str] = (),
    ) -> None:
        """options are further ones of `wirelet run`, for example "--standalone", "--manifests", DIR. program: another `wirelet`;
        wrapper: a program that runs it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.configuration = {
            "apiVersion": "wirelet.dev/v1alpha1",
            "kind": "GatewayConfiguration",
            "runtimeDirectory": str(folder / "run"),
            "stateDirectory": str(folder / "state"),
            **configuration,
        }
        self.config_file = folder / "gateway.yaml"
        self.config_file.write_text(json.dumps(self.configuration, indent=2))  # JSON is YAML
        self.socket = folder / "run" / "wirelet.sock"  # short: a socket has 107 bytes for its path
        argv = [*wrapper, *program, "run", "--config", str(self.config_file), *options]
        self.process = Process("gateway", argv, folder / "gateway.log", reaper)

    def start(self) -> None:
        """Returns when the local socket answers."""
        self.process.start()
        self.process.wait_for(self._is_answering, "the socket to answer")

    def stop(self) -> None:
        """SIGTERM, as systemd does."""
        self.process.stop()

    def kill(self) -> None:
        self.process.stop(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def cli(self, *args: str, check: bool = True) -> str:
        """`wirelet ARGS` against this gateway's socket; its stdout. With check, a failure raises CalledProcessError with its stderr."""
        return self.run_cli(*args, check=check).stdout

    def run_cli(self, *args: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*WIRELET, *args],
            env=self.cli_env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CLI_TIMEOUT_S,
            check=check,
        )

    def metrics(self) -> Scrape:
        """What `/metrics` says on the local socket."""
        with contextlib.closing(_LocalConnection(self.socket)) as connection:
            connection.request("GET", "/metrics")
            return parse(connection.getresponse().read().decode())

    def pods(self) -> list[dict[str, Any]]:
        """The pods with their statuses, as `/pods` on the local socket tells them."""
        with contextlib.closing(_LocalConnection(self.socket)) as connection:
            connection.request("GET", "/pods")
            return list(json.loads(connection.getresponse().read())["items"])

    @property
    def cli_env(self) -> dict[str, str]:
        return {**os.environ, "WIRELET_SOCKET": str(self.socket)}

    def log(self) -> str:
        return self.process.log.read_text(errors="replace")

    def _is_answering(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self.socket))
            except OSError:
                return False
        return True


class _LocalConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("wirelet", timeout=CLI_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(CLI_TIMEOUT_S)
        self.sock.connect(str(self._path))


def device(name: str, class_name: str, link: Path, baud: int = 115200) -> dict[str, Any]:
    """A device of the configuration behind a serial port."""
    return {"name": name, "class": class_name, "link": {"serial": {"path": str(link), "baud": baud}}}

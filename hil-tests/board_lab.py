"""A gateway without a cluster and simulated boards that talk; the pods are files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from gateways import WIRELET, Gateway, device
from pod_lab import terminated
from workbench import Workbench

WAIT_S = 20.0


class BoardDesk:
    """`wirelet run --standalone`: one board, board-a. options are those of `wirelet simulate`, or link is somebody else's port."""

    def __init__(
        self, workbench: Workbench, folder: Path, *options: str, link: Path | None = None, baud: int = 921600, slots: int = 4
    ) -> None:
        self._pods = folder / "pods"
        self._pods.mkdir()
        if link is None:
            self.boards = workbench.boards(1, "--id", "a", "--slots", str(slots), *options)
            link = self.boards.links[0]
        configuration = {
            "node": {"name": "desk"},
            "classes": [{"name": "board", "shared": True, "slots": slots}],
            "devices": [device("board-a", "board", link, baud)],
        }
        self.gateway: Gateway = workbench.gateway(configuration, "--standalone", "--manifests", str(self._pods))
        self.wait(lambda: self.row()["state"] == "Ready", "the board to answer")

    def put(self, name: str, image: str, *args: str, awaiting: str = "Running", **container: Any) -> None:
        """A pod that runs once; returns when it has that status."""
        spec = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "containers": [{"name": "main", "image": image, "args": list(args), **container}],
        }
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        (self._pods / f"{name}.yaml").write_text(json.dumps(manifest))
        self.wait_for(name, awaiting)

    def wait_for(self, name: str, status: str) -> None:
        def is_so() -> bool:
            return any(name in line.split() and status in line for line in self.gateway.cli("get", "pods").splitlines())

        self.wait(is_so, f"pod {name} {status}")

    def log(self, name: str) -> str:
        """Empty while there is none."""
        return self.gateway.cli("logs", name, check=False)

    def end_of(self, name: str) -> dict[str, Any]:
        """How its container ended."""
        (found,) = [pod for pod in self.gateway.pods() if pod["metadata"]["name"].startswith(name)]
        return terminated(found)

    def row(self) -> dict[str, Any]:
        return dict(json.loads(self.gateway.cli("get", "devices", "-o", "json"))["items"][0])

    def ran(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """`wirelet WORDS`, with what is piped to it."""
        return subprocess.run([*WIRELET, *words], env=self.gateway.cli_env, input=stdin, capture_output=True, timeout=90, check=False)

    def begun(self, *words: str) -> subprocess.Popen[bytes]:
        """The same, still running."""
        return subprocess.Popen([*WIRELET, *words], env=self.gateway.cli_env, stdin=-1, stdout=-1, stderr=-1)

    def wait(self, met: Any, what: str) -> None:
        self.gateway.process.wait_for(lambda: bool(met()), what, timeout_s=WAIT_S)


def outcome(popen: subprocess.Popen[bytes]) -> tuple[int, bytes, bytes]:
    """Its exit code and what it still said, which is little, once it has ended by itself."""
    assert popen.stdout is not None
    assert popen.stderr is not None
    code = popen.wait(30)  # its input stays open meanwhile
    return code, popen.stdout.read(), popen.stderr.read()

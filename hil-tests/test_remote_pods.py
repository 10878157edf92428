"""A pod on a board behind another machine's port: a real ser2net stands between, and when it dies that is a pulled cable."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from processes import Reaper
from ser2net import Accepter, Ser2net
from workbench import Workbench

COUNTER: Final = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "counter"},
    "spec": {"containers": [{"name": "main", "image": "counter", "args": ["--rate", "20"]}]},
}
WAIT_S: Final = 60.0


class Desk:
    """One board, ser2net in front of it, and a gateway that runs a counter on it."""

    def __init__(self, workbench: Workbench, reaper: Reaper, kind: str, accepter: Accepter) -> None:
        board = workbench.boards(1, "--slots", "4")
        self.server = Ser2net(workbench.folder / "ser2net", reaper, board.links[0], accepter)
        self.server.start()
        pods = workbench.folder / "pods"
        pods.mkdir()
        (pods / "counter.yaml").write_text(json.dumps(COUNTER))
        self.gateway = workbench.gateway(
            {
                "node": {"name": "desk"},
                "classes": [{"name": "sim", "slots": 4, "shared": True}],
                "devices": [{"name": "far", "class": "sim", "link": {kind: {"host": "127.0.0.1", "port": self.server.port}}}],
            },
            "--standalone",
            "--manifests",
            str(pods),
        )

    def wait(self, met: Callable[[], Any], what: str) -> None:
        self.gateway.process.wait_for(lambda: bool(met()), what, timeout_s=WAIT_S)

    def pod(self) -> dict[str, Any]:
        pods = json.loads(self.gateway.cli("get", "pods", "-o", "json"))["items"]
        return next((dict(pod) for pod in pods if pod["name"] == "counter"), {})

    def device(self) -> dict[str, Any]:
        (row,) = json.loads(self.gateway.cli("get", "devices", "-o", "json"))["items"]
        return dict(row)

    def is_ready(self) -> bool:
        return self.pod().get("ready") == 1 and self.device()["state"] == "Ready"

    def numbers(self) -> list[int]:
        """What the pod's log says; anything else in it fails."""
        lines = self.gateway.run_cli("logs", "counter").stdout.splitlines()
        assert all(re.fullmatch(r"\d+", line) for line in lines), lines
        return [int(line) for line in lines]


@pytest.fixture
def reaper() -> Any:
    reaper = Reaper()
    yield reaper
    reaper.close()


@pytest.mark.parametrize(("kind", "accepter"), [("rfc2217", "telnet(rfc2217)"), ("socket", "tcp")])
@pytest.mark.timeout(240)
def test_same_pod_and_log_after_the_server_was_killed(
    kind: str, accepter: Accepter, workbench: Workbench, reaper: Reaper, need: Callable[[str], None]
) -> None:
    need("ser2net")
    desk = Desk(workbench, reaper, kind, accepter)
    try:
        desk.wait(desk.is_ready, "the pod to run")
        desk.wait(lambda: len(desk.numbers()) >= 10, "its log")
        before = desk.pod()

        desk.server.kill()
        desk.wait(lambda: desk.pod()["ready"] == 0 and desk.device()["state"] == "Disconnected", "the server's death to be told")
        message = desk.device()["message"]
        assert message.startswith(f"{kind}://127.0.0.1:{desk.server.port}: nobody listens there"), message
        seen = len(desk.numbers())

        desk.server.start()
        desk.wait(desk.is_ready, "the pod to be ready again")
        desk.wait(lambda: len(desk.numbers()) > seen + 10, "its log to go on")
        numbers = desk.numbers()
        assert numbers == list(range(1, len(numbers) + 1))
        after = desk.pod()
        assert (after["restarts"], after["createdAt"]) == (0, before["createdAt"])
    finally:
        desk.server.stop()

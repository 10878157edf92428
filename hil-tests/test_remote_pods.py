"""A pod on a board behind another machine's port: a real ser2net stands between, and when it dies that is a pulled cable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from control_plane import ControlPlane
from lab import Lab, assert_counted, condition, container
from processes import Reaper
from ser2net import Accepter, Ser2net
from workbench import Workbench

ACCEPTERS: Final[dict[str, Accepter]] = {"rfc2217": "telnet(rfc2217)", "socket": "tcp"}


class RemoteLab(Lab):
    """A lab whose one board is reached through a server. kind is the link's."""

    def __init__(self, control_plane: ControlPlane, workbench: Workbench, namespace: str, kind: str) -> None:
        super().__init__(control_plane, workbench, namespace)
        self._kind = kind
        self._folder = workbench.folder
        self._reaper = Reaper()
        self.server: Ser2net

    def configuration(self, **changes: Any) -> dict[str, Any]:
        self.server = Ser2net(self._folder / "ser2net", self._reaper, self.boards.links[0], ACCEPTERS[self._kind])
        self.server.start()
        link = {self._kind: {"host": "127.0.0.1", "port": self.server.port}}
        return super().configuration(**changes) | {"devices": [{"name": "far", "class": self.class_name, "link": link}]}

    def close(self) -> None:
        super().close()
        self.server.stop()
        self._reaper.close()


@pytest.fixture(params=ACCEPTERS)
def lab(
    request: pytest.FixtureRequest, control_plane: ControlPlane, workbench: Workbench, namespace: str, need: Callable[[str], None]
) -> Iterator[RemoteLab]:
    need("ser2net")
    made = RemoteLab(control_plane, workbench, namespace, request.param)
    yield made
    made.close()
    assert made.refused_requests() == []


def test_same_pod_and_log_after_its_server_was_killed(lab: RemoteLab) -> None:
    lab.set_up()
    lab.run("counter", "counter", "--rate", "100")
    before = lab.wait_for_ready("counter")
    follower = lab.follow("counter")
    follower.wait_for_lines(50)

    lab.server.kill()
    away = lab.wait_for_ready("counter", "False")
    assert "running" in container(away)["state"]
    assert condition(away, "Ready")["reason"] == "DeviceDisconnected"
    node = lab.wait_for_node(lambda node: condition(node, "DeviceProblem").get("status") == "True")
    assert "nobody listens there" in condition(node, "DeviceProblem")["message"]
    seen = len(follower.lines)

    lab.server.start()
    lab.wait_for_ready("counter")
    assert_counted(follower.wait_for_lines(seen + 100), first=1)
    after = lab.wait_for_ready("counter")
    assert container(after)["containerID"] == container(before)["containerID"]
    assert container(after)["state"] == container(before)["state"]
    assert container(after)["restartCount"] == 0

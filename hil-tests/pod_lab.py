"""One lab that serves many tests about pods: boards for everybody, boards that a pod has for itself, and one gateway before them.

Starting a gateway and its boards takes seconds, and most rules need nothing of their own. Each test has a namespace of its own and leaves
no pod; a test that kills the gateway or pulls a cable puts it right again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from control_plane import ControlPlane
from gateways import device
from lab import Lab, condition, container
from workbench import Workbench

SHARED: Final = ("board-0", "board-1")
SHARED_SLOTS: Final = 8
OWN: Final = ("rig-2", "rig-3", "rig-4")
"""One slot each, for pods that request it. The number is the board's at the simulator."""

GRACE: Final = "2s"
"""Of the class of those."""
ENDING: Final = "because it is being terminated"


class PodLab(Lab):
    """set_up() takes nothing: the boards are those above."""

    def set_up(self, **changes: Any) -> None:
        self.boards = self._workbench.boards(len(SHARED) + len(OWN), "--slots", str(SHARED_SLOTS))
        links = self.boards.links
        configuration = self.configuration(boards=len(SHARED), slots=SHARED_SLOTS, shared=True, **changes)
        configuration["classes"].append({"name": self.own_class, "slots": 1, "grace": GRACE})
        configuration["devices"] += [device(name, self.own_class, links[len(SHARED) + number]) for number, name in enumerate(OWN)]
        self.gateway = self._workbench.gateway(configuration, wait=False)
        self.wait_until_offered()

    def wait_until_offered(self) -> None:
        """Every slot of every board is allocatable."""
        expected = {self.resource: str(len(SHARED) * SHARED_SLOTS), self.own_resource: str(len(OWN))}
        self.wait_for_node(lambda node: expected.items() <= node["status"]["allocatable"].items())

    @property
    def own_class(self) -> str:
        return self.node.replace("lab-", "rig-")

    @property
    def own_resource(self) -> str:
        return f"wirelet.dev/{self.own_class}"

    def own(self, **more: Any) -> dict[str, Any]:
        """The fields of a container that has a board for itself."""
        return {"resources": {"limits": {self.own_resource: 1}}, **more}

    def number_of(self, name: str) -> int:
        """The simulator's number of a board."""
        return int(name.rpartition("-")[2])

    def refused_requests(self) -> list[tuple[str, str]]:
        """As for every lab, but for events in a namespace on its way out: nobody may make them, and nobody can know it before."""
        events = self.control_plane.audit_events(f"system:node:{self.node}")
        answers = [(event, event.get("responseStatus", {})) for event in events]
        refused = [event for event, answer in answers if answer.get("code") == 403 and ENDING not in answer.get("message", "")]
        return [(event["verb"], event["requestURI"]) for event in refused]

    def clear(self) -> None:
        """No pod is left in the test's namespace."""
        self.kubectl("delete", "deployments,replicasets,daemonsets,pods", "--all", "--wait=false", "--grace-period=1")
        self.wait(lambda: not self.pods(), "the namespace to be empty", timeout_s=60)


@pytest.fixture(scope="module")
def pod_lab(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodLab]:
    """One for all tests of a file. In the end the API server has refused the gateway nothing."""
    table = Workbench(tmp_path_factory.mktemp("lab"))
    made = PodLab(control_plane, table, "default")
    try:
        made.set_up()
        yield made
        assert made.refused_requests() == []
    finally:
        made.close()
        table.clear()


@pytest.fixture
def lab(pod_lab: PodLab, namespace: str) -> Iterator[PodLab]:
    """The lab, for one test."""
    pod_lab.namespace = namespace
    yield pod_lab
    pod_lab.clear()


def is_running(pod: dict[str, Any], name: str = "main") -> bool:
    return "running" in container(pod, name).get("state", {})


def is_ready(pod: dict[str, Any]) -> bool:
    return condition(pod, "Ready").get("status") == "True"


def terminated(pod: dict[str, Any], name: str = "main") -> dict[str, Any]:
    """How the container ended, or {}."""
    return dict(container(pod, name).get("state", {}).get("terminated", {}))

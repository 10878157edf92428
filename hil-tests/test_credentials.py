"""The node's certificate runs out under a gateway that works."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from lab import Lab, container
from workbench import Workbench

LIFETIME: Final = timedelta(seconds=20)
"""Enough for a start on a busy machine; then the API server answers 401 to whatever the node asks."""


def test_a_certificate_that_ran_out_is_read_again_and_pods_go_on(lab: Lab, workbench: Workbench) -> None:
    lab.boards = workbench.boards(1, "--slots", "4")
    configuration = lab.configuration(boards=1, slots=4, shared=True)
    lab.control_plane.node_identity(lab.node, LIFETIME)
    lab.gateway = workbench.gateway(configuration, wait=False)
    lab.run("early", "counter", nodeName=lab.node)
    before = container(lab.wait_for_ready("early"))
    lab.control_plane.node_identity(lab.node)

    lab.wait(lambda: "API server does not know us; reading the credentials again" in lab.gateway.log(), "the first 401")
    lab.run("late", "hello", nodeName=lab.node)
    lab.wait_for_ready("late")
    after = container(lab.wait_for_ready("early"))
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], before["restartCount"])
    assert lab.kubectl("logs", "late").startswith("hello")
    assert "Traceback" not in lab.gateway.log()

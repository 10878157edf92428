"""A board that restarts five times a second: its node and its pod say so, and neither etcd nor the gateway's log fills up with it."""

from __future__ import annotations

import re
import time
from typing import Any, Final

from lab import Lab, condition, container

RATE_HZ: Final = 5
LOOP_S: Final = 10.0


def writes(lab: Lab) -> list[dict[str, Any]]:
    """What the gateway wrote to etcd so far, without its lease."""
    events = lab.control_plane.audit_events(f"system:node:{lab.node}")
    changing = [event for event in events if event["verb"] in ("create", "update", "patch", "delete")]
    return [event for event in changing if event["objectRef"]["resource"] not in ("leases", "tokenreviews", "subjectaccessreviews")]


def first_end(pod: dict[str, Any]) -> dict[str, Any]:
    told = container(pod)
    ended: dict[str, Any] = told["state"].get("terminated") or told["lastState"]["terminated"]
    return ended


def test_a_boot_loop_is_told_and_floods_nothing(lab: Lab) -> None:
    lab.set_up(boards=2)
    lab.run("counter", "counter", "--rate", "50", metadata={"annotations": {"wirelet.dev/device": "board-0"}})
    lab.run("calm", "counter", "--rate", "50", metadata={"annotations": {"wirelet.dev/device": "board-1"}})
    lab.wait_for_ready("counter")
    calm = lab.wait_for_ready("calm")
    lab.wait(lambda: {"Started"} <= set(lab.event_reasons("calm")), "the events of the start")
    before, lines_before = len(writes(lab)), len(lab.gateway.log().splitlines())

    lab.boards.reset(0)
    # Read before the back-off ends: a later attempt may be cut before the device confirms it, and then nobody knows that it ran.
    looping = lab.wait_for_pod("counter", lambda pod: container(pod).get("restartCount", 0) >= 1 or "terminated" in container(pod)["state"])
    assert first_end(looping)["reason"] == "DeviceRebooted"
    for _ in range(int(LOOP_S * RATE_HZ) - 1):
        lab.boards.reset(0)
        time.sleep(1 / RATE_HZ)
    node = lab.wait_for_node(lambda node: "again and again" in condition(node, "DeviceProblem").get("message", ""))
    assert condition(node, "DeviceProblem")["message"].startswith("board-0: ")
    assert node["status"]["allocatable"][lab.resource] == "4"  # of 8: nothing new is sent to it

    described = lab.control_plane.kubectl("describe", "node", lab.node)
    assert re.search(r"Warning +DeviceRestarting .* Device board-0 restarts", described), described

    made = writes(lab)[before:]
    assert len([event for event in made if event["objectRef"]["resource"] == "nodes"]) <= 3, made
    assert len(made) < 2 * LOOP_S, made
    new_lines = lab.gateway.log().splitlines()[lines_before:]
    assert len(new_lines) < 2 * LOOP_S, new_lines
    assert sum("restarts in a loop" in line for line in new_lines) == 1

    assert container(lab.wait_for_ready("calm")) == container(calm)
    lab.wait_for_pod("counter", lambda pod: container(pod).get("restartCount", 0) >= 1)

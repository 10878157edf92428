"""A node looks at its own machine: what is in the way of its boards is a condition and an event, until it is mended."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from typing import Any

from gateways import WIRELET
from lab import Lab, condition
from processes import Process
from workbench import Workbench


def wait_for_problem(lab: Lab, met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    return condition(lab.wait_for_node(lambda node: met(condition(node, "HostProblem"))), "HostProblem")


def node_events(lab: Lab) -> list[dict[str, Any]]:
    _, found = lab.control_plane.request("GET", f"/api/v1/namespaces/default/events?fieldSelector=involvedObject.name={lab.node}")
    return [event for event in found["items"] if event["reason"] in ("PortHeld", "XonXoff")]


def node_writes(lab: Lab) -> int:
    events = lab.control_plane.audit_events(f"system:node:{lab.node}")
    return sum(event["verb"] == "patch" and event["objectRef"]["resource"] == "nodes" for event in events)


def opener_of(workbench: Workbench, path: str) -> Process:
    opener = workbench.process("opener", ["sh", "-c", f"exec 3<>{path}; echo has it; exec sleep 1000"])
    opener.wait_for(lambda: "has it" in opener.log_tail(), "the other program")
    return opener


def test_what_is_in_the_way_is_told_once_and_taken_back(lab: Lab, workbench: Workbench) -> None:
    lab.set_up(boards=2, doctor={"every": "1s"})
    in_order = wait_for_problem(lab, lambda told: told.get("status") == "False")
    assert in_order["reason"] == "HostInOrder"
    before = node_writes(lab)

    opener = opener_of(workbench, str(lab.boards.links[1]))
    held = wait_for_problem(lab, lambda told: told["status"] == "True")
    assert held["reason"] == "PortHeld"
    assert held["message"] == f"board-1: its port is open in process {opener.pid} (sleep); end it: kill {opener.pid}"

    subprocess.run(["stty", "-F", lab.boards.links[0], "ixoff"], check=True)  # which a calm board does not feel
    both = wait_for_problem(lab, lambda told: "XON/XOFF" in told["message"])
    assert both["message"].startswith(held["message"])
    assert "run `wirelet doctor` there" in both["message"]
    assert not re.search(r"/dev/|tty[A-Z]", both["message"])

    subprocess.run(["sh", "-c", held["message"].rpartition("end it: ")[2]], check=True)
    wait_for_problem(lab, lambda told: told["reason"] == "XonXoff")
    mend_as_doctor_says(lab)
    assert wait_for_problem(lab, lambda told: told["status"] == "False") == {**in_order, **times_of(lab)}

    reasons = {event["reason"]: (event["type"], event.get("count"), event["message"]) for event in node_events(lab)}
    assert reasons["PortHeld"] == ("Warning", 1, held["message"])
    assert reasons["XonXoff"][:2] == ("Warning", 1)
    assert re.search(rf"Warning +PortHeld .* {re.escape(held['message'])}", lab.control_plane.kubectl("describe", "node", lab.node))
    assert node_writes(lab) - before == 4  # one for each change, however often it was looked


def mend_as_doctor_says(lab: Lab) -> None:
    argv = [*WIRELET, "doctor", "--config", str(lab.gateway.config_file)]
    ran = subprocess.run(argv, env=lab.gateway.cli_env, capture_output=True, text=True, timeout=60, check=False)
    (finding,) = [line for line in ran.stderr.splitlines() if "XON/XOFF" in line]
    subprocess.run(shlex.split(finding.rpartition("turn it off: ")[2]), check=True)


def times_of(lab: Lab) -> dict[str, Any]:
    told = condition(lab.node_object() or {}, "HostProblem")
    return {key: told[key] for key in ("lastHeartbeatTime", "lastTransitionTime")}


def test_a_board_that_is_lent_is_its_borrower_s(lab: Lab, workbench: Workbench) -> None:
    lab.set_up(boards=2, doctor={"every": "1s"})
    argv = [*WIRELET, "lend", "--socket", str(lab.gateway.socket), "board-0", "--", "sh", "-c", "exec 3<>$WIRELET_PORT; exec sleep 1000"]
    borrower = workbench.process("borrower", argv)
    lab.wait_for_node(lambda node: "lent to" in condition(node, "DeviceProblem")["message"])
    opener = opener_of(workbench, str(lab.boards.links[1]))  # a look that finds this one has passed the other over
    wait_for_problem(lab, lambda told: told.get("status") == "True")
    held = wait_for_problem(lab, lambda told: told["message"].startswith("board-1: "))
    assert "board-0" not in held["message"]
    opener.stop()
    borrower.stop()

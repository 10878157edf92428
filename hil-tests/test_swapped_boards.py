"""Who answers on a port, as the cluster is told: another board is named, and no object of the API names a tty."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gateways import Simulator, device
from lab import Lab, condition, container, waiting_reason
from workbench import Workbench

from transports.simulated.board import BoardConfig

ANNOTATED: Final = "wirelet.dev/device"
ABSENT: Final = "/dev/ttyUSB77"
NODE_NAMES: Final = re.compile(r"/dev/(?!termination-log)|ttyUSB|ttyACM|ttyS\d|ttyAMA|/pts/")


def set_up(lab: Lab, workbench: Workbench, port: Path, *more: Mapping[str, Any], **changes: Any) -> None:
    """One board behind port, which leads to where a test plugs it in."""
    lab.boards = workbench.boards(1, "--slots", "4", "--id", "first")
    port.symlink_to(lab.boards.links[0])
    devices: Sequence[Mapping[str, Any]] = [{**device("board-0", lab.class_name, port), **changes}, *more]
    lab.gateway = workbench.gateway(lab.configuration(boards=0, slots=4, shared=True, devices=devices), wait=False)
    lab.wait_for_node(lambda node: node["status"]["allocatable"].get(lab.resource) == "4")


def swap(lab: Lab, workbench: Workbench, port: Path) -> Simulator:
    """The first board's cable is pulled, and that of another one is plugged in there."""
    other = workbench.boards(1, "--slots", "4", "--id", "second")
    lab.boards.unplug(0)
    port.unlink()
    port.symlink_to(other.links[0])
    return other


def node_events(lab: Lab) -> list[tuple[str, str]]:
    _, found = lab.control_plane.request("GET", "/api/v1/events")
    return [(event["reason"], event["message"]) for event in found["items"] if event["involvedObject"]["name"] == lab.node]


def test_another_board_on_the_port_is_told_and_its_pods_run_on_it_anew(lab: Lab, workbench: Workbench, tmp_path: Path) -> None:
    port = tmp_path / "port"
    set_up(lab, workbench, port)
    lab.run("counter", "counter", "--rate", "20")
    lab.wait_for_ready("counter")
    first = device_id(lab)
    swap(lab, workbench, port)
    again = lab.wait_for_pod("counter", lambda pod: container(pod).get("restartCount") == 1 and "running" in container(pod)["state"])
    ended = container(again)["lastState"]["terminated"]
    second = device_id(lab)
    assert first != second
    assert (ended["reason"], ended["message"]) == ("ContainerStatusUnknown", f"another board, {second}, answers on the device now")
    told = ("DeviceSwapped", f"Device board-0: board {second} answers instead of {first}")
    lab.wait(lambda: told in node_events(lab), "the Node's event")


def test_another_board_than_the_configured_one_gets_nothing(lab: Lab, workbench: Workbench, tmp_path: Path) -> None:
    port = tmp_path / "port"
    set_up(lab, workbench, port, deviceId=hex_id("first"))
    lab.run("counter", "counter", "--rate", "20")
    before = lab.wait_for_ready("counter")
    other = swap(lab, workbench, port)
    lab.wait(lambda: any(reason == "DeviceSwapped" for reason, _ in node_events(lab)), "the Node's event")
    node = lab.wait_for_node(lambda node: "answers instead of" in condition(node, "DeviceProblem").get("message", ""))
    assert hex_id("second") in condition(node, "DeviceProblem")["message"]
    lab.run("late", "counter", metadata={"annotations": {ANNOTATED: "board-0"}})
    lab.wait_for_pod("late", lambda pod: waiting_reason(pod) == "DeviceDisconnected")
    after = lab.pod("counter")
    assert after is not None
    assert container(after)["containerID"] == container(before)["containerID"], "it runs on, on the board that is elsewhere"
    other.unplug(0)
    port.unlink()
    lab.boards.plug(0)
    port.symlink_to(lab.boards.links[0])
    back = lab.wait_for_ready("counter")
    assert container(back)["restartCount"] == 0
    lab.wait_for_ready("late")


def test_no_object_of_the_api_names_a_tty(lab: Lab, workbench: Workbench, tmp_path: Path) -> None:
    """Every object is looked at as it is written: when boards come, when cables go, when a start must wait, when a board is another one."""
    (tmp_path / "dev").mkdir()
    port = tmp_path / "dev" / "ttyACM9"
    absent = {"name": "absent", "class": lab.class_name, "link": {"serial": {"path": ABSENT}}}
    by_serial = {"name": "by-serial", "class": lab.class_name, "link": {"serial": {"match": {"usbSerial": "NOWHERE1"}}}}
    set_up(lab, workbench, port, absent, by_serial)
    looks = Looks(lab)
    lab.run("counter", "counter", "--rate", "20", metadata={"annotations": {ANNOTATED: "board-0"}})
    lab.wait_for_ready("counter")
    for name in ("absent", "by-serial"):
        lab.run(f"on-{name}", "counter", metadata={"annotations": {ANNOTATED: name}})
        lab.wait_for_pod(f"on-{name}", lambda pod: waiting_reason(pod) == "DeviceDisconnected")
    looks.look()
    lab.boards.unplug(0)
    lab.wait_for_ready("counter", "False")
    lab.wait_for_node(lambda node: "board-0" in condition(node, "DeviceProblem").get("message", ""))
    looks.look()
    lab.boards.plug(0)
    lab.wait_for_ready("counter")
    swap(lab, workbench, port)
    lab.wait_for_pod("counter", lambda pod: container(pod).get("restartCount") == 1)
    lab.wait(lambda: any(reason == "DeviceSwapped" for reason, _ in node_events(lab)), "the Node's event")
    looks.look()
    assert looks.told >= {"absent", "by-serial", "board-0"}, "the devices' troubles stand in what was looked at"


class Looks:
    """Reads every object that the gateway writes."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.told: set[str] = set()

    def look(self) -> None:
        node = self._lab.node_object()
        assert node is not None
        _, events = self._lab.control_plane.request("GET", "/api/v1/events")
        names = {self._lab.node, *(pod["metadata"]["name"] for pod in self._lab.pods())}
        ours = [event for event in events["items"] if event["involvedObject"]["name"] in names]
        for written in (node, self._lab.lease(), *self._lab.pods(), *ours):
            text = json.dumps(written)
            assert not NODE_NAMES.search(text), text
            self.told |= {name for name in ("absent", "by-serial", "board-0") if name in text}


def device_id(lab: Lab) -> str:
    """Of the board that answers, from the gateway's own table."""
    (row,) = json.loads(lab.gateway.cli("get", "devices", "board-0", "-o", "json"))["items"]
    return str(row["deviceId"])


def hex_id(board: str) -> str:
    """What `wirelet simulate --id` makes of a name."""
    return BoardConfig(id=board).device_id.hex()

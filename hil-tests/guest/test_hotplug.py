"""Boards that are found by what they are, on real kernel drivers and real udev, while their pods run."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
import yaml
from guest.gateway import Gateway, assert_counted, await_more, counter, is_running
from guest.inside import OpenWatch
from guest.machine import Guest
from guest.stand import Stand

FTDI = "0403:6001"
pytestmark = pytest.mark.timeout(400)
"""The first test of a run boots the guest, and each starts a gateway or two in it."""


def test_same_pod_and_log_when_the_adapter_is_plugged_in_another_port(stand: Stand) -> None:
    adapter = stand.usb_serial("W0101")
    stand.board(adapter.socket, "board-a")
    first_node = adapter.await_plugged()
    gateway = stand.gateway(configuration({"usbSerial": "W0101"}), counter("counter"))
    before = gateway.await_pod("counter", is_running)
    place = gateway.device("board-0")["port"]
    log = gateway.follow_log("counter")
    log.wait_for("\n20\n")

    adapter.unplug()
    adapter.await_unplugged()
    gateway.await_that(lambda: gateway.device("board-0"), lambda row: row["message"].startswith("no port with usbSerial W0101; "))
    other = stand.usb_serial("W0102")  # takes its node's name, so that the board gets another
    stand.board(other.socket, "board-b")
    other.await_plugged()
    adapter.plug(port="7")
    second_node = adapter.await_plugged()
    after = gateway.await_pod("counter", is_running)
    await_more(log)

    assert second_node != first_node
    assert gateway.device("board-0")["port"] == place, "by its serial number it is the same"
    assert (after["uid"], after["restarts"]) == (before["uid"], before["restarts"])
    assert_counted(log.output)


def test_two_adapters_without_serials_are_told_apart_by_their_ports(stand: Stand) -> None:
    left, right = stand.usb_serial(None, port="5"), stand.usb_serial(None, port="6")
    stand.board(left.socket, "left-board")
    stand.board(right.socket, "right-board")
    finder = stand.gateway({"node": {"name": "finder"}, "classes": [{"name": "sim", "slots": 2}], "devices": []})
    offered = await_offer(finder, 2)
    matches = [device["link"]["serial"]["match"] for device in offered["devices"]]
    assert all(match["vidPids"] == [FTDI] and "usbSerial" not in match for match in matches)
    assert len({match["port"] for match in matches}) == 2
    finder.close()

    gateway = stand.gateway(configuration(*matches))
    ids = {number: gateway.await_device(f"board-{number}", "Ready")["deviceId"] for number in (0, 1)}
    assert ids[0] != ids[1]
    # Both are pulled and come back the other way round: the kernel's names follow the order, the devices do not.
    for adapter in (left, right):
        adapter.unplug()
    for number in (0, 1):
        gateway.await_device(f"board-{number}", "Disconnected")
    for adapter, port in ((right, "6"), (left, "5")):
        adapter.plug(port=port)
    assert {number: gateway.await_device(f"board-{number}", "Ready")["deviceId"] for number in (0, 1)} == ids


def test_a_swapped_board_is_not_taken_for_the_one_that_the_serial_names(stand: Stand) -> None:
    adapter = stand.usb_serial("W0103")
    mine = stand.board(adapter.socket, "board-a")
    adapter.await_plugged()
    gateway = stand.gateway(configuration({"usbSerial": "W0103"}), counter("counter"))
    before = gateway.await_pod("counter", is_running)
    mine.unplug()
    adapter.await_unplugged()
    other = stand.board(adapter.socket, "board-b")
    row = gateway.await_device("board-0", "Swapped")
    assert f"answers instead of {row['deviceId']}" in row["message"]
    assert gateway.pod("counter")["restarts"] == before["restarts"]
    other.unplug()
    adapter.await_unplugged()
    mine.plug()
    after = gateway.await_pod("counter", is_running)
    assert (after["uid"], after["restarts"]) == (before["uid"], before["restarts"])


def test_a_native_usb_board_that_resets_is_a_reboot_and_no_unplug(stand: Stand) -> None:
    board = stand.acm_board("N0001", "native")
    gateway = stand.gateway(configuration({"usbSerial": "N0001"}), counter("counter"))
    before = gateway.await_pod("counter", is_running)
    boot, losses = gateway.device("board-0")["boot"], disconnections(gateway)
    board.reset()
    after = gateway.await_pod("counter", lambda pod: is_running(pod) and pod["restarts"] == 1)
    assert after["uid"] == before["uid"]
    assert gateway.device("board-0")["boot"] != boot
    assert disconnections(gateway) == losses


def test_a_port_that_no_device_uses_is_offered_and_never_opened(stand: Stand, guest: Guest) -> None:
    mine, unknown = stand.usb_serial("W0104"), stand.usb_serial("W0105")
    stand.board(mine.socket, "board-a")
    stand.board(unknown.socket, "board-b")
    mine.await_plugged()
    node = unknown.await_plugged()
    watching = guest.start_calls()
    opens = watching.keep(OpenWatch, node)
    gateway = stand.gateway(configuration({"usbSerial": "W0104"}))
    gateway.await_device("board-0", "Ready")
    offered = await_offer(gateway, 1)
    assert offered["devices"][0]["link"]["serial"]["match"] == {"usbSerial": "W0105"}
    assert node in gateway.cli("get", "devices", "--all")
    assert opens.count() == 0
    guest.call(os.stat, node)
    guest.run("sh", "-c", f": <{node}")
    assert opens.count() == 1, "an open would have been seen"
    watching.end_input()


def disconnections(gateway: Gateway) -> list[dict[str, Any]]:
    """Events that a device was not there; a pod that waits for the first session at the start has one."""
    events = json.loads(gateway.cli("get", "events", "-o", "json"))["items"]
    assert any(event["reason"] == "Started" for event in events)
    return [event for event in events if event["reason"] == "DeviceDisconnected"]


def configuration(*matches: dict[str, Any]) -> dict[str, Any]:
    devices = [{"name": f"board-{number}", "class": "sim", "link": {"serial": {"match": match}}} for number, match in enumerate(matches)]
    return {"node": {"name": "desk"}, "classes": [{"name": "sim", "slots": 2, "shared": True}], "devices": devices}


def await_offer(gateway: Gateway, count: int) -> Any:
    """What --all offers, once udev has settled so many USB ports."""

    def offer() -> dict[str, Any]:
        document = yaml.safe_load(gateway.cli("get", "devices", "--all", "-o", "yaml")) or {}
        usb = [each for each in document.get("devices") or () if "platform" not in each["link"]["serial"]["match"]]
        return {"devices": usb}

    return gateway.await_that(offer, lambda found: len(found["devices"]) == count)

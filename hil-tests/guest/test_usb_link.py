"""Wirelet's USB link on a real USB core, udev and libusb: pods over bulk endpoints, cables, stalls, rights, and the link contract."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from guest import usb_contract
from guest.bare_usb import BareUsb
from guest.gateway import assert_counted, await_more, counter, is_running
from guest.inside import OpenWatch, await_usb, write_files
from guest.machine import MACHINE, Guest
from guest.stand import Stand
from guest.test_hotplug import disconnections
from guest.usb_board import UsbBoard
from guest.usb_loop import driver_of, hub_port, loop_through_link
from guest.wirelet_usb import IN_ENDPOINT, OUT_ENDPOINT

ROOT: Final = Path(__file__).parents[2]
RULES: Final = "61-wirelet.rules"
VID_PID: Final = "1209:0001"
CONTRACT_TIMEOUT_S: Final = 240.0
"""A minute and a half on a quiet machine."""
Move = Callable[[UsbBoard], None]


def usb_boards(*matches: dict[str, Any]) -> dict[str, Any]:
    """A configuration with a board for each match: board-0, board-1."""
    devices = [{"name": f"board-{number}", "class": "native", "link": {"usb": {"match": match}}} for number, match in enumerate(matches)]
    return {"node": {"name": "desk"}, "classes": [{"name": "native", "slots": 2, "shared": True}], "devices": devices}


def reload_rules(guest: Guest) -> None:
    """udevd answers the ping after it has read them; a board that is plugged in before would get the old ones."""
    guest.run("udevadm", "control", "--reload")
    guest.run("udevadm", "control", "--ping")


# -- pods


@pytest.mark.parametrize(
    ("unplug", "plug"), [(UsbBoard.unplug, UsbBoard.plug), (UsbBoard.take_out, UsbBoard.put_in)], ids=["cable", "computer"]
)
def test_same_pod_and_log_after_replug(stand: Stand, unplug: Move, plug: Move) -> None:
    board = stand.usb_board("usb-a")
    first_node = board.await_plugged()
    gateway = stand.gateway(usb_boards({"usbSerial": board.serial}), counter("counter"))
    before = gateway.await_pod("counter", is_running)
    log = gateway.follow_log("counter")
    log.wait_for("\n20\n")

    unplug(board)
    board.await_unplugged()
    row = gateway.await_device("board-0", "Disconnected")
    assert any(words in row["message"] for words in ("unplugged", "the device is gone", f"no port with usbSerial {board.serial}"))
    plug(board)
    assert board.await_plugged() != first_node
    after = gateway.await_pod("counter", is_running)
    await_more(log)

    assert (after["uid"], after["restarts"]) == (before["uid"], before["restarts"])
    assert_counted(log.output)


def test_a_stall_costs_neither_session_nor_line(stand: Stand) -> None:
    board = stand.usb_board("usb-b")
    board.await_plugged()
    gateway = stand.gateway(usb_boards({"usbSerial": board.serial}), counter("counter"))
    gateway.await_pod("counter", is_running)
    boot, losses = gateway.device("board-0")["boot"], disconnections(gateway)
    log = gateway.follow_log("counter")
    log.wait_for("\n20\n")
    for endpoint in (IN_ENDPOINT, OUT_ENDPOINT):
        board.stall(endpoint)
        board.await_cleared(endpoint)
        await_more(log)
    assert_counted(log.output)
    assert gateway.device("board-0")["boot"] == boot
    assert disconnections(gateway) == losses


def test_a_chip_that_restarts_with_its_usb_is_a_reboot_and_no_unplug(stand: Stand) -> None:
    board = stand.usb_board("usb-c", re_enumerates=True)
    board.await_plugged()
    gateway = stand.gateway(usb_boards({"usbSerial": board.serial}), counter("counter"))
    before, losses = gateway.await_pod("counter", is_running), disconnections(gateway)
    board.reset()
    after = gateway.await_pod("counter", lambda pod: is_running(pod) and pod["restarts"] == 1)
    assert after["uid"] == before["uid"]
    assert disconnections(gateway) == losses


def test_two_boards_are_told_apart_by_their_ports_and_one_is_offered_but_not_opened_for_the_other(stand: Stand) -> None:
    boards = [stand.usb_board(name) for name in ("usb-d", "usb-e")]
    nodes = [board.await_plugged() for board in boards]
    ports = [stand.guest.call(hub_port, board.serial) for board in boards]
    opens = stand.calls().keep(OpenWatch, nodes[1])
    first = stand.gateway(usb_boards({"vidPids": [VID_PID], "port": ports[0]}))
    assert first.await_device("board-0", "Ready")["deviceId"] == boards[0].serial
    assert f'{{usb: {{match: {{usbSerial: "{boards[1].serial}"}}}}}}' in first.cli("get", "devices", "--all", "-o", "yaml")
    assert opens.count() == 0
    first.close()

    matches = [{"vidPids": [VID_PID], "port": port} for port in reversed(ports)]
    both = stand.gateway(usb_boards(*matches, {"vidPids": [VID_PID]}))
    ids = [both.await_device(f"board-{number}", "Ready")["deviceId"] for number in (0, 1)]
    assert ids == [boards[1].serial, boards[0].serial]
    assert both.device("board-2")["message"].startswith(f"2 ports have vidPids {VID_PID}; tell them apart by usbSerial or port;")


# -- who may have it


def test_a_gateway_that_is_not_root_needs_our_rules_and_their_group(stand: Stand, guest: Guest) -> None:
    guest.call(write_files, {f"/etc/udev/rules.d/{RULES}": (ROOT / "udev" / RULES).read_text()})
    reload_rules(guest)
    try:
        board = stand.usb_board("usb-f")
        board.await_plugged()
        member = stand.gateway(usb_boards({"usbSerial": board.serial}), user="nobody", group="dialout")
        member.await_device("board-0", "Ready")
        member.close()
        stranger = stand.gateway(usb_boards({"usbSerial": board.serial}), user="nobody")
        refusal = f"usbSerial {board.serial}: no permission to open the device; members of the group dialout may"
        stranger.await_device_told("board-0", refusal)
    finally:
        guest.call(os.unlink, f"/etc/udev/rules.d/{RULES}")
        reload_rules(guest)


def test_a_kernel_driver_gives_its_interface_and_gets_it_back(stand: Stand, guest: Guest) -> None:
    guest.run("modprobe", "usbserial")
    guest.call(Path.write_text, Path("/sys/bus/usb-serial/drivers/generic/new_id"), "1209 0001")
    try:
        board = stand.usb_board("usb-g")
        board.await_plugged()
        assert guest.call(driver_of, board.serial) == "usbserial_generic"
        gateway = stand.gateway(usb_boards({"usbSerial": board.serial}))
        gateway.await_device("board-0", "Ready")
        assert guest.call(driver_of, board.serial) == "usbfs"
        gateway.close()
        assert guest.call(driver_of, board.serial) == "usbserial_generic"
    finally:
        guest.run("modprobe", "-r", "ftdi_sio", "usbserial")  # there is no other way to take the id back


def test_an_interface_that_somebody_has_is_busy_until_they_leave(stand: Stand) -> None:
    board = stand.usb_board("usb-h")
    board.await_plugged()
    somebody = stand.calls()
    somebody.keep(BareUsb, board.serial)
    gateway = stand.gateway(usb_boards({"usbSerial": board.serial}))
    gateway.await_device_told("board-0", f"usbSerial {board.serial}: another process or kernel driver holds the interface")
    somebody.stop()
    gateway.await_device("board-0", "Ready")


# -- bytes


def test_a_burst_of_full_packets_is_followed_by_an_empty_one(stand: Stand) -> None:
    loop = stand.usb_board("usb-i", slots=0)
    loop.await_plugged()
    stand.guest.call(loop_through_link, loop.serial, (1, 511, 512, 513, 65536, 100_000))
    assert loop.zero_packets() == 2


def test_a_device_that_a_kernel_makes_and_that_forgets_its_empty_packets_loses_nothing(stand: Stand) -> None:
    """dummy_hcd and FunctionFS: another controller, which keeps what came before a transfer's time was over, and another device."""
    gadget = stand.gadget("c0de00000002", "ffs.usb")
    stand.function_fs("usb")
    gadget.plug()
    stand.guest.call(await_usb, "c0de00000002")
    stand.guest.call(loop_through_link, "c0de00000002", (1, 512, 513, 16000, 65536))


def test_the_link_contract_holds(stand: Stand, guest: Guest, tmp_path: Path) -> None:
    """In the guest; the report is for the matrix at the end of `make test`."""
    serials = ("c0de00000011", "c0de00000012")
    far_ends = ",".join(f"{serial}@{MACHINE}:{stand.usb_far_end(serial).port}" for serial in serials)
    report = "/run/usb-contract.xml"
    # Its plug-ins by name: what the agent has imported already cannot be looked for.
    plugins = [word for name in ("anyio.pytest_plugin", "pytest_timeout", "transports.testing.labels") for word in ("-p", name)]
    argv = [
        "pytest",
        "-q",
        "-c",
        str(ROOT / "pyproject.toml"),
        "--rootdir",
        str(ROOT),
        "--noconftest",
        *plugins,
        "--timeout",
        "60",
        "--maxfail",
        "3",
    ]
    environment = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", usb_contract.FAR_ENDS: far_ends}
    ran = guest.start_module(*argv, f"--junitxml={report}", str(usb_contract.__file__), env=environment)
    exit_code = ran.wait(CONTRACT_TIMEOUT_S)
    assert exit_code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), ran.output
    told = guest.call(Path.read_text, Path(report))
    (Path(os.environ.get("WIRELET_REPORTS", tmp_path)) / "usb-guest.xml").write_text(told)
    assert exit_code == pytest.ExitCode.OK, ran.output
    assert " 2 skipped" in ran.output, ran.output

"""Pods on boards behind a real ftdi_sio, whose cables are pulled at either end while they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from guest.board_process import Board
from guest.gateway import counter
from guest.process import GuestProcess
from guest.stand import Stand
from guest.usb_serial import UsbSerial

Move = Callable[[UsbSerial, Board], None]


def unplug_at_the_host(adapter: UsbSerial, board: Board) -> None:
    adapter.unplug()


def plug_at_the_host(adapter: UsbSerial, board: Board) -> None:
    adapter.plug()


def unplug_at_the_board(adapter: UsbSerial, board: Board) -> None:
    board.unplug()


def plug_at_the_board(adapter: UsbSerial, board: Board) -> None:
    board.plug()


@pytest.mark.parametrize(
    ("unplug", "plug"),
    [pytest.param(unplug_at_the_host, plug_at_the_host, id="qmp"), pytest.param(unplug_at_the_board, plug_at_the_board, id="socket")],
)
def test_same_pod_and_log_after_replug(stand: Stand, unplug: Move, plug: Move) -> None:
    adapter = stand.usb_serial("W0001")
    board = stand.board(adapter.socket, "board-a")
    adapter.await_plugged()
    gateway = stand.gateway(configuration(adapter.by_id), counter("counter"))
    before = gateway.await_pod("counter", is_running)
    log = gateway.follow_log("counter")
    log.wait_for("\n20\n")

    unplug(adapter, board)
    adapter.await_unplugged()
    gateway.await_device("board-0", "Disconnected")
    plug(adapter, board)
    adapter.await_plugged()
    after = gateway.await_pod("counter", is_ready)
    await_lines_after_replug(log)

    assert (after["uid"], after["restarts"]) == (before["uid"], before["restarts"])
    assert_counted(log.output)


def test_a_board_that_lost_power_with_its_cable_is_another_boot_of_the_same_board(stand: Stand) -> None:
    adapter = stand.usb_serial("W0002")
    board = stand.board(adapter.socket, "board-a")
    adapter.await_plugged()
    gateway = stand.gateway(configuration(adapter.by_id), counter("counter"))
    before = gateway.await_pod("counter", is_running)

    board.kill()
    adapter.await_unplugged()
    board.start()
    adapter.await_plugged()
    after = gateway.await_pod("counter", lambda pod: is_ready(pod) and pod["restarts"] == 1)

    assert after["uid"] == before["uid"]


def configuration(*paths: str) -> dict[str, Any]:
    devices = [{"name": f"board-{number}", "class": "sim", "link": {"serial": {"path": path}}} for number, path in enumerate(paths)]
    return {"node": {"name": "desk"}, "classes": [{"name": "sim", "slots": 2, "shared": True}], "devices": devices}


def is_running(pod: dict[str, Any]) -> bool:
    return pod.get("status") == "Running"


def is_ready(pod: dict[str, Any]) -> bool:
    return is_running(pod) and pod["ready"] == len(pod["containers"])


def await_lines_after_replug(log: GuestProcess) -> None:
    """A second's more than it has."""
    log.wait_for(f"\n{numbers(log.output)[-1] + 20}\n")


def numbers(log: str) -> list[int]:
    return [int(line) for line in log.splitlines() if line.isdigit()]


def assert_counted(log: str) -> None:
    """Every number once and in order; what is missing is named by a gap of its size."""
    assert numbers(log) == list(range(1, numbers(log)[-1] + 1)), log

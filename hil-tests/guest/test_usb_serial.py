"""Pods on boards behind a real ftdi_sio, whose cables are pulled at either end while they run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from guest.board_process import Board
from guest.gateway import assert_counted, await_more, counter, is_running, serial_boards
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
    gateway = stand.gateway(serial_boards(adapter.by_id), counter("counter"))
    before = gateway.await_pod("counter", is_running)
    log = gateway.follow_log("counter")
    log.wait_for("\n20\n")

    unplug(adapter, board)
    adapter.await_unplugged()
    gateway.await_device("board-0", "Disconnected")
    plug(adapter, board)
    adapter.await_plugged()
    after = gateway.await_pod("counter", is_running)
    await_more(log)

    assert (after["uid"], after["restarts"]) == (before["uid"], before["restarts"])
    assert_counted(log.output)


def test_a_board_that_lost_power_with_its_cable_is_another_boot_of_the_same_board(stand: Stand) -> None:
    adapter = stand.usb_serial("W0002")
    board = stand.board(adapter.socket, "board-a")
    adapter.await_plugged()
    gateway = stand.gateway(serial_boards(adapter.by_id), counter("counter"))
    before = gateway.await_pod("counter", is_running)

    board.kill()
    adapter.await_unplugged()
    board.start()
    adapter.await_plugged()
    after = gateway.await_pod("counter", lambda pod: is_running(pod) and pod["restarts"] == 1)

    assert after["uid"] == before["uid"]


def test_two_adapters_keep_their_boards_when_the_kernel_swaps_their_names(stand: Stand) -> None:
    first, second = stand.usb_serial("W0003"), stand.usb_serial("W0004")
    boards = [stand.board(adapter.socket, f"board-{adapter.serial}") for adapter in (first, second)]
    before = (first.await_plugged(), second.await_plugged())
    gateway = stand.gateway(serial_boards(first.by_id, second.by_id), counter("on-first", 0), counter("on-second", 1))
    pods = [gateway.await_pod(name, is_running) for name in ("on-first", "on-second")]

    for board in boards:
        board.unplug()
    first.await_unplugged()
    second.await_unplugged()
    gateway.await_device("board-0", "Disconnected")
    gateway.await_device("board-1", "Disconnected")
    boards[1].plug()
    second_tty = second.await_plugged()
    boards[0].plug()
    first_tty = first.await_plugged()

    assert (second_tty, first_tty) == before
    after = [gateway.await_pod(name, is_running) for name in ("on-first", "on-second")]
    assert [(pod["uid"], pod["restarts"]) for pod in after] == [(pod["uid"], 0) for pod in pods]


def test_a_gateway_that_is_not_root_needs_the_group_of_the_port(stand: Stand) -> None:
    adapter = stand.usb_serial("W0005")
    stand.board(adapter.socket, "board-a")
    adapter.await_plugged()
    member = stand.gateway(serial_boards(adapter.by_id), user="nobody", group="dialout")
    member.await_device("board-0", "Ready")
    member.close()

    stranger = stand.gateway(serial_boards(adapter.by_id), user="nobody")
    stranger.await_that(lambda: stranger.device("board-0"), lambda row: "members of the group dialout may" in row.get("message", ""))

"""The same stories with a USB device that a kernel makes: cdc-acm in front of a pod, and bulk endpoints of FunctionFS."""

from __future__ import annotations

import errno

import pytest
from guest.bare_usb import BareUsb
from guest.gateway import assert_counted, await_more, counter, is_running, serial_boards
from guest.inside import await_no_path, await_no_usb, await_path, await_usb
from guest.stand import Stand


def test_same_pod_and_log_after_replug_of_cdc_acm(stand: Stand) -> None:
    by_id = "/dev/serial/by-id/usb-Wirelet_Native_board_W3001-if00"
    board = stand.acm_board("W3001", "board-a")
    stand.guest.call(await_path, by_id)
    gateway = stand.gateway(serial_boards(by_id), counter("counter"))
    before = gateway.await_pod("counter", is_running)
    log = gateway.follow_log("counter")
    log.wait_for("\n20\n")

    board.unplug()
    stand.guest.call(await_no_path, by_id)
    gateway.await_device("board-0", "Disconnected")
    board.plug()
    stand.guest.call(await_path, by_id)
    after = gateway.await_pod("counter", is_running)
    await_more(log)

    assert (after["uid"], after["restarts"]) == (before["uid"], 0)
    assert_counted(log.output)


def test_bulk_endpoints_of_a_gadget_behave_as_the_emulated_ones(stand: Stand) -> None:
    gadget = stand.gadget("W3002", "ffs.a")
    stand.function_fs("a")
    gadget.plug()
    stand.guest.call(await_usb, "W3002")
    process = stand.calls()
    device = process.keep(BareUsb, "W3002")
    for size in (1, 512, 513, 16000):
        device.loop_s(size, 4)

    process.begin("read", 512)
    gadget.unplug()
    with pytest.raises(OSError, match=rf"\[Errno ({errno.ENODEV}|{errno.EIO}|{errno.ESHUTDOWN})\]"):
        process.answer()
    process.stop()
    stand.guest.call(await_no_usb, "W3002")

    gadget.plug()
    stand.guest.call(await_usb, "W3002")
    stand.calls().keep(BareUsb, "W3002").loop_s(64, 1)

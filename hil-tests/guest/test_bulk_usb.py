"""The bulk device of the stand, driven by libusb and nothing of ours: what it promises to links over USB holds."""

from __future__ import annotations

import errno

import pytest
from guest.bare_usb import BareUsb
from guest.stand import Stand
from guest.wirelet_usb import LOOPBACK, OUT_ENDPOINT


def test_the_interface_is_the_one_of_the_specification(stand: Stand) -> None:
    board = stand.usb_board("bulk-a")
    board.await_plugged()
    device = stand.calls().keep(BareUsb, board.serial)
    assert device.facts() == (0xFF, 0x57, 0x01, "wirelet/1")
    assert device.read(4096)  # the board says that it is there


def test_every_byte_comes_back_from_the_loop(stand: Stand) -> None:
    board = stand.usb_board("bulk-b")
    board.await_plugged()
    device = stand.calls().keep(BareUsb, board.serial, LOOPBACK)
    for size in (1, 511, 512, 513, 4096, 16000):
        device.loop_s(size, 16)
    assert board.zero_packets() == 2 * 16


def test_a_stall_is_an_error_until_it_is_cleared(stand: Stand) -> None:
    board = stand.usb_board("bulk-c", slots=0)
    board.await_plugged()
    device = stand.calls().keep(BareUsb, board.serial)
    board.stall(OUT_ENDPOINT)
    with pytest.raises(BrokenPipeError):
        device.write(b"x")
    device.clear_halts()
    device.write(b"x")
    assert device.read(512) == b"x"


def test_a_transfer_that_nobody_takes_ends_with_its_time(stand: Stand) -> None:
    board = stand.usb_board("bulk-d", slots=0)
    board.await_plugged()
    device = stand.calls().keep(BareUsb, board.serial)
    board.stick()
    with pytest.raises(TimeoutError):
        device.write(b"lost", 200)
    board.stick(is_stuck=False)
    device.write(b"kept")
    assert device.read(512) == b"kept"


def test_a_full_packet_ends_nothing_without_a_zero_length_one(stand: Stand) -> None:
    board = stand.usb_board("bulk-e", slots=0)
    board.forget_zero_packets()
    board.await_plugged()
    device = stand.calls().keep(BareUsb, board.serial)
    device.write(bytes(512))
    with pytest.raises(TimeoutError):
        device.read(1024, 200)


def test_unplugging_ends_a_read_and_the_device_comes_back(stand: Stand) -> None:
    board = stand.usb_board("bulk-f", slots=0)
    board.await_plugged()
    process = stand.calls()
    process.keep(BareUsb, board.serial)
    process.begin("read", 512)
    board.unplug()
    with pytest.raises(OSError, match=rf"\[Errno ({errno.ENODEV}|{errno.EIO})\]"):  # it depends on what the kernel was at
        process.answer()
    board.await_unplugged()

    board.plug()
    board.await_plugged()
    device = stand.calls().keep(BareUsb, board.serial)
    device.write(b"again")
    assert device.read(512) == b"again"


def test_a_chip_with_usb_of_its_own_leaves_the_bus_when_it_restarts(stand: Stand) -> None:
    board = stand.usb_board("bulk-g", re_enumerates=True)
    before = board.await_plugged()
    board.reset()
    board.await_unplugged()
    assert board.await_plugged() != before

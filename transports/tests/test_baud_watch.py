"""A wrong baud rate is told from a boot ROM, from a noisy line, and from a device that speaks another protocol."""

from __future__ import annotations

from transports.baud_watch import AFTER_S, BaudWatch
from transports.link import LineErrors


def test_framing_errors_and_no_frame_are_a_wrong_speed() -> None:
    watch = BaudWatch(opened_at=100.0, good_frames=7)
    assert watch.look(40, 7, LineErrors(framing=1), 100.5) is None
    assert watch.look(40, 7, LineErrors(framing=4), 100.0 + AFTER_S) == (
        "4 framing errors in 80 bytes and nothing that can be decoded: the device talks at another speed; compare baud with its firmware"
    )


def test_it_is_told_once_for_each_opening() -> None:
    watch = BaudWatch(0.0, 0)
    assert watch.look(40, 0, LineErrors(framing=9), AFTER_S) is not None
    assert watch.has_told
    assert watch.look(40, 0, LineErrors(framing=99), 2 * AFTER_S) is None


def test_a_boot_rom_at_another_speed_is_none() -> None:
    watch = BaudWatch(0.0, 0)
    assert watch.look(300, 0, LineErrors(framing=290), 0.1) is None
    assert watch.look(60, 1, LineErrors(framing=290), AFTER_S) is None


def test_a_device_that_understood_once_is_none() -> None:
    watch = BaudWatch(0.0, 0)
    assert watch.look(60, 1, LineErrors(), 1.0) is None
    assert watch.look(60, 1, LineErrors(framing=50), AFTER_S) is None


def test_another_protocol_at_the_right_speed_is_none() -> None:
    watch = BaudWatch(0.0, 0)
    assert watch.look(100_000, 0, LineErrors(framing=5), AFTER_S) is None


def test_ftdi_chips_that_count_packets_are_heard_too() -> None:
    watch = BaudWatch(0.0, 0)
    assert watch.look(200, 0, LineErrors(framing=4), AFTER_S) is not None


def test_a_port_that_does_not_count_tells_nothing() -> None:
    assert BaudWatch(0.0, 0).look(10_000, 0, None, AFTER_S) is None

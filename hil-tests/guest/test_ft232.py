"""What the real ftdi_sio does with a port that is opened, set, misread, stuck and closed."""

from __future__ import annotations

import itertools
import os
import termios
from typing import Final

import pytest
from guest.auto_reset import Boot
from guest.ft232 import Break, Happening, Latency, LineError, Lines, ModemInput, Opened
from guest.ft232_adapter import Ft232Adapter
from guest.ft232_board import LOADER_TEXT
from guest.inside import await_kernel_function, write_files
from guest.stand import Stand
from guest.tty import LineErrors, Tty

BOTH: Final = termios.TIOCM_DTR | termios.TIOCM_RTS
UP: Final = Lines(dtr=True, rts=True)
DOWN: Final = Lines(dtr=False, rts=False)
ONLY_DTR: Final = Lines(dtr=True, rts=False)
ONLY_RTS: Final = Lines(dtr=False, rts=True)


_numbers: Final = itertools.count()


class Desk:
    """An adapter in the guest and a process that may hold its port."""

    def __init__(self, stand: Stand) -> None:
        self.adapter = stand.ft232(f"W1{next(_numbers):03d}")
        self.tty = self.adapter.await_plugged()
        self.process = stand.calls()
        self.adapter.happened()  # what it was asked at first

    def open(self) -> Tty:
        return self.process.keep(Tty, self.adapter.by_id)


@pytest.fixture
def desk(stand: Stand) -> Desk:
    return Desk(stand)


def of(happened: list[Happening], *kinds: type[Happening]) -> list[Happening]:
    return [happening for happening in happened if isinstance(happening, kinds)]


# -- modem lines


def test_opening_raises_both_lines_in_one_request(desk: Desk) -> None:
    desk.open()
    assert of(desk.adapter.happened(), Opened, Lines) == [Opened(), UP]


def test_the_last_close_lowers_both_lines_unless_hupcl_is_off(desk: Desk) -> None:
    port = desk.open()
    desk.adapter.happened()
    port.close()
    assert of(desk.adapter.happened(), Lines) == [DOWN]

    port = desk.open()
    port.set_hupcl(False)
    desk.adapter.happened()
    port.close()
    assert of(desk.adapter.happened(), Lines) == []
    assert desk.adapter.lines() == UP


def test_another_open_raises_lines_that_the_owner_has_lowered(desk: Desk, stand: Stand) -> None:
    port = desk.open()
    port.lower_lines(BOTH)
    desk.adapter.happened()
    stand.guest.run("sh", "-c", f": <{desk.tty}")
    assert of(desk.adapter.happened(), Lines) == [UP]


def test_lines_set_one_by_one_are_two_requests_and_set_together_one(desk: Desk) -> None:
    port = desk.open()
    desk.adapter.happened()
    port.lower_lines(termios.TIOCM_DTR)
    port.lower_lines(termios.TIOCM_RTS)
    assert desk.adapter.happened() == [ONLY_RTS, DOWN]
    port.set_lines(BOTH)
    assert desk.adapter.happened() == [UP]


def test_the_pins_of_the_far_end_are_seen(desk: Desk) -> None:
    port = desk.open()
    desk.adapter.set_modem(ModemInput.NONE)
    port.await_inputs(0)
    desk.adapter.set_modem(ModemInput.CTS | ModemInput.RI)
    port.await_inputs(termios.TIOCM_CTS | termios.TIOCM_RI)


# -- bytes and their errors


def test_every_byte_passes_both_ways(desk: Desk) -> None:
    desk.adapter.loop_back()
    port = desk.open()
    port.write(bytes(range(256)) * 16)
    assert port.read(4096) == bytes(range(256)) * 16


@pytest.mark.parametrize(
    ("error", "data", "read", "counted"),
    [
        (LineError.FRAMING, b"A", b"A", LineErrors(frame=1, overrun=0, parity=0, brk=0)),
        (LineError.PARITY, b"A", b"A", LineErrors(frame=0, overrun=0, parity=1, brk=0)),
        pytest.param(LineError.OVERRUN, b"A", b"\0A", LineErrors(frame=0, overrun=1, parity=0, brk=0), id="overrun-adds-a-zero"),
        (LineError.BREAK, b"\0", b"\0", LineErrors(frame=0, overrun=0, parity=0, brk=1)),
    ],
)
def test_line_errors_are_counted_and_their_bytes_pass(desk: Desk, error: LineError, data: bytes, read: bytes, counted: LineErrors) -> None:
    port = desk.open()
    desk.adapter.put(data, error)
    assert port.read(len(read)) == read
    assert port.errors() == counted


def test_a_break_of_the_host_reaches_the_device(desk: Desk) -> None:
    port = desk.open()
    desk.adapter.happened()
    port.set_break(True)
    port.set_break(False)
    assert desk.adapter.happened() == [Break(is_on=True), Break(is_on=False)]


# -- settings


def test_the_divisor_makes_nearly_the_rate(desk: Desk) -> None:
    port = desk.open()
    for speed, rate in ((termios.B9600, 9600), (termios.B115200, 115200), (termios.B921600, 921600), (termios.B3000000, 3000000)):
        port.set_baud(speed)
        assert desk.adapter.baud() == pytest.approx(rate, rel=0.002)


def test_the_latency_timer_is_what_sysfs_says(desk: Desk, stand: Stand) -> None:
    timer = f"/sys/bus/usb-serial/devices/{os.path.basename(desk.tty)}/latency_timer"
    desk.adapter.loop_back()
    port = desk.open()
    for ms in (1, 255, 16):
        stand.guest.call(write_files, {timer: str(ms)})
        port.write(b"x")
        assert port.read(1) == b"x"
        assert of(desk.adapter.happened(), Latency) == [Latency(ms)]


def test_a_board_at_another_rate_is_read_as_garbage_with_framing_errors(desk: Desk) -> None:
    desk.adapter.board("board-a", baud=74880)
    port = desk.open()
    port.set_baud(termios.B115200)
    garbage = port.read(64)
    assert b"wirelet" not in garbage
    assert port.errors().frame > 0


# -- a device that takes no more


def test_a_close_waits_for_a_device_that_naks_for_ever(desk: Desk, stand: Stand) -> None:
    port = desk.open()
    desk.adapter.stick()
    port.write(b"never taken")
    pid = desk.process.call(os.getpid)
    desk.process.begin("close")
    stand.guest.call(await_kernel_function, pid, "tty_wait_until_sent")
    desk.adapter.unstick()
    desk.process.answer()


# -- the circuit that resets a board


@pytest.fixture
def board(desk: Desk) -> Ft232Adapter:
    desk.adapter.board("board-a", has_auto_reset=True)
    return desk.adapter


def test_a_plain_open_and_close_reset_no_board(desk: Desk, board: Ft232Adapter) -> None:
    desk.open().close()
    assert of(board.happened(), Lines) == [UP, DOWN]
    assert board.boots() == []


def test_lowering_the_lines_one_by_one_resets_the_board(desk: Desk, board: Ft232Adapter) -> None:
    port = desk.open()
    port.lower_lines(termios.TIOCM_DTR)
    port.lower_lines(termios.TIOCM_RTS)
    board.await_boots([Boot.PROGRAM])


def test_both_lines_in_one_ioctl_choose_what_the_board_starts(desk: Desk, board: Ft232Adapter) -> None:
    port = desk.open()
    port.set_baud(termios.B115200)
    port.set_lines(termios.TIOCM_RTS)
    port.set_lines(termios.TIOCM_DTR)
    board.await_boots([Boot.LOADER])
    port.read_to(LOADER_TEXT)

    port.set_lines(termios.TIOCM_RTS)
    port.set_lines(0)
    board.await_boots([Boot.LOADER, Boot.PROGRAM])

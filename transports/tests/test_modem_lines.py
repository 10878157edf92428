"""DTR and RTS: nothing that the gateway does to them by itself resets a board, and a reset is one into the program."""

from __future__ import annotations

import os
import termios

import pytest

from transports.modem_lines import (
    BOTH,
    DTR,
    NONE,
    RTS,
    ModemLines,
    effect_of_opening,
    lines_after_open,
    steps_of_reset,
    with_lines,
)
from transports.tests.pty_end import PtyEnd
from transports.tty_line import set_lines


class EspCircuit:
    """The two transistors at EN and IO0 of an ESP board."""

    def __init__(self, lines: int) -> None:
        self._is_held = False
        self.boots: list[str] = []
        self.set(lines)

    def set(self, lines: int) -> None:
        was_held, self._is_held = self._is_held, lines == RTS
        if was_held and not self._is_held:
            self.boots.append("loader" if lines == DTR else "program")


@pytest.mark.parametrize("policy", list(ModemLines))
@pytest.mark.parametrize("before", [NONE, DTR, BOTH])
def test_opening_boots_no_esp_board(policy: ModemLines, before: int) -> None:
    circuit = EspCircuit(before)
    circuit.set(BOTH)  # the kernel, at open
    lines = lines_after_open(policy)
    if lines is not None:
        circuit.set(lines)
    assert circuit.boots == []


def test_a_reset_boots_the_program_once_and_leaves_the_lines_as_they_were() -> None:
    circuit = EspCircuit(BOTH)
    steps = steps_of_reset(ModemLines.ESP_AUTORESET)
    for step in steps:
        circuit.set(step.lines)
    assert circuit.boots == ["program"]
    assert steps[-1].lines == lines_after_open(ModemLines.ESP_AUTORESET)


def test_each_step_of_a_reset_moves_one_line_only() -> None:
    """RFC 2217 has no request for two."""
    lines = BOTH
    for step in steps_of_reset(ModemLines.ESP_AUTORESET):
        assert (lines ^ step.lines) in (DTR, RTS)
        lines = step.lines


@pytest.mark.parametrize("policy", [ModemLines.LEAVE, ModemLines.ASSERT])
def test_other_boards_have_no_reset_by_their_lines(policy: ModemLines) -> None:
    assert steps_of_reset(policy) == ()


def test_the_lines_are_numbered_as_the_kernel_does() -> None:
    assert (DTR, RTS) == (termios.TIOCM_DTR, termios.TIOCM_RTS)


def test_the_drivers_other_bits_stay_as_they_are() -> None:
    out2, carrier = 0x4000, termios.TIOCM_CAR
    assert with_lines(out2 | carrier | DTR, RTS) == out2 | carrier | RTS
    assert with_lines(out2, BOTH) == out2 | BOTH
    assert with_lines(out2 | BOTH, NONE) == out2


def test_a_port_without_lines_is_no_error() -> None:
    end = PtyEnd()
    fd = os.open(end.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        assert not set_lines(fd, BOTH)
    finally:
        os.close(fd)
        end.close()


def test_a_port_that_is_gone_is_an_error() -> None:
    with pytest.raises(OSError, match="Bad file descriptor"):
        set_lines(-1 + (1 << 20), BOTH)


@pytest.mark.parametrize("policy", list(ModemLines))
def test_what_opening_does_to_a_board_is_told(policy: ModemLines) -> None:
    assert "the kernel raises DTR and RTS together" in effect_of_opening(policy)

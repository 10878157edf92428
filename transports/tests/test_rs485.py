"""RS-485 as the kernel's structure, and a driver that does less than it was asked."""

from __future__ import annotations

import os
import struct

import pytest

from transports.driver import BadOption, DurationS
from transports.errors import LinkError
from transports.rs485 import Rs485, differs, encode, set_rs485
from transports.tests.pty_end import PtyEnd

ENABLED, RTS_ON_SEND, RTS_AFTER_SEND, RX_DURING_TX = 1, 2, 4, 16


def test_the_structure_is_that_of_the_kernel() -> None:
    asked = encode(Rs485(delay_before_send=DurationS(0.001), delay_after_send=DurationS(0.029)))
    assert len(asked) == 32
    assert struct.unpack("=3I", asked[:12]) == (ENABLED | RTS_ON_SEND | RX_DURING_TX, 1, 29)
    assert asked[12:] == bytes(20)


def test_the_other_polarity_rests_high() -> None:
    (flags,) = struct.unpack_from("=I", encode(Rs485(rts_on_send=False)))
    assert flags == ENABLED | RTS_AFTER_SEND | RX_DURING_TX


@pytest.mark.parametrize(
    ("got", "difference"),
    [
        ((ENABLED | RTS_ON_SEND | RX_DURING_TX, 1, 2), ""),
        ((0, 1, 2), "rtsOnSend, receiveDuringSend"),
        ((ENABLED | RTS_AFTER_SEND | RX_DURING_TX, 1, 2), "rtsOnSend"),
        ((ENABLED | RTS_ON_SEND, 1, 2), "receiveDuringSend"),
        ((ENABLED | RTS_ON_SEND | RX_DURING_TX, 0, 0), "delayBeforeSend, delayAfterSend"),
    ],
)
def test_what_the_driver_does_not_honour_is_named(got: tuple[int, int, int], difference: str) -> None:
    asked = encode(Rs485(delay_before_send=DurationS(0.001), delay_after_send=DurationS(0.002)))
    assert differs(asked, struct.pack("=3I20x", *got)) == difference


def test_a_port_without_the_mode_is_refused_with_what_to_do() -> None:
    end = PtyEnd()
    fd = os.open(end.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        with pytest.raises(LinkError, match="port: the port's driver has no RS-485 mode; take an adapter that switches by itself"):
            set_rs485(fd, "port", Rs485())
    finally:
        os.close(fd)
        end.close()


def test_a_bus_that_is_deaf_while_it_talks_is_refused_with_the_reason() -> None:
    with pytest.raises(BadOption, match=r"must be true: frames go both ways at once \(SPEC.md 1.2\)"):
        Rs485(receive_during_send=False)


@pytest.mark.parametrize("delay_s", [-0.001, 0.0015, 0.101])
def test_delays_are_whole_milliseconds_within_what_the_kernel_keeps(delay_s: float) -> None:
    with pytest.raises(BadOption, match="must be 0ms to 100ms in whole milliseconds"):
        Rs485(delay_after_send=DurationS(delay_s))


def test_every_whole_millisecond_is_allowed() -> None:
    for delay_ms in range(101):
        assert struct.unpack_from("=I", encode(Rs485(delay_before_send=DurationS(delay_ms * 0.001))), 4) == (delay_ms,)

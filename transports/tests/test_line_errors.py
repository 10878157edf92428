"""The driver's error counters as numbers."""

from __future__ import annotations

import struct

from transports.line_errors import decode, read_line_errors
from transports.link import LineErrors
from transports.tests.pty_end import PtyEnd


def test_the_structure_is_that_of_the_kernel() -> None:
    # cts dsr rng dcd rx tx frame overrun parity brk buf_overrun, reserved[9]
    counters = struct.pack("=20i", 1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, *range(9))
    assert decode(counters) == LineErrors(framing=10, parity=30, overrun=20, buffer_overrun=50, breaks=40)


def test_a_link_tells_what_came_since_it_was_opened() -> None:
    before = LineErrors(framing=10, breaks=1)
    assert LineErrors(framing=13, parity=2, breaks=1).since(before) == LineErrors(framing=3, parity=2)


def test_counters_that_wrap_go_on() -> None:
    assert LineErrors(framing=2).since(LineErrors(framing=2**32 - 1)) == LineErrors(framing=3)


def test_links_one_after_the_other_add_up() -> None:
    assert LineErrors(1, 2, 3, 4, 5).plus(LineErrors(10, 20, 30, 40, 50)) == LineErrors(11, 22, 33, 44, 55)


def test_a_port_that_does_not_count_has_no_numbers() -> None:
    end = PtyEnd()
    with open(end.path, "rb", buffering=0) as port:
        assert read_line_errors(port.fileno()) is None
    end.close()
    assert read_line_errors(1 << 20) is None

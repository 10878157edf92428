"""The serial numbers that are none, in Python and in the udev rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from transports.discovery.serials import FAKE_SERIALS, is_fake_serial

RULES = Path(__file__).resolve().parents[2] / "udev" / "61-wirelet.rules"
_DENIED = re.compile(r'^ENV\{ID_SERIAL_SHORT\}=="([^"]*)", ENV\{WIRELET_FAKE_SERIAL\}="1"$', re.MULTILINE)


def test_the_rules_name_the_same_serials() -> None:
    named = [serial for alternatives in _DENIED.findall(RULES.read_text()) for serial in alternatives.split("|")]
    assert sorted(named) == sorted(FAKE_SERIALS)


def test_none_of_them_is_a_pattern_to_udev() -> None:
    assert [serial for serial in FAKE_SERIALS if not serial.isalnum()] == []


@pytest.mark.parametrize("serial", ["", "0001", "A50285BI"])
def test_what_many_boards_say_is_no_serial(serial: str) -> None:
    assert is_fake_serial(serial)


@pytest.mark.parametrize("serial", ["A5069RR4", "F4:12:FA:E3:1B:08", "00010", "0001 ", "a50285bi"])
def test_everything_else_is_one(serial: str) -> None:
    assert not is_fake_serial(serial)

"""What may stand below `link: {usb: ...}`."""

from __future__ import annotations

from typing import Any

import pytest

from transports.discovery.facts import Kind
from transports.discovery.match import MatchRule
from transports.driver import BadOption
from transports.usb_options import UsbMatchOptions, UsbOptions


def test_a_match_is_a_rule_for_a_whole_device() -> None:
    match = UsbMatchOptions(usb_serial="240ac4123456", vid_pids=("303A:4001",), port="1-1.3", interface=2)
    boot_modes = ("303a:1001",)
    assert match.rule(boot_modes) == MatchRule(
        kind=Kind.USB, usb_serial="240ac4123456", vid_pids=("303a:4001",), port="1-1.3", boot_modes=boot_modes
    )


@pytest.mark.parametrize(
    ("options", "option", "why"),
    [
        ({}, None, "needs one of: usbSerial, vidPids, port"),
        ({"interface": 1}, None, "needs one of: usbSerial, vidPids, port"),
        ({"usb_serial": "0001"}, "usb_serial", "'0001' is what many chips say; match by port, and vidPids"),
        ({"vid_pids": ("303a",)}, "vid_pids", "must be four hexadecimal digits twice, such as 0403:6001, not '303a'"),
        ({"port": "/dev/bus/usb/001/002"}, "port", "must be a place, such as 1-1.3"),
        ({"port": "1-1", "interface": 256}, "interface", "must be 0 to 255, not 256"),
        ({"port": "1-1", "interface": -1}, "interface", "must be 0 to 255, not -1"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], option: str | None, why: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        UsbMatchOptions(**options)
    assert str(refused.value).startswith(why)
    assert getattr(refused.value, "option", None) == option
    assert isinstance(refused.value, BadOption) == (option is not None)


def test_two_interfaces_of_one_device_are_two_ports() -> None:
    driver = pytest.importorskip("transports.usb_driver", reason="there is no libusb", exc_type=ImportError).UsbDriver()
    ports = [driver.port(UsbOptions(match=UsbMatchOptions(port="1-1.3", interface=number))) for number in (None, 0, 2)]
    assert ports == ["port 1-1.3", "port 1-1.3, interface 0", "port 1-1.3, interface 2"]

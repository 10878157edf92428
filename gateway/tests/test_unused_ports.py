"""Ports that nobody configured are offered with a rule that finds them, and those of the devices are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.devices import unused_ports
from gateway.devices.unused_ports import PortsUnknown, UnusedPort, UnusedPorts
from transports.discovery.facts import Kind, PortFacts
from transports.discovery.match import MatchRule
from transports.discovery.places import MatchedPlace
from transports.discovery.ports import Snapshot
from transports.serial import SerialLinkOpener
from transports.tests.port_examples import adapter, bulk_board, uart
from transports.usb_link import Pipe, UsbLinkOpener

MINE = adapter("ttyUSB0", "1-1.1", serial="MINE1")
BY_PATH = adapter("ttyUSB1", "1-1.2", serial="PATH1")
TWIN_A = adapter("ttyUSB2", "1-1.3", vid_pid="1a86:7523", serial=None, product="USB_Serial")
TWIN_B = adapter("ttyUSB3", "1-1.4", vid_pid="1a86:7523", serial="0001", product="USB_Serial")
UART = uart()
DESK = (MINE, BY_PATH, TWIN_A, TWIN_B, UART)


class Fixed:
    """HostPorts that do not change."""

    def __init__(self, *ports: PortFacts) -> None:
        self._ports = ports

    async def ports(self) -> Snapshot:
        return Snapshot(1, self._ports)

    async def changed(self, version: int) -> None:
        raise AssertionError("nobody waits")


class Hung(Fixed):
    async def ports(self) -> Snapshot:
        raise TimeoutError


async def test_what_the_devices_mean_is_not_offered_by_rule_or_by_path(tmp_path: Path) -> None:
    (tmp_path / "by-id").symlink_to(BY_PATH.node)
    ports = Fixed(*DESK)
    openers = [
        SerialLinkOpener(MatchedPlace(MatchRule(usb_serial="MINE1"), ports)),
        SerialLinkOpener(str(tmp_path / "by-id")),
        SerialLinkOpener(MatchedPlace(MatchRule(vid_pids=("1a86:7523",)), ports)),  # means both twins, and so none
        object(),
    ]
    assert await UnusedPorts(ports, openers).look() == [
        UnusedPort(
            "1a86:7523 USB Serial without a serial number at port 1-1.3 port 0", TWIN_A.node, {"vidPids": ["1a86:7523"], "port": PLACE[3]}
        ),
        UnusedPort(
            "1a86:7523 USB Serial without a serial number at port 1-1.4 port 0", TWIN_B.node, {"vidPids": ["1a86:7523"], "port": PLACE[4]}
        ),
        UnusedPort("UART platform/soc/fe201000.serial", UART.node, {"platform": "fe201000.serial"}),
    ]


async def test_a_usb_device_is_offered_if_it_has_our_interface() -> None:
    board, other = bulk_board(), bulk_board("1-1.6", "MOUSE", interfaces=":030102:")
    composite = bulk_board("1-1.7", "B", interfaces=":020201:0a0000:ff5701:")
    mine = UsbLinkOpener(MatchedPlace(MatchRule(kind=Kind.USB, usb_serial="B"), Fixed(board, other, composite)), never_opened)
    assert await UnusedPorts(Fixed(board, other, composite), [mine]).look() == [
        UnusedPort("303a:4001 Native board with serial 240ac4123456 at port 1-1.5", board.node, {"usbSerial": board.serial}, "usb")
    ]


def never_opened(node: str, name: str) -> Pipe:
    raise AssertionError(node)


PLACE = {number: f"pci-0000:00:14.0-usb-0:1.{number}" for number in (3, 4)}


async def test_udev_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unused_ports, "LOOK_S", 0.01)
    with pytest.raises(PortsUnknown, match="no answer from udev"):
        await UnusedPorts(Hung(), []).look()

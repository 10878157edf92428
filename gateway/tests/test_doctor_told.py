"""What of the findings reaches the API, and what happens when a look at the machine does not end well."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import anyio
import pytest

from gateway.config import parse
from gateway.devices.port_addresses import Address
from gateway.doctor import rounds
from gateway.doctor.finding import Finding
from gateway.doctor.told import ASK_THERE, told

NODES = {"/dev/ttyUSB0": "board-a", "/tmp/links/board-b": "board-b"}


def test_the_worst_comes_first_and_no_tty_is_named() -> None:
    findings = [
        Finding("/dev/ttyUSB0", "its latency timer is 16 ms instead of 1 ms", "as root: udevadm trigger /sys/devices/usb1/ttyUSB0/x"),
        Finding("board-b", "/tmp/links/board-b is open in process 812 (picocom)", "end it: kill 812", reason="PortHeld"),
        Finding("board-a", "/dev/ttyUSB0 is the kernel's console", "take console=ttyUSB0 out", reason="KernelConsole"),
        Finding("power", "the supply is too low", "use another", reason="UnderVoltage"),
    ]
    assert [one.text for one in told(findings, NODES)] == [
        "power: the supply is too low; use another",
        "board-b: its port is open in process 812 (picocom); end it: kill 812",
        f"board-a: its port is the kernel's console; {ASK_THERE}",
        f"board-a: its latency timer is 16 ms instead of 1 ms; {ASK_THERE}",
    ]


@pytest.mark.parametrize(
    "finding",
    [
        Finding("board-a", "to open it raises DTR", "so it is", is_note=True, reason="ModemLines"),
        Finding("board-a", "there is no such file", "plug it in", reason="PortAbsent"),
        Finding("/dev/ttyUSB9", "belongs to group root", "as root: udevadm trigger"),
    ],
)
def test_notes_what_is_told_elsewhere_and_ports_of_others_are_left_out(finding: Finding) -> None:
    assert told([finding], NODES) == []


CONFIGURATION = "{apiVersion: wirelet.dev/v1alpha1, kind: GatewayConfiguration, node: {name: x}}"


async def raises() -> Mapping[str, Address]:
    raise OSError("no /proc")


async def hangs() -> Mapping[str, Address]:
    await anyio.sleep_forever()
    return {}


@pytest.mark.parametrize(("addresses", "why"), [(raises, "no /proc"), (hangs, "not within 0.05 s")])
async def test_a_look_that_fails_or_hangs_is_said_and_changes_nothing(
    addresses: Callable[[], Awaitable[Mapping[str, Address]]], why: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "LOOK_DEADLINE_S", 0.05)
    looking = rounds.Rounds(parse(CONFIGURATION), addresses)
    looking.changed = lambda new: pytest.fail("it found something")
    with caplog.at_level("WARNING"):
        await looking.look()
    assert [(record.getMessage(), record.__dict__["why"]) for record in caplog.records] == [("this machine could not be looked at", why)]
    assert looking.found is None

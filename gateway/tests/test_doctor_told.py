"""What of the findings reaches the API, and what happens when a look at the machine does not end well."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

import anyio
import pytest

from gateway.config import parse
from gateway.devices.port_addresses import Address
from gateway.doctor import examination, rounds
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
    with caplog.at_level("WARNING"), anyio.fail_after(5):
        await looking.look()
    assert [(record.getMessage(), record.__dict__["why"]) for record in caplog.records] == [("this machine could not be looked at", why)]
    assert looking.found is None


async def test_a_machine_that_is_like_no_other_does_not_end_the_gateway(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strange(*_: object, **__: object) -> list[Finding]:
        raise ValueError("a file of /sys that nobody has seen before")

    async def addresses() -> Mapping[str, Address]:
        return {}

    monkeypatch.setattr(examination, "examine", strange)
    looking = rounds.Rounds(parse(CONFIGURATION), addresses)
    with anyio.fail_after(5):
        await looking.look()
    assert "nobody has seen before" in caplog.text
    assert looking.found is None


@contextlib.contextmanager
def open_elsewhere(node: str) -> Iterator[None]:
    """Another process has it open, and does not read."""
    descriptor = os.open(node, os.O_RDWR | os.O_NOCTTY)
    with subprocess.Popen(["sleep", "1000"], stdin=descriptor) as holder:
        os.close(descriptor)
        yield
        holder.kill()


@pytest.fixture
def port() -> Iterator[Address]:
    far, near = os.openpty()
    path = os.ttyname(near)
    os.close(near)
    yield Address(path)
    os.close(far)


@pytest.mark.parametrize(("is_lent_meanwhile", "reasons"), [(False, ["PortHeld"]), (True, [])])
async def test_a_port_that_is_lent_while_it_is_looked_at_is_its_borrower_s(
    port: Address, *, is_lent_meanwhile: bool, reasons: Sequence[str]
) -> None:
    answers = [{"board": port}, {} if is_lent_meanwhile else {"board": port}]

    async def addresses() -> Mapping[str, Address]:
        return answers.pop(0)

    looking = rounds.Rounds(parse(CONFIGURATION), addresses)
    with open_elsewhere(port.path):
        await looking.look()
    assert [one.reason for one in looking.found or () if one.subject == "board"] == reasons


async def test_a_finding_is_new_once_whatever_process_it_is_by_now(port: Address) -> None:
    async def addresses() -> Mapping[str, Address]:
        return {"board": port}

    news: list[list[str]] = []
    looking = rounds.Rounds(parse(CONFIGURATION), addresses)
    looking.changed = lambda new: news.append([one.reason for one in new if one.subject == "board"])
    with open_elsewhere(port.path):
        await looking.look()
        await looking.look()
    assert news == [["PortHeld"]]
    with open_elsewhere(port.path):
        await looking.look()
    assert news == [["PortHeld"], []]  # another text, and no event

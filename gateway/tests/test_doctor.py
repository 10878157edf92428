"""What the doctor reads of the kernel's tables."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from gateway.doctor.clock import of_clock
from gateway.doctor.hubs import Hub, Switching, of_hubs, switching_of
from gateway.doctor.openers import Holder
from gateway.doctor.packages import NEEDED
from gateway.doctor.ports import ending_of, kernel_consoles
from gateway.doctor.sshd import Limits, limits_of
from gateway.doctor.supply import of_supply


def test_the_kernels_consoles_are_read_from_its_table() -> None:
    table = "ttyS0                -W- (EC p a)    4:64\ntty0                 -WU (E  p  )    4:1\n"
    assert kernel_consoles(table) == {"ttyS0", "tty0"}
    assert kernel_consoles("") == set()


@pytest.mark.parametrize(
    ("command", "unit", "fix"),
    [
        ("agetty", "serial-getty@ttyAMA0.service", "to have a board there: systemctl mask --now serial-getty@ttyAMA0.service"),
        ("gpsd", "gpsd.service", "end it: systemctl stop gpsd.service"),
        ("picocom", "", "end it: kill 812"),
    ],
)
def test_a_service_is_ended_as_one_so_that_it_does_not_come_back(command: str, unit: str, fix: str) -> None:
    assert ending_of(Holder("/dev/ttyAMA0", 812, command, unit)) == fix


LISTENER = "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups \n"


@pytest.mark.parametrize(
    ("said", "limits"),
    [
        (
            f"{LISTENER}maxstartups 2:30:100\nmaxsessions 10\nclientaliveinterval 0\n",
            Limits(10, 0),
        ),  # the file was changed and not read yet
        ("maxstartups 2:30:100\nclientaliveinterval 15\n", Limits(2, 15)),
        (LISTENER, Limits(10, None)),
        ("This account is for git only.\n", Limits()),
        ("", Limits()),
    ],
)
def test_what_sshd_allows_is_read_from_whatever_it_tells(said: str, limits: Limits) -> None:
    assert limits_of(said) == limits


@pytest.mark.parametrize(
    ("descriptor", "switching"),
    [
        ("09290400003264 00ff", Switching.GANGED),
        ("0929040900 3264 00ff", Switching.INDIVIDUAL),
        ("0a2904a9 003264 1eff", Switching.INDIVIDUAL),
        ("0c2a040900 32640000 0000 00", Switching.INDIVIDUAL),
        ("0b29080a0001000000ffff", Switching.NONE),  # QEMU's
    ],
)
def test_a_hub_says_how_it_switches_its_ports(descriptor: str, switching: Switching) -> None:
    assert switching_of(bytes.fromhex(descriptor)) is switching


@pytest.mark.parametrize("answer", [b"", b"\x09\x29\x04", bytes.fromhex("09020400003264")])
def test_what_is_no_descriptor_of_a_hub_says_nothing(answer: bytes) -> None:
    with pytest.raises(ValueError, match="no hub descriptor"):
        switching_of(answer)


def test_boards_that_lose_their_power_with_another_one_are_named() -> None:
    hubs = {"a": Hub("1-2", Switching.GANGED), "b": Hub("1-2", Switching.GANGED), "c": Hub("1-3", Switching.INDIVIDUAL)}
    (finding,) = of_hubs(hubs, ["a", "c", "not here"])
    assert (finding.subject, finding.problem) == (
        "a",
        "its power hook has uhubctl, but USB hub 1-2 switches the power of all its ports together, those of b too",
    )


def test_a_clock_from_before_this_version_is_no_matter_of_synchronisation() -> None:
    (unset,) = of_clock(946684800.0, is_synchronised=False)
    assert (unset.reason, unset.is_note) == ("ClockNotSet", False)
    assert unset.problem.startswith("it says 2000-01-01 00:00, ")
    (loose,) = of_clock(1893456000.0, is_synchronised=False)
    assert (loose.reason, loose.is_note) == ("ClockNotSynchronised", True)
    assert list(of_clock(1893456000.0, is_synchronised=True)) == list(of_clock(1893456000.0, is_synchronised=None)) == []


def test_machines_that_are_no_raspberry_pi_have_no_supply_to_tell_of(tmp_path: Path) -> None:
    hwmon = tmp_path / "class/hwmon/hwmon0"
    hwmon.mkdir(parents=True)
    (hwmon / "name").write_text("coretemp\n")
    (hwmon / "in0_lcrit_alarm").write_text("1\n")
    assert list(of_supply(tmp_path)) == []


def test_the_supply_of_a_model_with_the_bus_address_in_its_name_is_looked_at(tmp_path: Path) -> None:
    firmware = tmp_path / "devices/platform/soc@107c000000/soc@107c000000:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text("1\n")
    assert [finding.reason for finding in of_supply(tmp_path)] == ["UnderVoltage"]


def test_every_dependency_has_its_import_name_looked_after() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["ssh"]]
    needed = {re.split(r"[<>=]", each)[0].lower() for each in named} | {"pyserial"}  # which pyserial-asyncio is made for
    assert set(NEEDED.values()) == needed

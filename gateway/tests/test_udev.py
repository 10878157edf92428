"""Wirelet's udev files and what `wirelet udev check` makes of udev's database. With the real udevadm: hil-tests/test_udev*.py."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.cli import main
from gateway.doctor import udev_files
from gateway.doctor.finding import Finding
from gateway.doctor.udev_database import Device, parse
from gateway.doctor.udev_files import PLACES, RULES, TABLE, UdevError
from gateway.doctor.udev_findings import NodeState, find, of_process

UDEV = Path(__file__).resolve().parents[2] / "udev"

DATABASE = """\
P: /devices/pci0000:00/0000:00:14.0/usb1/1-2
M: 1-2
R: 2
U: usb
T: usb_device
N: bus/usb/001/004
E: DEVTYPE=usb_device
E: SUBSYSTEM=usb
E: ID_VENDOR_ID=0403
E: ID_USB_INTERFACES=:ffffff:
E: WIRELET_CHIP=ftdi
E: ID_MM_DEVICE_IGNORE=1
E: CURRENT_TAGS=:wirelet:
X: a letter of some later version

P: /devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0
E: DEVTYPE=usb_interface
E: SUBSYSTEM=usb

P: /devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/ttyUSB1/tty/ttyUSB1
N: ttyUSB1
S: wirelet/by-port/pci-0000:00:14.0-usb-0:2:1.0-port0
S: serial/by-id/usb-FTDI_FT232R_USB_UART_A5069RR4-if00-port0
S: wirelet/by-serial/A5069RR4-if00-port0
E: SUBSYSTEM=tty
E: ID_SERIAL_SHORT=A5069RR4
E: WIRELET_CHIP=ftdi
E: WIRELET_LATENCY_MS=1
E: ID_MM_PORT_IGNORE=1
E: TAGS=:wirelet:systemd:gone:
E: CURRENT_TAGS=:wirelet:systemd:

P: /devices/virtual/tty/tty1
N: tty1
E: SUBSYSTEM=tty
"""
USB_DEVICE, TTY, CONSOLE_TTY = parse(DATABASE)
UART = Device(
    "/devices/platform/soc/fe201000.serial/fe201000.serial:0/fe201000.serial:0.0/tty/ttyAMA0",
    "/dev/ttyAMA0",
    ("wirelet/by-port/platform-fe201000.serial",),
    {"SUBSYSTEM": "tty", "TAGS": ":systemd:wirelet:"},
)
FINE = NodeState("dialout", 0o660, {"latency_timer": "1"})


# -- the files


def test_the_rules_run_when_udev_knows_the_device_and_before_the_others_act_on_it() -> None:
    assert (
        sorted([RULES, "60-serial.rules", "60-gpsd.rules", "73-seat-late.rules", "77-mm-usb-device.rules", "85-brltty.rules"])[2] == RULES
    )


def test_local_rules_are_read_between_udev_s_and_ours() -> None:
    assert "60-serial.rules" < "60-wirelet-local.rules" < RULES


def test_the_rules_never_ask_for_a_device_without_such_a_parent() -> None:
    """The device itself is one of its parents, so that is always true."""
    assert re.findall(r"\b(?:SUBSYSTEMS|KERNELS|DRIVERS|ATTRS\{\w+\})!=", (UDEV / RULES).read_text()) == []


def test_every_jump_has_a_place_to_go_further_down() -> None:
    text = (UDEV / RULES).read_text()
    for jump in re.finditer(r'GOTO="(\w+)"', text):
        assert text.find(f'LABEL="{jump[1]}"', jump.end()) > 0


def test_every_entry_of_the_table_can_match_and_says_what_it_is() -> None:
    """udev writes the ids in capitals, and a line with a property ends with no blank."""
    for entry in re.split(r"\n\s*\n", re.sub(r"^#.*\n", "", (UDEV / TABLE).read_text(), flags=re.MULTILINE)):
        keys = [line for line in entry.strip("\n").splitlines() if not line.startswith(" ")]
        values = [line for line in entry.strip("\n").splitlines() if line.startswith(" ")]
        assert [key for key in keys if not re.fullmatch(r"usb:v[0-9A-F]{4}p[0-9A-F\[\]-]*\*", key)] == []
        assert not keys or values[0].startswith(" WIRELET_CHIP=")
        assert [value for value in values if not re.fullmatch(r" WIRELET_\w+=\w+", value)] == []


def test_the_readme_explains_every_property() -> None:
    readme = (UDEV / "README.md").read_text()
    properties = set(re.findall(r"\b(?:WIRELET|ID_MM|SYSTEMD)_\w+", (UDEV / RULES).read_text() + (UDEV / TABLE).read_text()))
    assert sorted(each for each in properties if each not in readme) == []


def test_both_files_come_with_this_wirelet() -> None:
    assert udev_files.shipped() == {name: (UDEV / name).read_bytes() for name in PLACES}


def test_files_are_written_once_and_taken_away(tmp_path: Path) -> None:
    paths = [tmp_path / "etc/udev/rules.d" / RULES, tmp_path / "etc/udev/hwdb.d" / TABLE]
    assert udev_files.differences(tmp_path) == {RULES: "is not installed", TABLE: "is not installed"}
    assert udev_files.write(tmp_path) == paths
    assert udev_files.differences(tmp_path) == {}
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o644, 0o644]
    assert udev_files.write(tmp_path) == []
    assert udev_files.delete(tmp_path) == paths
    assert udev_files.delete(tmp_path) == []
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


def test_only_the_file_that_differs_is_written_again(tmp_path: Path) -> None:
    rules, _ = udev_files.write(tmp_path)
    rules.write_text("# mine\n")
    assert udev_files.differences(tmp_path) == {RULES: "is not the one of this version"}
    assert udev_files.write(tmp_path) == [rules]


def test_a_file_that_is_switched_off_stays_off(tmp_path: Path) -> None:
    rules = tmp_path / "etc/udev/rules.d" / RULES
    rules.parent.mkdir(parents=True)
    rules.symlink_to("/dev/null")
    with pytest.raises(UdevError, match="somebody has switched the file off"):
        udev_files.write(tmp_path)
    with pytest.raises(UdevError, match="somebody has switched the file off"):
        udev_files.delete(tmp_path)
    assert rules.is_symlink()


# -- the command line


@pytest.mark.parametrize("action", ["install", "uninstall"])
def test_a_user_is_told_to_be_root(action: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert main(["udev", action]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(f"wirelet udev {action}: it writes into /etc/udev, so run it as root: sudo .*wirelet udev {action}\n", told.err)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "etc").write_text("a file, and no folder")
    assert main(["udev", "install", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"wirelet udev install: {tmp_path}/etc/udev/rules.d: Not a directory; mend that, and try again\n"


# -- udev's database


def test_the_database_is_read() -> None:
    assert (USB_DEVICE.node, USB_DEVICE.is_usb_device, USB_DEVICE.is_port, USB_DEVICE.chip) == ("/dev/bus/usb/001/004", True, False, "ftdi")
    assert (TTY.node, TTY.is_usb_tty, TTY.is_port, TTY.chip) == ("/dev/ttyUSB1", True, True, "ftdi")
    assert TTY.names == ["wirelet/by-port/pci-0000:00:14.0-usb-0:2:1.0-port0", "wirelet/by-serial/A5069RR4-if00-port0"]
    assert TTY.tags == ["wirelet", "systemd"]
    assert not CONSOLE_TTY.is_port


def test_uarts_are_known_by_the_device_tree_in_old_and_new_kernels() -> None:
    assert UART.is_uart
    assert replace(UART, path="/devices/platform/soc/fe201000.serial/tty/ttyAMA0").is_uart
    assert not replace(UART, path="/devices/platform/serial8250/tty/ttyS0").is_port


def test_a_usb_device_with_our_interface_is_a_port() -> None:
    assert with_properties(USB_DEVICE, ID_USB_INTERFACES=":020201:ff5701:").is_port


def with_properties(device: Device, **properties: str | None) -> Device:
    return replace(device, properties={key: value for key, value in {**device.properties, **properties}.items() if value is not None})


# -- findings


def problems(*devices: Device, state: NodeState = FINE) -> list[str]:
    return [
        f"{'note ' if finding.is_note else ''}{finding.subject}: {finding.problem}" for finding in find(devices, states(devices, state))
    ]


def states(devices: Sequence[Device], state: NodeState) -> dict[str, NodeState]:
    return {device.path: state for device in devices}


def test_nothing_is_found_where_all_is_well() -> None:
    assert problems(USB_DEVICE, TTY, CONSOLE_TTY, UART) == []


@pytest.mark.parametrize(
    ("device", "told"),
    [
        (with_properties(TTY, CURRENT_TAGS=":systemd:"), "/dev/ttyUSB1: the rules have not run for it"),
        (replace(TTY, links=()), "/dev/ttyUSB1: the rules have not run for it"),
        (with_properties(TTY, ID_MM_PORT_IGNORE=None), "/dev/ttyUSB1: ModemManager may open it"),
        (with_properties(USB_DEVICE, ID_MM_DEVICE_IGNORE=None), "/dev/bus/usb/001/004: ModemManager may take the device"),
        (replace(UART, links=()), "/dev/ttyAMA0: the rules have not run for it"),
    ],
)
def test_what_a_device_lacks_is_told_with_the_command_that_mends_it(device: Device, told: str) -> None:
    (finding,) = find([device], states([device], FINE))
    assert f"{finding.subject}: {finding.problem}" == told
    assert finding.fix == f"as root: udevadm trigger --settle /sys{device.path}"


@pytest.mark.parametrize("state", [replace(FINE, group="root"), replace(FINE, mode=0o600), replace(FINE, mode=0o666)])
@pytest.mark.parametrize("device", [USB_DEVICE, TTY, UART], ids=["usb", "tty", "uart"])
def test_another_group_or_mode_is_told(device: Device, state: NodeState) -> None:
    assert problems(device, state=state) == [
        f"{device.node}: belongs to group {state.group} with mode {state.mode:04o} instead of dialout with 0660"
    ]


def test_a_slow_latency_timer_is_told() -> None:
    assert problems(TTY, state=replace(FINE, attributes={"latency_timer": "16"})) == [
        "/dev/ttyUSB1: its latency timer is 16 ms instead of 1 ms"
    ]
    assert problems(TTY, state=replace(FINE, attributes={})) == []


def test_a_board_that_the_table_does_not_know_is_only_noted() -> None:
    unknown = with_properties(TTY, WIRELET_CHIP=None, ID_VENDOR_ID="12d1", ID_MODEL_ID="10ff", ID_MM_PORT_IGNORE=None)
    assert problems(unknown) == ["note /dev/ttyUSB1: 12d1:10ff is not in the table, so ModemManager and others may open it"]
    assert "'usb:v12D1p10FF*'" in find([unknown], states([unknown], FINE))[0].fix


def test_a_name_that_two_boards_want_is_told_with_both() -> None:
    twin = replace(TTY, path=TTY.path.replace("1-2", "1-3"), node="/dev/ttyUSB2", links=TTY.links[1:])
    assert problems(TTY, twin) == ["/dev/wirelet/by-serial/A5069RR4-if00-port0: /dev/ttyUSB1 and /dev/ttyUSB2 both want that name"]


def test_the_kernel_s_console_is_noted_and_a_missing_uart_is_not() -> None:
    bare = replace(UART, links=(), properties={"SUBSYSTEM": "tty", "TAGS": ":systemd:"})
    assert problems(bare, state=NodeState("tty", 0o600, {"console": "Y", "type": "32"})) == ["note /dev/ttyAMA0: is the kernel's console"]
    assert problems(bare, state=NodeState("root", 0o600, {"console": "N", "type": "0"})) == []


def test_what_somebody_took_out_and_what_was_unplugged_meanwhile_is_passed_over() -> None:
    assert problems(with_properties(TTY, WIRELET_IGNORE="1", CURRENT_TAGS="")) == []
    assert find([replace(TTY, links=())], {}) == []


def test_brltty_is_told_and_others_are_not() -> None:
    assert of_process("bash") is None
    finding = of_process("brltty")
    assert finding is not None
    assert finding.is_note


def test_a_finding_is_one_line() -> None:
    assert str(Finding("/dev/x", "is wrong", "mend it")) == "/dev/x: is wrong; mend it"
    assert str(Finding("/dev/x", "is odd", "so what", is_note=True)) == "note: /dev/x: is odd; so what"

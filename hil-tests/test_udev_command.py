"""`wirelet udev`: what it puts where, what it finds missing, and that nothing is left of it.

What a running udevd makes of it is in guest/test_udev_rules.py.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from adapters import BULK, CH340, CP2102, FT232R, MODEM
from udev_rules import UdevBed, in_own_mounts
from usb_tree import UsbDevice, host

WIRELET: Final = Path(__file__).resolve().parent.parent / ".venv" / "bin" / "wirelet"
RULES: Final = "/etc/udev/rules.d/61-wirelet.rules"
TABLE: Final = "/etc/udev/hwdb.d/61-wirelet.hwdb"
BY_PORT: Final = "wirelet/by-port/pci-0000:00:14.0-usb-0"
ON_A_COPY: Final = "cp -a /lib/udev /run/lib; mount --bind /run/lib /lib/udev\n"
"""The machine's binary table is made anew, but not the machine's own."""


@pytest.fixture
def etc_udev(need: Callable[[str], None], tmp_path: Path) -> Path:
    need("root")
    need("umockdev")
    folder = tmp_path / "etc-udev"
    for place in ("rules.d", "hwdb.d"):
        (folder / place).mkdir(parents=True)
    return folder


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


# -- on this machine


def test_it_installs_and_again_changes_nothing_and_is_gone_without_a_trace(etc_udev: Path) -> None:
    steps = ["install", "install", "check", "uninstall"]
    script = "".join(f"{WIRELET} udev {step} 2>&1\nsha256sum </lib/udev/hwdb.bin\n" for step in steps)
    table = in_own_mounts(etc_udev, f"{ON_A_COPY} systemd-hwdb update --usr; sha256sum </lib/udev/hwdb.bin").strip()
    told = in_own_mounts(etc_udev, ON_A_COPY + script).splitlines()
    ours = told[3]
    later = "udevd does not run here; it reads the files when it starts"
    assert ours != table
    assert told == [
        *(f"installed {RULES}", f"installed {TABLE}", later, ours),
        *(f"unchanged {RULES}", f"unchanged {TABLE}", later, ours),
        *("ok", ours),
        *(f"removed {RULES}", f"removed {TABLE}", later, table),
    ]
    assert files_in(etc_udev) == []


def test_a_file_that_somebody_edited_is_told_and_mended(etc_udev: Path) -> None:
    install, check = f"{WIRELET} udev install 2>&1", f"{WIRELET} udev check 2>&1 || echo exit $?"
    told = in_own_mounts(etc_udev, f"{ON_A_COPY}{install}\necho '# mine' >>{RULES}\n{check}\n{install}\n{check}").splitlines()[3:]
    assert told[:2] == [f"{RULES}: is not the one of this version; sudo {WIRELET} udev install", "exit 1"]
    assert told[2:] == [f"installed {RULES}", f"unchanged {TABLE}", told[4], "ok"]


def test_a_table_that_was_not_compiled_is_told(etc_udev: Path) -> None:
    (etc_udev / "hwdb.bin").touch()
    script = f"{WIRELET} udev install; echo >/etc/udev/hwdb.d/empty.hwdb; rm /etc/udev/hwdb.bin\n{WIRELET} udev check 2>&1 || echo exit $?"
    told = in_own_mounts(etc_udev, script).splitlines()[3:]
    assert told == [f"{TABLE}: is not in udev's binary table; sudo {WIRELET} udev install", "exit 1"]


def test_a_file_that_somebody_switched_off_stays_off(etc_udev: Path) -> None:
    (etc_udev / "rules.d" / "61-wirelet.rules").symlink_to("/dev/null")
    for action in ("install", "uninstall"):
        told = in_own_mounts(etc_udev, f"{WIRELET} udev {action} 2>&1 || echo exit $?").splitlines()
        words = f"{RULES} is a link to /dev/null: somebody has switched the file off; remove the link first"
        assert told == [f"wirelet udev {action}: {words}", "exit 1"]
    assert files_in(etc_udev) == ["rules.d/61-wirelet.rules"]


# -- in an image


def test_an_image_is_installed_into_without_touching_this_machine(need: Callable[[str], None], etc_udev: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    told = in_own_mounts(etc_udev, f"for step in check install check; do {WIRELET} udev $step --root {image} 2>&1 || echo exit $?; done")
    install = f"sudo {WIRELET} udev install --root {image}"
    assert told.splitlines() == [
        *(f"{image}{path}: is not installed; {install}" for path in (RULES, TABLE)),
        "exit 1",
        *(f"installed {image}{path}" for path in (RULES, TABLE)),
        "ok",
    ]
    assert files_in(image) == ["etc/udev/hwdb.bin", "etc/udev/hwdb.d/61-wirelet.hwdb", "etc/udev/rules.d/61-wirelet.rules"]
    assert files_in(etc_udev) == []
    in_own_mounts(etc_udev, f"{WIRELET} udev uninstall --root {image}")
    assert files_in(image) == []


# -- what check says of ports


@pytest.fixture
def check(etc_udev: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """check(board, ..., then="...") is what `wirelet udev check` prints when udev has handled the boards, and a script after that."""
    (etc_udev / "hwdb.bin").touch()
    in_own_mounts(etc_udev, f"{WIRELET} udev install")

    def run(*boards: UsbDevice, then: str = "") -> list[str]:
        records = [*host(), *(record for board in boards for record in board.records())]
        bed = UdevBed(etc_udev, records, tmp_path / "boards.umockdev")
        # A mock tty is a link to a pty, whose mode nobody may set. What udev would do to the nodes is in test_udev.py.
        nodes = [f'"$UMOCKDEV_DIR/dev/{record.node}"' for record in records if record.node]
        handle = [f"udevadm test {shlex.quote(path)} >/dev/null 2>&1" for board in boards for path in paths_of(board)]
        mend = [f"rm -f {node}; touch {node}; chmod 660 {node}; chgrp dialout {node}" for node in nodes]
        return bed.run("\n".join([*handle, *mend, then, f"{WIRELET} udev check 2>&1 || echo exit $?"])).splitlines()

    return run


def paths_of(board: UsbDevice) -> list[str]:
    return [f"/sys{record.path}" for record in board.records() if record.subsystem != "usb" or record.node]


Check = Callable[..., list[str]]


def test_all_ports_and_their_names_are_listed(check: Check) -> None:
    told = check(CP2102, FT232R, BULK, then="for f in /sys/bus/usb-serial/devices/*/latency_timer; do printf '1\\n ' >$f; done")
    assert [line.split() for line in told] == [
        ["PORT", "CHIP", "NAMES"],
        ["/dev/bus/usb/001/012", "wirelet", f"{BY_PORT}:7,", "wirelet/by-serial/W0007"],
        ["/dev/ttyUSB0", "cp210x", f"{BY_PORT}:1:1.0-port0"],
        ["/dev/ttyUSB1", "ftdi", f"{BY_PORT}:2:1.0-port0,", "wirelet/by-serial/A5069RR4-if00-port0"],
        ["ok"],
    ]


def test_a_port_without_the_rules_is_told_with_the_way_to_mend_it(check: Check) -> None:
    (tty,) = CP2102.tty_syspaths.values()
    told = check(CP2102, CH340, then="rm /run/udev/data/c188:0 /run/udev/data/c189:2")
    assert told[-2:] == [f"/dev/ttyUSB0: the rules have not run for it; as root: udevadm trigger --settle {tty}", "exit 1"]


def test_a_wrong_group_is_told(check: Check) -> None:
    (tty,) = CH340.tty_syspaths.values()
    told = check(CH340, then='chmod 600 "$UMOCKDEV_DIR/dev/ttyUSB2"; chgrp root "$UMOCKDEV_DIR/dev/ttyUSB2"')
    assert told[-2:] == [
        f"/dev/ttyUSB2: belongs to group root with mode 0600 instead of dialout with 0660; as root: udevadm trigger --settle {tty};"
        f" if it stays, `udevadm test {tty}` names the rules that differ",
        "exit 1",
    ]


def test_a_latency_of_16_ms_is_told(check: Check) -> None:
    (tty,) = FT232R.tty_syspaths.values()
    told = check(FT232R, then="for f in /sys/bus/usb-serial/devices/*/latency_timer; do printf 16 >$f; done")
    assert told[-2:] == [
        f"/dev/ttyUSB1: its latency timer is 16 ms instead of 1 ms; as root: udevadm trigger --settle {tty.rsplit('/tty/')[0]}",
        "exit 1",
    ]


def test_two_boards_with_one_serial_number_are_told(check: Check) -> None:
    twins = [
        replace(FT232R, vendor=0x10C4, product=0xEA60, serial="SAME").moved(port=f"4.{n}", devnum=30 + n, ttys=[f"ttyUSB{n}"])
        for n in (1, 2)
    ]
    told = check(*twins)
    assert told[-2].startswith("/dev/wirelet/by-serial/SAME-if00-port0: /dev/ttyUSB1 and /dev/ttyUSB2 both want that name; ")
    assert told[-1] == "exit 1"


def test_a_board_that_the_table_does_not_know_is_a_note_with_the_line_to_add(check: Check) -> None:
    told = check(MODEM)
    assert told[-1] == "ok"
    assert told[-2].startswith("note: /dev/ttyUSB12: 12d1:1001 is not in the table")
    assert "usb:v12D1p1001*" in told[-2]

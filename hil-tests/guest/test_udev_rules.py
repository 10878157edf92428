"""Our rules with a running udevd and the real ftdi_sio: what hil-tests/test_udev.py asks udevadm about mock devices, once in earnest."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Callable, Iterator
from typing import Final

import pytest
from guest.ft232 import Latency
from guest.inside import await_entries, await_path, write_files
from guest.machine import Guest
from guest.stand import Stand
from guest.tty import Tty

BY_SERIAL: Final = "/dev/wirelet/by-serial"
BY_PORT: Final = "/dev/wirelet/by-port"
LOCAL_TABLE: Final = "/etc/udev/hwdb.d/62-local.hwdb"
RULES: Final = "/etc/udev/rules.d/61-wirelet.rules"
TABLE: Final = "/etc/udev/hwdb.d/61-wirelet.hwdb"


def wirelet_udev(guest: Guest, action: str) -> list[str]:
    process = guest.start_module("gateway", "udev", action)
    exit_code = process.wait()
    assert exit_code == 0, process.output
    return process.output.splitlines()


@pytest.fixture(scope="module", autouse=True)
def rules(guest: Guest) -> Iterator[None]:
    """Installed while udevd runs, and taken away again."""
    # Not udev's own table, which takes half a minute to compile here.
    guest.run("mount", "-t", "tmpfs", "tmpfs", "/lib/udev/hwdb.d")
    wirelet_udev(guest, "install")
    yield
    wirelet_udev(guest, "uninstall")
    guest.run("umount", "/lib/udev/hwdb.d")


def test_an_adapter_has_its_name_its_group_and_a_latency_of_a_millisecond(stand: Stand) -> None:
    adapter = stand.ft232("W4001")
    tty = stand.guest.call(await_path, f"{BY_SERIAL}/W4001-if00-port0")
    assert tty == adapter.await_plugged()
    node = stand.guest.call(os.stat, tty)
    assert (stat.S_IMODE(node.st_mode), node.st_gid) == (0o660, grp.getgrnam("dialout").gr_gid)
    assert [happening for happening in adapter.happened() if isinstance(happening, Latency)][-1] == Latency(1)

    port, told, ok = wirelet_udev(stand.guest, "check")
    assert port.split() == ["PORT", "CHIP", "NAMES"]
    assert told.split()[:2] == [tty, "ftdi"]
    assert told.split()[-1] == "wirelet/by-serial/W4001-if00-port0"
    assert ok == "ok"


def test_two_adapters_without_serial_numbers_are_told_apart_by_port(stand: Stand) -> None:
    adapters = [stand.ft232(""), stand.ft232("")]
    names = stand.guest.call(await_entries, BY_PORT, 2)
    ttys = [stand.guest.call(await_path, name) for name in names]
    assert len(set(ttys)) == 2
    assert stand.guest.call(await_entries, BY_SERIAL, 0) == []

    adapters[0].unplug()
    (left,) = stand.guest.call(await_entries, BY_PORT, 1)
    adapters[0].plug()
    assert stand.guest.call(await_entries, BY_PORT, 2) == names
    assert stand.guest.call(await_path, left) == ttys[names.index(left)]


def test_a_bulk_board_may_be_opened_by_the_group_and_by_nobody_else(stand: Stand) -> None:
    board = stand.usb_board("board-u")
    node = board.await_plugged()
    assert stand.guest.call(await_path, f"{BY_SERIAL}/{board.serial}") == node
    member = stand.calls(user="nobody", groups=("dialout",))
    member.call(os.close, member.call(os.open, node, os.O_RDWR))
    stranger = stand.calls(user="nobody")
    with pytest.raises(PermissionError):
        stranger.call(os.open, node, os.O_RDWR)


def test_what_is_plugged_in_is_forgotten_and_named_again_at_once(stand: Stand) -> None:
    adapter = stand.ft232("W4003")
    tty = adapter.await_plugged()
    assert stand.guest.call(await_path, f"{BY_SERIAL}/W4003-if00-port0") == tty
    now = "udev has applied it to what is plugged in"
    assert wirelet_udev(stand.guest, "uninstall") == [f"removed {RULES}", f"removed {TABLE}", now]
    assert not stand.guest.call(os.path.lexists, f"{BY_SERIAL}/W4003-if00-port0")
    told = stand.guest.run("udevadm", "info", tty)
    assert "WIRELET" not in told
    assert "E: CURRENT_TAGS=:systemd:\n" in told  # TAGS keeps those of the past
    assert wirelet_udev(stand.guest, "install") == [f"installed {RULES}", f"installed {TABLE}", now]
    assert stand.guest.call(os.path.realpath, f"{BY_SERIAL}/W4003-if00-port0") == tty


def test_a_stuck_close_is_not_waited_for_where_somebody_asks_for_it(need: Callable[[str], None], stand: Stand) -> None:
    need("setserial")
    stand.guest.call(write_files, {LOCAL_TABLE: "usb:v0403p6001*\n WIRELET_CLOSING_WAIT=none\n"})
    wirelet_udev(stand.guest, "install")
    try:
        adapter = stand.ft232("W4004")
        tty = stand.guest.call(await_path, f"{BY_SERIAL}/W4004-if00-port0")
        assert "closing_wait: none" in stand.guest.run("setserial", "-a", tty)
        port = stand.calls().keep(Tty, tty)
        adapter.stick()
        port.write(b"never taken")
        port.close()
    finally:
        stand.guest.call(os.unlink, LOCAL_TABLE)
        wirelet_udev(stand.guest, "install")

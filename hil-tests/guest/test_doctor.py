"""`wirelet doctor` on a machine whose clock and USB hubs are the test's own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from guest.inside import await_no_usb, await_usb, mark_clock, write_files
from guest.machine import SERIAL_BUS, Guest
from guest.stand import Stand

FILE: Final = "/run/doctor/gateway.yaml"
PORT: Final = "7"
"""Of the bus; tests take adapters from the lowest on."""
HUB: Final = "hub-of-doctor"


def findings(guest: Guest, subject: str, **configuration: Any) -> list[str]:
    """What doctor says of the subject, notes included."""
    whole = {"apiVersion": "wirelet.dev/v1alpha1", "kind": "GatewayConfiguration", "node": {"name": "x"}, **configuration}
    guest.call(write_files, {FILE: json.dumps(whole)})
    doctor = guest.start_module("gateway", "doctor", "--config", FILE, "--socket", "/nowhere")
    doctor.wait()
    assert "Traceback" not in doctor.output, doctor.output
    lines = [line.removeprefix("note: ") for line in doctor.output.splitlines()]
    return [line.removeprefix(f"{subject}: ") for line in lines if line.startswith(f"{subject}: ")]


@pytest.fixture
def clock(stand: Stand) -> Iterator[str]:
    """What the guest's clock says now; it says so again afterwards."""
    before = stand.guest.run("date", "+%Y-%m-%d %H:%M").strip()
    yield before
    stand.guest.run("date", "-s", before)
    stand.guest.call(mark_clock, False)


def test_a_clock_that_is_not_set_is_found_until_it_is(stand: Stand, clock: str) -> None:
    stand.guest.run("date", "-s", "2000-01-01")
    (finding,) = findings(stand.guest, "clock")
    assert finding.startswith("it says 2000-01-01 00:0")
    fix = finding.rpartition("or set it: ")[2].replace("YYYY-MM-DD hh:mm", clock)
    stand.guest.run("sh", "-c", fix)
    assert not any(each.startswith("it says") for each in findings(stand.guest, "clock"))


def test_a_clock_that_nobody_keeps_right_is_noted_until_somebody_does(stand: Stand, clock: str) -> None:
    stand.guest.call(mark_clock, False)
    (note,) = findings(stand.guest, "clock")
    assert note == "no NTP client keeps it right, as the kernel knows; as root: timedatectl set-ntp true"
    stand.guest.call(mark_clock, True)  # which is what that client does; there is no network here
    assert findings(stand.guest, "clock") == []


@contextlib.contextmanager
def hub(guest: Guest, **properties: Any) -> Iterator[None]:
    """Plugged in. The kernel has seen it go in the end: the next one would be taken for it, and reset for half a minute."""
    place = {"id": HUB, "bus": SERIAL_BUS, "port": PORT, "serial": HUB}
    guest.qmp.execute_when_free("device_add", {"driver": "usb-hub", **place, **properties})
    try:
        guest.call(await_usb, HUB)
        yield
    finally:
        guest.qmp.execute("device_del", {"id": HUB})
        guest.call(await_no_usb, HUB)


def test_a_hub_that_cannot_switch_is_found_until_another_one_is_plugged_in(stand: Stand) -> None:
    guest, places = stand.guest, f"{PORT}.1"
    with hub(guest):
        adapter = stand.usb_serial("W0DOC", places)
        stand.board(adapter.socket, "board-a")
        adapter.await_plugged()
        cycle = {"command": ["uhubctl", "-a", "cycle", "-l", "1-7", "-p", "1"]}
        setup = {
            "classes": [{"name": "sim", "hooks": {"power": {"cycle": cycle}}}],
            "devices": [{"name": "board-a", "class": "sim", "link": {"serial": {"path": adapter.by_id}}}],
        }
        told = [each for each in findings(guest, "board-a", **setup) if "uhubctl" in each]
        adapter.unplug()
        adapter.await_unplugged()
    assert len(told) == 1, told
    assert "cannot switch the power of its ports; use a hub that `uhubctl` lists with ppps" in told[0]
    with hub(guest, **{"port-power": True}):
        adapter.plug(places)
        adapter.await_plugged()
        assert not any("uhubctl" in each for each in findings(guest, "board-a", **setup))
        adapter.unplug()
        adapter.await_unplugged()

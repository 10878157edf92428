"""Pods on boards behind the real ftdi_sio: what a restart of the gateway, a wrong rate and a stuck board do to them."""

from __future__ import annotations

import re
import signal
from typing import Any

from guest.auto_reset import Boot
from guest.ft232 import Lines
from guest.gateway import counter
from guest.stand import Stand

UP = Lines(dtr=True, rts=True)


def configuration(path: str, **options: Any) -> dict[str, Any]:
    return {
        "node": {"name": "desk"},
        "classes": [{"name": "sim", "slots": 2, "shared": True}],
        "devices": [{"name": "board", "class": "sim", "link": {"serial": {"path": path, **options}}}],
    }


def is_running(pod: dict[str, Any]) -> bool:
    return pod.get("status") == "Running" and pod["ready"] == 1


def test_a_gateway_that_is_killed_and_started_again_resets_no_board(stand: Stand) -> None:
    adapter = stand.ft232("W2100")
    adapter.board("board", has_auto_reset=True)
    adapter.await_plugged()
    gateway = stand.gateway(configuration(adapter.by_id, modemLines="esp-autoreset"), counter("counter"))
    before = gateway.await_pod("counter", is_running)
    gateway.process.stop(signal.SIGKILL)
    gateway.start()
    after = gateway.await_pod("counter", is_running)
    assert (after["uid"], after["restarts"]) == (before["uid"], 0)
    assert {lines for lines in adapter.happened() if isinstance(lines, Lines)} == {UP}
    assert adapter.boots() == []


def test_a_wrong_baud_rate_is_told_and_its_errors_are_counted(stand: Stand) -> None:
    adapter = stand.ft232("W2101")
    adapter.board("board", baud=38400)
    adapter.await_plugged()
    gateway = stand.gateway(configuration(adapter.by_id, baud=115200))
    row = gateway.await_device_told("board", "BaudMismatch")
    assert row["state"] == "Connecting"
    assert re.match(r"BaudMismatch: \d+ framing errors in \d+ bytes and nothing that can be decoded", row["message"])
    counted = re.search(r'^wirelet_line_errors_total\{device="board",kind="framing"\} (\d+)$', gateway.metrics(), re.MULTILINE)
    assert counted is not None
    assert int(counted[1]) >= 3


def test_a_board_that_takes_nothing_is_reset_by_its_lines(stand: Stand) -> None:
    adapter = stand.ft232("W2102")
    adapter.board("board", has_auto_reset=True)
    adapter.await_plugged()
    gateway = stand.gateway(configuration(adapter.by_id, modemLines="esp-autoreset"), counter("counter"))
    gateway.await_pod("counter", is_running)
    adapter.stick()
    gateway.delete_pod("counter")
    gateway.process.wait_for("rung=reset", 90)
    adapter.await_boots([Boot.PROGRAM])
    adapter.unstick()
    gateway.await_pod("counter", lambda pod: not pod)

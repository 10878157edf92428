"""A Linux shell behind a real ftdi_sio: commands through a console whose cable is pulled, and what is typed to them."""

from __future__ import annotations

from typing import Any

from guest.ft232_adapter import Ft232Adapter
from guest.gateway import Gateway, is_running
from guest.stand import Stand

SHELL = ("env", "PS1=board:~# ", "HISTFILE=/dev/null", "dash", "-i")


def job(name: str, program: str, **more: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "any", "command": ["sh", "-c", program], **more}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": [container]}}


def console(stand: Stand, serial: str, *pods: dict[str, Any]) -> tuple[Ft232Adapter, Gateway]:
    adapter = stand.ft232(serial)
    adapter.terminal(*SHELL)
    adapter.await_plugged()
    configuration = {
        "node": {"name": "desk"},
        "classes": [{"name": "linux", "shared": True, "protocol": {"console": {"profile": "shell", "prompts": ["# "]}}}],
        "devices": [{"name": "board-0", "class": "linux", "link": {"serial": {"match": {"usbSerial": serial}}}}],
    }
    return adapter, stand.gateway(configuration, *pods)


def test_a_command_runs_on_the_shell_of_a_board_behind_an_ft232(stand: Stand) -> None:
    program = 'printf "<%s>\\n" "$V"; seq 2000; exit 3'
    _, gateway = console(stand, "W2101", job("numbers", program, env=[{"name": "V", "value": "it's $HOME"}]))
    gateway.await_pod("numbers", lambda row: row.get("status") == "Error")
    assert gateway.cli("logs", "numbers").splitlines() == ["<it's $HOME>", *(str(number) for number in range(1, 2001))]


def test_a_command_goes_on_while_the_cable_is_out_and_its_end_is_asked_for(stand: Stand) -> None:
    adapter, gateway = console(stand, "W2102", job("long", "echo up; sleep 6; exit 4"))
    gateway.await_pod("long", is_running)
    gateway.follow_log("long").wait_for("up\n")
    adapter.unplug()
    adapter.await_unplugged()
    gateway.await_device("board-0", "Disconnected")
    adapter.plug()
    adapter.await_plugged()
    gateway.await_pod("long", lambda row: row.get("status") == "Error")
    assert "nobody was reading" in gateway.cli("logs", "long")

"""`wirelet doctor`: each thing that it finds is there for real, what it says to do is done, and then it is not found any more."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
import umockdev
from gateways import WIRELET, device
from processes import Process
from workbench import Workbench

WITHOUT_RIGHTS: Final = """
import contextlib, io, os, sys
from gateway.cli import main
groups, argv = [int(group) for group in sys.argv[1].split()], sys.argv[2:]
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    main(argv)  # all that it imports may be nobody else's to read
os.setgroups(groups), os.setgid(65534), os.setuid(65534)
sys.exit(main(argv))
"""

SUPPLY: Final = """
import sys
from gateway.cli import main
from umockdev import Testbed
from usb_tree import Record, text

FIRMWARE = "/devices/platform/soc/soc:firmware"
SENSOR = f"{FIRMWARE}/raspberrypi-hwmon/hwmon/hwmon1"
firmware = Record(FIRMWARE, "platform", attributes={"get_throttled": "0"})
sensor = Record(SENSOR, "hwmon", attributes={"name": "rpi_volt", "in0_lcrit_alarm": "0"})
with Testbed() as bed:
    bed.add_from_string(text([firmware, sensor]))
    for throttled, alarm in [("50005", "0"), ("0", "1"), ("50000", "0"), ("0", "0")]:
        bed.set_attribute(f"/sys{FIRMWARE}", "get_throttled", throttled)
        bed.set_attribute(f"/sys{SENSOR}", "in0_lcrit_alarm", alarm)
        print("@", throttled, alarm, file=sys.stderr)
        main(["doctor", "--config", sys.argv[1], "--socket", "/nowhere"])
"""


class Clinic:
    """A configuration with one device, `board`, at a port."""

    def __init__(self, folder: Path, port: Path) -> None:
        self.file = folder / "gateway.yaml"
        self.document = {
            "apiVersion": "wirelet.dev/v1alpha1",
            "kind": "GatewayConfiguration",
            "node": {"name": "desk"},
            "classes": [{"name": "sim", "shared": True}],
            "devices": [device("board", "sim", port)],
        }
        self.file.write_text(json.dumps(self.document))

    def findings(self, *, program: Sequence[str] = WIRELET, socket: Path = Path("/nowhere")) -> list[tuple[str, str]]:
        """(what is wrong, what to do) of the board. The machine itself may lack things, too."""
        argv = [*program, "doctor", "--config", str(self.file), "--socket", str(socket)]
        ran = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
        lines = [line.removeprefix("board: ") for line in ran.stderr.splitlines() if line.startswith("board: ")]
        assert not lines or ran.returncode == 1
        return [(problem, fix) for problem, _, fix in (line.partition("; ") for line in lines)]


@pytest.fixture
def tty() -> Iterator[Path]:
    """A pty's end that anybody may open, with somebody at the other one."""
    far, near = pty.openpty()
    path = Path(os.ttyname(near))
    path.chmod(0o666)
    os.close(near)
    yield path
    os.close(far)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Anybody may look into it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def await_end(process: Process) -> None:
    deadline = time.monotonic() + 10
    while not process.has_ended:
        assert time.monotonic() < deadline, process.log_tail()
        time.sleep(0.02)


def do(fix: str) -> None:
    subprocess.run(["sh", "-c", fix.partition(": ")[2]], check=True)


def test_a_second_opener_is_named_and_the_way_to_end_it_works(tmp_path: Path, tty: Path, workbench: Workbench) -> None:
    clinic = Clinic(tmp_path, tty)
    assert clinic.findings() == []
    opener = workbench.process("opener", ["sh", "-c", f"exec 3<>{tty}; echo has it; exec sleep 1000"])
    opener.wait_for(lambda: "has it" in opener.log_tail(), "the other program")
    ((problem, fix),) = clinic.findings()
    assert problem == f"{tty} is open in process {opener.pid} (sleep)"
    assert fix.endswith(f"kill {opener.pid}")
    do(fix)
    await_end(opener)
    assert clinic.findings() == []


def test_a_name_that_is_no_text_is_told_as_text(tmp_path: Path, tty: Path, workbench: Workbench) -> None:
    named = f"exec 3<>{tty}; printf '\\377\\033[2J' >/proc/$$/comm; echo has it; read nothing"
    opener = workbench.process("opener", ["sh", "-c", named], has_stdin=True)
    opener.wait_for(lambda: "has it" in opener.log_tail(), "the other program")
    ((problem, _),) = Clinic(tmp_path, tty).findings()
    assert problem == f"{tty} is open in process {opener.pid} (\N{REPLACEMENT CHARACTER}?[2J)"


def test_a_login_on_the_port_is_found(tmp_path: Path, tty: Path, workbench: Workbench, need: Callable[[str], None]) -> None:
    need("root")
    agetty = shutil.which("agetty", path="/sbin:/usr/sbin")
    assert agetty is not None
    clinic = Clinic(tmp_path, tty)
    login = workbench.process(
        "login", [agetty, "--noreset", "--login-pause", "--local-line", "9600", str(tty).removeprefix("/dev/"), "dumb"]
    )
    login.wait_for(lambda: bool(clinic.findings()), "the login to open the port")
    ((problem, fix),) = clinic.findings()
    assert problem == f"{tty} is open in process {login.pid} (agetty)"
    do(fix)
    await_end(login)
    assert clinic.findings() == []


def test_gateway_and_simulator_are_no_strangers(tmp_path: Path, workbench: Workbench) -> None:
    boards = workbench.boards(1)
    clinic = Clinic(tmp_path, boards.links[0])
    pods = tmp_path / "pods"
    pods.mkdir()
    gateway = workbench.gateway(clinic.document, "--standalone", "--manifests", str(pods))
    gateway.process.wait_for(lambda: "Ready" in gateway.cli("get", "devices"), "the board")
    assert clinic.findings(socket=gateway.socket) == []
    ((problem, _),) = clinic.findings(socket=tmp_path / "of another one")
    assert f"is open in process {gateway.process.pid} (" in problem


def test_flow_control_that_somebody_turns_on_below_the_gateway_is_found(tmp_path: Path, workbench: Workbench) -> None:
    boards = workbench.boards(1)
    clinic = Clinic(tmp_path, boards.links[0])
    pods = tmp_path / "pods"
    pods.mkdir()
    gateway = workbench.gateway(clinic.document, "--standalone", "--manifests", str(pods))
    gateway.process.wait_for(lambda: "Ready" in gateway.cli("get", "devices"), "the board")
    subprocess.run(["stty", "-F", str(boards.links[0]), "ixon"], check=True)
    ((problem, fix),) = clinic.findings(socket=gateway.socket)
    assert problem.startswith(f"somebody has turned XON/XOFF on for {boards.links[0]}")
    do(fix)
    assert clinic.findings(socket=gateway.socket) == []


def test_a_port_that_is_missing_is_told_until_it_is_plugged_in(tmp_path: Path, workbench: Workbench) -> None:
    boards = workbench.boards(1)
    clinic = Clinic(tmp_path, boards.links[0])
    boards.unplug()
    assert clinic.findings() == [
        (f"{boards.links[0]}: there is no such file", "plug it in, or look for it with: wirelet get devices --all")
    ]
    boards.plug()
    assert clinic.findings() == []


def test_who_may_not_open_the_port_is_told_the_group_that_may(open_folder: Path, tty: Path, need: Callable[[str], None]) -> None:
    need("root")
    clinic = Clinic(open_folder, tty)
    tty.chmod(0o660)
    (finding,) = clinic.findings(program=[sys.executable, "-c", WITHOUT_RIGHTS, ""])
    assert finding == (f"you may not open {tty}", f"as root: usermod -aG {tty.group()} $USER; then log in anew")
    assert clinic.findings(program=[sys.executable, "-c", WITHOUT_RIGHTS, str(tty.stat().st_gid)]) == []


def test_under_voltage_is_found_for_as_long_as_the_firmware_tells_it(tmp_path: Path, tty: Path, need: Callable[[str], None]) -> None:
    need("umockdev")
    clinic = Clinic(tmp_path, tty)
    environment = umockdev.environment({**os.environ, "PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[1]}"})
    argv = [sys.executable, "-c", SUPPLY, str(clinic.file)]
    ran = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=True)
    looks = ran.stderr.split("@ ")[1:]
    told = [[line.partition(": ")[2].partition(";")[0] for line in look.splitlines() if line.startswith("power: ")] for look in looks]
    low, was_low = "the supply voltage of this machine is too low", "the supply voltage of this machine has been too low"
    assert told == [[f"{low}, which resets USB devices"], [f"{low}, which resets USB devices"], [f"{was_low} since it was started"], []]

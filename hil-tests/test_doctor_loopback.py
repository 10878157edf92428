"""`wirelet doctor --loopback`: a port whose TX and RX are joined, and what keeps bytes from coming back.

The far end is a tty with `cat`.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from gateways import WIRELET, device
from processes import Process
from raw_port import RawPort
from workbench import Workbench

from transports.loopback import BAUDS

ALL_RATES: Final = "at 9600 to 3000000 baud"


class Loop:
    """What is written to port goes through the tty far and comes back."""

    def __init__(self, folder: Path, workbench: Workbench) -> None:
        self.port, self.far = folder / "port", folder / "far"
        ends = [f"pty,raw,echo=0,link={end}" for end in (self.port, self.far)]
        socat = workbench.process("socat", ["socat", *ends])
        socat.wait_for(lambda: self.port.exists() and self.far.exists(), "the ttys")
        self.wire: Process
        self.join(workbench)

    def join(self, workbench: Workbench) -> None:
        """TX and RX."""
        self.wire = wire = workbench.process("wire", ["sh", "-c", f"exec <{self.far} >{self.far}; echo joined >&2; exec cat"])
        wire.wait_for(lambda: "joined" in wire.log_tail(), "the wire")

    def set_far(self, *settings: str) -> None:
        subprocess.run(["stty", "-F", self.far, *settings], check=True)


@pytest.fixture
def loop(tmp_path: Path, workbench: Workbench, need: Callable[[str], None]) -> Loop:
    need("socat")
    return Loop(tmp_path, workbench)


def doctor(port: Path) -> subprocess.CompletedProcess[str]:
    argv = [*WIRELET, "doctor", "--loopback", str(port)]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)


def test_a_wire_gives_every_value_back_at_every_rate(loop: Loop) -> None:
    ran = doctor(loop.port)
    assert (ran.returncode, ran.stderr) == (0, "")
    header, *rates, last = ran.stdout.splitlines()
    assert header.split() == ["BAUD", "CAME", "BACK"]
    assert [line.split()[0] for line in rates] == [str(baud) for baud in BAUDS]
    assert {line.split(maxsplit=1)[1] for line in rates} == {"every byte value"}
    assert last == "ok"


TAKEN: Final = [
    ("ixon", "0x11, 0x13 never come back"),
    ("istrip", "0x80 to 0xff never come back, and others come instead"),
    ("icrnl", "0x0d never come back, and others come instead"),
]


@pytest.mark.parametrize(("setting", "problem"), TAKEN)
def test_what_the_far_end_takes_is_named_until_its_tty_is_set_right(loop: Loop, setting: str, problem: str) -> None:
    loop.set_far(setting)
    ran = doctor(loop.port)
    assert ran.returncode == 1
    (finding,) = ran.stderr.splitlines()
    assert finding.startswith(f"{loop.port}: {ALL_RATES} {problem}; ")
    fix = finding.rpartition("if that is a tty, ")[2].replace("ITS_TTY", str(loop.far))
    subprocess.run(["sh", "-c", fix], check=True)
    assert doctor(loop.port).returncode == 0


def test_a_port_without_its_wire_gives_nothing_back_until_it_is_joined(loop: Loop, workbench: Workbench) -> None:
    loop.wire.stop()
    ran = doctor(loop.port)
    assert ran.returncode == 1
    assert ran.stderr == f"{loop.port}: {ALL_RATES} nothing comes back; join TX and RX of the port, and nothing else\n"
    loop.join(workbench)
    assert doctor(loop.port).returncode == 0


def test_a_device_that_talks_is_sent_nothing(tmp_path: Path) -> None:
    talker = RawPort(tmp_path / "board")
    stop = threading.Event()

    def talk() -> None:
        while not stop.wait(0.02):
            talker.send(b"tick\n")

    talking = threading.Thread(target=talk)
    talking.start()
    try:
        ran = doctor(talker.link)
    finally:
        stop.set()
        talking.join()
        talker.close()
    assert ran.returncode == 1
    assert f"{ALL_RATES} a device talks there, so nothing was sent; join TX and RX" in ran.stderr
    assert talker.received == b""


def test_a_port_that_the_gateway_has_is_lent_for_it(loop: Loop, tmp_path: Path, workbench: Workbench) -> None:
    pods = tmp_path / "pods"
    pods.mkdir()
    document = {"node": {"name": "x"}, "classes": [{"name": "sim", "shared": True}], "devices": [device("board", "sim", loop.port)]}
    gateway = workbench.gateway(document, "--standalone", "--manifests", str(pods))
    gateway.process.wait_for(lambda: "another process holds the port" in doctor(loop.port).stderr, "the gateway to open the port")
    refused = doctor(loop.port).stderr
    fix = refused.rpartition("if the gateway has it: ")[2].replace("DEVICE", "board").replace("wirelet ", "", 1)
    lent = gateway.run_cli(*fix.split()[:2], "--", *WIRELET, *fix.split()[4:])
    assert (lent.returncode, lent.stdout.splitlines()[-1]) == (0, "ok"), lent.stderr

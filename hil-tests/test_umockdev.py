"""The mock devices themselves: what a program of udev's own sees of a board that is plugged in, pulled and plugged in again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
import umockdev

DEADLINE_S: Final = 30
PLACE: Final = "/devices/pci0000:00/0000:00:14.0/usb1/1-2"
STORY: Final = """
import os, subprocess
from adapters import FT232R
from umockdev import Testbed
from usb_tree import host, text

def tell(count):
    # An event is a heading and properties up to an empty line.
    for _ in range(count):
        words = monitor.stdout.readline().split()
        properties = dict(line.rstrip().split("=", 1) for line in iter(monitor.stdout.readline, "\\n"))
        print(*words[2:4], properties.get("ID_PATH", ""), properties.get("DEVNUM", ""))

with Testbed() as bed:
    bed.add_from_string(text(host()))
    monitor = subprocess.Popen(["udevadm", "monitor", "--udev", "--property"], stdout=subprocess.PIPE, text=True)
    while monitor.stdout.readline() != "\\n":
        pass
    bed.plug(FT232R, {FT232R.paths[-1]: {"ID_PATH": "somewhere"}})
    tell(4)
    print("tty of", os.readlink("/sys/class/tty/ttyUSB1/device"))
    bed.unplug(FT232R)
    tell(4)
    print("left", os.listdir("/sys/class/tty"), os.path.exists("/dev/ttyUSB1"))
    bed.plug(FT232R.moved(devnum=44))
    tell(4)
    print("there", os.listdir("/sys/class/tty"), os.path.exists("/dev/ttyUSB1"), sorted(os.listdir("/dev/bus/usb/001")))
    monitor.kill()
    monitor.wait()
"""


def test_a_board_is_plugged_in_pulled_and_plugged_in_again(need: Callable[[str], None]) -> None:
    need("umockdev")
    told = child(STORY)
    assert told.stderr == ""
    assert [line.rstrip() for line in told.stdout.splitlines()] == [
        f"add {PLACE}  004",
        f"add {PLACE}/1-2:1.0",
        f"add {PLACE}/1-2:1.0/ttyUSB1",
        f"add {PLACE}/1-2:1.0/ttyUSB1/tty/ttyUSB1 somewhere",
        "tty of ../../../ttyUSB1",
        f"remove {PLACE}/1-2:1.0/ttyUSB1/tty/ttyUSB1 somewhere",
        f"remove {PLACE}/1-2:1.0/ttyUSB1",
        f"remove {PLACE}/1-2:1.0",
        f"remove {PLACE}  004",
        "left [] False",
        f"add {PLACE}  044",
        f"add {PLACE}/1-2:1.0",
        f"add {PLACE}/1-2:1.0/ttyUSB1",
        f"add {PLACE}/1-2:1.0/ttyUSB1/tty/ttyUSB1",
        "there ['ttyUSB1'] True ['001', '044']",
    ]


def test_a_wrong_record_is_told_in_the_library_s_words(need: Callable[[str], None]) -> None:
    need("umockdev")
    told = child("from umockdev import Testbed\nwith Testbed() as bed:\n    bed.add_from_string('X: nothing')")
    assert "ValueError" in told.stderr


def test_a_process_that_was_not_started_for_it_is_told_so() -> None:
    with pytest.raises(RuntimeError, match="LD_PRELOAD"):
        umockdev.Testbed()


def child(program: str) -> subprocess.CompletedProcess[str]:
    environment = umockdev.environment({**os.environ, "PYTHONPATH": str(Path(__file__).parent)})
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False)

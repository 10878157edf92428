"""The latency timer of an FTDI chip, where the driver shows it: a file of sysfs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from transports.latency import set_latency_timer, timer_of
from transports.tests.pty_end import PtyEnd


@pytest.fixture
def port() -> Iterator[int]:
    end = PtyEnd()
    fd = os.open(end.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    yield fd
    os.close(fd)
    end.close()


@pytest.fixture
def timer(port: int, tmp_path: Path) -> Path:
    timer = timer_of(os.fstat(port).st_rdev, tmp_path)
    timer.parent.mkdir(parents=True)
    timer.write_text("16\n")
    return timer


def test_the_timer_is_found_by_the_ports_number() -> None:
    assert timer_of(os.makedev(188, 3), Path("/sys")) == Path("/sys/dev/char/188:3/device/latency_timer")


def test_the_timer_is_set(port: int, timer: Path, tmp_path: Path) -> None:
    assert set_latency_timer(port, 2, sysfs=tmp_path) is None
    assert timer.read_text() == "2"


def test_a_timer_that_is_right_is_left_alone(port: int, timer: Path, tmp_path: Path) -> None:
    timer.chmod(0o444)
    before = timer.stat().st_mtime_ns
    assert set_latency_timer(port, 16, sysfs=tmp_path) is None
    assert timer.stat().st_mtime_ns == before


def test_a_port_that_has_none_says_so(port: int, tmp_path: Path) -> None:
    assert set_latency_timer(port, 1, sysfs=tmp_path) == "it has no latency timer, which only FTDI chips have"


def test_what_the_driver_refuses_is_told(port: int, timer: Path, tmp_path: Path) -> None:
    timer.unlink()
    timer.mkdir()
    why = set_latency_timer(port, 1, sysfs=tmp_path)
    assert why == f"{timer}: Is a directory"

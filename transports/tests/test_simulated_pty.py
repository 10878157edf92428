"""A board behind a pty has a stable path that vanishes and comes back with the cable."""

from __future__ import annotations

import errno
import os
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from transports.simulated.pty import PtyPort


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[PtyPort]:
    port = PtyPort(str(tmp_path / "board"))
    port.plug()
    yield port
    port.unplug()


def open_port(port: PtyPort) -> int:
    return os.open(port.path, os.O_RDWR | os.O_NOCTTY)


def is_there(path: str) -> bool:
    return os.path.lexists(path)


def has_hung_up(host: int) -> bool:
    """Linux gives the end of file or EIO."""
    try:
        return os.read(host, 1) == b""
    except OSError as exc:
        return exc.errno == errno.EIO


async def test_bytes_pass_raw_in_both_directions(port: PtyPort) -> None:
    host = open_port(port)
    await port.send(b"\r\n\x03\0\xff")
    assert os.read(host, 100) == b"\r\n\x03\0\xff"
    os.write(host, b"\r\x04\0")
    assert await port.receive() == b"\r\x04\0"
    assert termios.tcgetattr(host)[3] & (termios.ECHO | termios.ICANON | termios.ISIG) == 0
    os.close(host)


async def test_a_port_that_is_closed_and_opened_again_is_the_same(port: PtyPort) -> None:
    for word in (b"one", b"two"):
        host = open_port(port)
        os.write(host, word)
        assert await port.receive() == word
        os.close(host)


async def test_pulling_the_cable_hangs_up_and_takes_the_path_away(port: PtyPort) -> None:
    host = open_port(port)
    port.unplug()
    assert not is_there(port.path)
    assert has_hung_up(host)
    os.close(host)
    await port.send(b"into the air")
    port.plug()
    host = open_port(port)
    os.write(host, b"again")
    assert await port.receive() == b"again"
    os.close(host)


async def test_pulling_the_cable_frees_who_waits_for_it(port: PtyPort) -> None:
    got: list[bytes] = []

    async def receive() -> None:
        got.append(await port.receive())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(receive)
        tasks.start_soon(port.send, b"x" * 1_000_000)
        await anyio.wait_all_tasks_blocked()
        port.unplug()
        await anyio.wait_all_tasks_blocked()
        port.plug()
        host = open_port(port)
        os.write(host, b"new cable")
    assert got == [b"new cable"]
    os.close(host)


async def test_a_link_of_a_killed_process_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "board"
    path.symlink_to("/dev/pts/99999")
    port = PtyPort(str(path))
    port.plug()
    assert path.exists()
    port.unplug()
    assert not path.is_symlink()


async def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "board"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="no link of a simulated device"):
        PtyPort(str(path)).plug()
    assert path.read_text() == "precious"


async def test_a_link_to_something_else_is_not_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "board"
    path.symlink_to("/dev/null")
    with pytest.raises(FileExistsError, match="no link of a simulated device"):
        PtyPort(str(path)).plug()
    assert os.readlink(path) == "/dev/null"


async def test_somebody_elses_link_is_left_alone(port: PtyPort) -> None:
    os.unlink(port.path)
    os.symlink("/dev/null", port.path)
    port.unplug()
    assert os.readlink(port.path) == "/dev/null"
    os.unlink(port.path)

"""Ports of other machines: the Link contract through a real ser2net, by RFC 2217 and by a plain socket."""

from __future__ import annotations

import contextlib
import fcntl
import os
import termios
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import anyio
import anyio.to_thread
import pytest
from processes import Reaper, free_port
from ser2net import Accepter, Ser2net

from transports.link import LinkOpener
from transports.rfc2217 import Rfc2217LinkOpener
from transports.serial_options import PortSettings
from transports.tcp_link import TcpLinkOpener
from transports.testing.link_contract import FarEnd, LinkContract, opened, read_exactly
from transports.tests.pty_end import PtyEnd


def rfc2217(port: int) -> LinkOpener:
    return Rfc2217LinkOpener("127.0.0.1", port, PortSettings())


def plain(port: int) -> LinkOpener:
    return TcpLinkOpener("127.0.0.1", port)


class RemoteEnd:
    """A device at a pty, behind a server of its own."""

    def __init__(self, server: Ser2net, end: PtyEnd) -> None:
        self._server = server
        self._end = end

    async def send(self, data: bytes) -> None:
        await self._end.send(data)

    async def receive(self) -> bytes:
        return await self._end.receive()

    async def hang_up(self) -> None:
        await anyio.to_thread.run_sync(self._server.kill)


class Ser2netStand:
    def __init__(self, folder: Path, accepter: Accepter, opener: Callable[[int], LinkOpener]) -> None:
        self._folder = folder
        self._accepter: Accepter = accepter
        self._opener = opener
        self._clearing = contextlib.ExitStack()
        self._reaper = Reaper()
        self._clearing.callback(self._reaper.close)
        self._count = 0
        self.tty = ""
        """Of the port that was made last."""
        self.opener, far = self._make()
        self.far: FarEnd = far

    def missing(self) -> LinkOpener:
        return self._opener(free_port())

    def forbidden(self) -> LinkOpener:
        raise NotImplementedError

    async def many(self, count: int) -> list[tuple[LinkOpener, FarEnd]]:
        return [await anyio.to_thread.run_sync(self._make) for _ in range(count)]

    def close(self) -> None:
        self._clearing.close()

    def _make(self) -> tuple[LinkOpener, RemoteEnd]:
        self._count += 1
        end = PtyEnd()
        self.tty = end.path
        self._clearing.callback(end.close)
        server = Ser2net(self._folder / str(self._count), self._reaper, end.path, self._accepter)
        self._clearing.callback(server.kill)
        server.start()
        return self._opener(server.port), RemoteEnd(server, end)


NO_RIGHTS = "a server has its own rights, and tells of its port only that it hung up"


class TestRfc2217(LinkContract):
    driver, over = "rfc2217", "ser2net"
    not_applicable: ClassVar[Mapping[str, str]] = {"test_a_forbidden_port_is_named": NO_RIGHTS}

    @pytest.fixture
    def stand(self, tmp_path: Path, need: Callable[[str], None]) -> Iterator[Ser2netStand]:
        need("ser2net")
        stand = Ser2netStand(tmp_path, "telnet(rfc2217)", rfc2217)
        yield stand
        stand.close()


class TestSocket(LinkContract):
    driver, over = "socket", "ser2net"
    not_applicable: ClassVar[Mapping[str, str]] = {"test_a_forbidden_port_is_named": NO_RIGHTS}

    @pytest.fixture
    def stand(self, tmp_path: Path, need: Callable[[str], None]) -> Iterator[Ser2netStand]:
        need("ser2net")
        stand = Ser2netStand(tmp_path, "tcp", plain)
        yield stand
        stand.close()


# -- settings


@pytest.mark.parametrize(
    ("settings", "baud", "has_rtscts"),
    [
        (PortSettings(baud=921600), 921600, False),
        (PortSettings(baud=74880), 74880, False),
        (PortSettings(flow_control="rtscts"), 115200, True),
        (PortSettings(modem_lines="assert"), 115200, False),
    ],
    ids=["usual", "custom", "rtscts", "no lines there"],
)
async def test_a_server_sets_its_port_as_it_is_told(
    tmp_path: Path, need: Callable[[str], None], settings: PortSettings, baud: int, has_rtscts: bool
) -> None:
    need("ser2net")
    stand = Ser2netStand(tmp_path, "telnet(rfc2217)", lambda port: Rfc2217LinkOpener("127.0.0.1", port, settings))
    try:
        async with opened(stand.opener) as link:
            assert line_of(stand.tty) == (baud, has_rtscts)
            await stand.far.send(b"set")
            assert await read_exactly(link, 3) == b"set"
    finally:
        stand.close()


def line_of(tty: str) -> tuple[int, bool]:
    """The rate, by termios2 which knows every one, and whether RTS and CTS are used."""
    fd = os.open(tty, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return int.from_bytes(fcntl.ioctl(fd, 0x802C542A, bytes(44))[40:], "little"), bool(termios.tcgetattr(fd)[2] & termios.CRTSCTS)
    finally:
        os.close(fd)

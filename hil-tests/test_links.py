"""The Link contract over a socat pair and over our own cable, and a port that this user may not open.

Over a bare pty it runs in transports/tests/test_serial_contract.py.
"""

from __future__ import annotations

import contextlib
import grp
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import anyio
import anyio.to_thread
import pytest
from cable import Cable

from transports.link import LinkOpener
from transports.serial import SerialLinkOpener
from transports.testing.link_contract import FarEnd, LinkContract

START_TIMEOUT_S = 10.0


class Pair:
    """Two ports joined by something; the far one is used as a board uses its UART."""

    def __init__(self, near: Path, far: Path, hang_up: Callable[[], None]) -> None:
        self.opener: LinkOpener = SerialLinkOpener(str(near))
        self._fd = os.open(far, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._hang_up = hang_up

    async def send(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                await anyio.wait_writable(self._fd)

    async def receive(self) -> bytes:
        while True:
            try:
                return os.read(self._fd, 65536)
            except BlockingIOError:
                await anyio.wait_readable(self._fd)

    async def hang_up(self) -> None:
        await anyio.to_thread.run_sync(self._hang_up)

    def close(self) -> None:
        os.close(self._fd)


class PairStand:
    """Makes pairs; a subclass knows of what."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clearing = contextlib.ExitStack()
        self._count = 0
        first = self._make()
        self.opener = first.opener
        self.far: FarEnd = first

    def join(self, near: Path, far: Path, clearing: contextlib.ExitStack) -> Callable[[], None]:
        """Join two new ports; returns what hangs the near one up."""
        raise NotImplementedError

    def missing(self) -> LinkOpener:
        return SerialLinkOpener(str(self._folder / "ttyUSB9"))

    def forbidden(self) -> LinkOpener:
        raise NotImplementedError

    async def many(self, count: int) -> list[tuple[LinkOpener, FarEnd]]:
        pairs = [await anyio.to_thread.run_sync(self._make) for _ in range(count)]
        return [(pair.opener, pair) for pair in pairs]

    def close(self) -> None:
        self._clearing.close()

    def _make(self) -> Pair:
        self._count += 1
        near, far = self._folder / f"near-{self._count}", self._folder / f"far-{self._count}"
        pair = Pair(near, far, self.join(near, far, self._clearing))
        self._clearing.callback(pair.close)
        return pair


class SocatStand(PairStand):
    def join(self, near: Path, far: Path, clearing: contextlib.ExitStack) -> Callable[[], None]:
        argv = ["socat", f"pty,raw,echo=0,link={near}", f"pty,raw,echo=0,link={far}"]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)

        def kill() -> None:
            process.send_signal(signal.SIGKILL)
            process.wait()

        clearing.callback(kill)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (near.exists() and far.exists()):
            assert time.monotonic() < deadline, "socat did not make its links"
            time.sleep(0.002)
        return kill


class CableStand(PairStand):
    def join(self, near: Path, far: Path, clearing: contextlib.ExitStack) -> Callable[[], None]:
        cable = clearing.enter_context(Cable(near, far))
        return lambda: cable.unplug("a")


NEEDS_RIGHTS = "root may open every port; hil-tests/test_links.py asks from a process without rights"


class TestSerialOverSocat(LinkContract):
    driver, over = "serial", "socat"
    not_applicable: ClassVar[Mapping[str, str]] = {
        "test_a_device_that_stops_reading_holds_up_only_the_sender": "a socat that waits for one reader carries nothing the other way",
        "test_a_forbidden_port_is_named": NEEDS_RIGHTS,
    }

    @pytest.fixture
    def stand(self, tmp_path: Path, need: Callable[[str], None]) -> Iterator[PairStand]:
        need("socat")
        stand = SocatStand(tmp_path)
        yield stand
        stand.close()


class TestSerialOverCable(LinkContract):
    driver, over = "serial", "cable"
    not_applicable: ClassVar[Mapping[str, str]] = {
        "test_a_forbidden_port_is_named": NEEDS_RIGHTS,
    }

    @pytest.fixture
    def stand(self, tmp_path: Path) -> Iterator[PairStand]:
        stand = CableStand(tmp_path)
        yield stand
        stand.close()


# -- rights

ASK_WITHOUT_RIGHTS = """
import os, sys
import anyio, anyio._backends._asyncio
from transports.errors import LinkPermissionDenied
from transports.serial import SerialLinkOpener
os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    anyio.run(SerialLinkOpener(sys.argv[1]).open)
except LinkPermissionDenied as refusal:
    print(refusal)
"""


@pytest.mark.parametrize(("mode", "remedy"), [(0o660, "members of the group tty may"), (0o600, "its mode is 600, owner 0, group tty")])
def test_a_port_without_permission_is_refused_with_what_would_help(
    tmp_path: Path, need: Callable[[str], None], mode: int, remedy: str
) -> None:
    need("root")  # to give rights up
    with contextlib.ExitStack() as clearing:
        near = tmp_path / "near"
        CableStand(tmp_path).join(near, tmp_path / "far", clearing)
        port = os.path.realpath(near)
        os.chown(port, 0, grp.getgrnam("tty").gr_gid)
        os.chmod(port, mode)
        done = subprocess.run([sys.executable, "-c", ASK_WITHOUT_RIGHTS, port], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == f"{port}: no permission to open the port; {remedy}\n", done.stderr

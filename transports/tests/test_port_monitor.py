"""The table of ports when udev or the kernel's files fail: it is late, and never wrong for long."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
import pytest

from transports.discovery import monitor
from transports.discovery.facts import PortFacts
from transports.discovery.monitor import PortMonitor
from transports.discovery.udev import Heard
from transports.errors import LinkTimeout
from transports.tests.port_examples import adapter

pytestmark = pytest.mark.anyio
FTDI: Final = adapter()
AN_HOUR_S: Final = 3600.0
PATIENCE_S: Final = 5.0


class ScriptedUdev:
    """udev as the monitor sees it; ring() is an event. looks and hearings: what each call does, one after another."""

    had_daemon = True

    def __init__(self, *looks: Callable[[], list[PortFacts]], hearings: tuple[Callable[[], Heard], ...] = ()) -> None:
        self._looks = iter(looks)
        self._hearings = iter(hearings)
        self._near, self._far = socket.socketpair()

    def ring(self) -> None:
        self._far.send(b"!")

    def fileno(self) -> int:
        return self._near.fileno()

    def look(self) -> list[PortFacts]:
        return next(self._looks)()

    def hear(self) -> Heard:
        self._near.recv(1)
        return next(self._hearings)()

    def close(self) -> None:
        self._near.close()
        self._far.close()


def fails() -> list[PortFacts]:
    raise OSError("the hub is being reset")


def is_late() -> Heard:
    raise LinkTimeout("udev did not answer")


@asynccontextmanager
async def watched(udev: ScriptedUdev, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PortMonitor]:
    monkeypatch.setattr("transports.discovery.udev.Udev", lambda receive_buffer_bytes: udev)
    monkeypatch.setattr(monitor, "AGAIN_S", 0.0)
    ports = PortMonitor(reconcile_s=AN_HOUR_S)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ports.run)
        yield ports
        tasks.cancel_scope.cancel()


async def test_a_first_look_that_fails_is_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(ScriptedUdev(fails, lambda: [FTDI]), monkeypatch) as ports:
        assert (await ports.ports()).ports == (FTDI,)


async def test_what_a_read_without_an_answer_took_is_found_by_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    udev = ScriptedUdev(list, lambda: [FTDI], hearings=(is_late,))
    async with watched(udev, monkeypatch) as ports:
        empty = await ports.ports()
        assert empty.ports == ()
        udev.ring()
        with anyio.fail_after(PATIENCE_S):
            await ports.changed(empty.version)
        assert (await ports.ports()).ports == (FTDI,)

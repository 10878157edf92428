"""The live table of this machine's ports: udev's events as they come, a look every half minute, a look at once when events were lost.

udev is asked in threads, with deadlines: a USB hub whose driver hangs makes it wait, and nobody else. It opens no port. Nothing of udev is
loaded before somebody asks. Where there is no libudev the kernel's own files are looked at, where no events come they are looked at often;
either is told once, with what would help.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import anyio

from transports.blocking import BlockingCalls
from transports.discovery.cadence import RECONCILE_S, Cadence
from transports.discovery.ports import Change, PortTable, Snapshot
from transports.discovery.sysfs import all_ports
from transports.errors import LinkTimeout

if TYPE_CHECKING:
    from transports.discovery.udev import Heard, Udev

_logger = logging.getLogger(__name__)

CALL_DEADLINE_S: Final = 5.0
"""A look takes milliseconds; what takes so long hangs, and goes on alone."""
AGAIN_S: Final = 1.0
"""After a call that missed its deadline."""


class PortMonitor:
    """HostPorts, one for everybody of this process. run() is its life; it sleeps until the first who wants it."""

    def __init__(self, *, receive_buffer_bytes: int | None = None, reconcile_s: float = RECONCILE_S) -> None:
        """receive_buffer_bytes: of udev's socket; None is as much as there may be."""
        self._table = PortTable()
        self._reconcile_s = reconcile_s
        self._receive_buffer_bytes = receive_buffer_bytes
        self._calls = BlockingCalls("udev")
        self._wanted = anyio.Event()
        self._must_look = True
        self._looked = anyio.Event()
        self._changed = anyio.Event()
        self._version = 0
        self.lost = 0
        """How often events were lost and found again by a look."""

    async def ports(self) -> Snapshot:
        """See HostPorts."""
        self._wanted.set()
        await self._looked.wait()
        return Snapshot(self._version, tuple(self._table.ports.values()))

    async def changed(self, version: int) -> None:
        """See HostPorts."""
        while self._version <= version:
            await self._changed.wait()

    async def run(self) -> None:
        """Until cancelled."""
        await self._wanted.wait()
        udev = await self._open()
        cadence = Cadence(has_events=udev is not None and udev.had_daemon, reconcile_s=self._reconcile_s)
        if udev is not None and cadence.is_deaf:
            _tell_deaf("no udevd runs here")
        try:
            while True:
                await self._turn(udev, cadence)
        finally:
            if udev is not None:
                udev.close()

    # -- private

    async def _turn(self, udev: Udev | None, cadence: Cadence) -> None:
        """Wait for events or for the time to look again, and do what is due; what failed is made good by a look."""
        try:
            if self._must_look:
                await self._look(udev)
            elif await self._has_events(udev, cadence.interval_s):
                assert udev is not None
                await self._hear(udev, cadence)
            elif cadence.looked(found_news=bool(await self._look(udev))):
                _tell_deaf("ports came and went without one")
        except LinkTimeout as timeout:
            await self._pause("udev does not answer; trying again", timeout)
        except OSError as error:
            await self._pause("the ports cannot be looked at; trying again", error)

    async def _pause(self, what: str, why: Exception) -> None:
        """Events that a read without an answer has taken are lost."""
        _logger.warning(what, extra={"why": str(why)})
        self._must_look = True
        await anyio.sleep(AGAIN_S)

    @staticmethod
    async def _has_events(udev: Udev | None, timeout_s: float) -> bool:
        with anyio.move_on_after(timeout_s):
            if udev is None:
                await anyio.sleep_forever()
            else:
                await anyio.wait_readable(udev.fileno())
                return True
        return False

    async def _hear(self, udev: Udev, cadence: Cadence) -> None:
        heard = await self._calls.run("read events", udev.hear, deadline_s=CALL_DEADLINE_S)
        if heard.events:
            cadence.told()
        self._take(heard)
        if heard.has_lost:
            self.lost += 1
            _logger.info("udev's events came faster than they were read; looking at all ports instead")
            await self._look(udev)

    async def _open(self) -> Udev | None:
        def make() -> Udev:
            from transports.discovery.udev import RECEIVE_BUFFER_BYTES, Udev  # loads libudev: only for who has a rule

            return Udev(self._receive_buffer_bytes or RECEIVE_BUFFER_BYTES)

        try:
            return await self._calls.run("open udev", make, deadline_s=CALL_DEADLINE_S, undo=lambda udev: udev.close())
        except (ImportError, OSError, LinkTimeout) as error:
            _logger.warning("no udev; the kernel's files are looked at every few seconds: install libudev1", extra={"why": str(error)})
            return None

    async def _look(self, udev: Udev | None) -> Sequence[Change]:
        """Raises LinkTimeout and OSError."""
        look = udev.look if udev is not None else all_ports
        changes = self._table.scanned(await self._calls.run("look at the ports", look, deadline_s=CALL_DEADLINE_S))
        self._must_look = False
        self._looked.set()
        self._wake(changes)
        return changes

    def _take(self, heard: Heard) -> None:
        from transports.discovery.udev import Plugged

        changes: list[Change] = []
        for event in heard.events:
            if isinstance(event, Plugged):
                changes += self._table.added(event.port)
            else:
                changes += self._table.removed(event.key, event.instance)
        self._wake(changes)

    def _wake(self, changes: Sequence[Change]) -> None:
        if changes:
            self._version += 1
            self._changed.set()
            self._changed = anyio.Event()


def _tell_deaf(why: str) -> None:
    _logger.warning(
        "udev's events do not reach this process, so ports are looked for every few seconds;"
        " run udevd, or give a container the host's network namespace and /run/udev",
        extra={"why": why},
    )

"""Where a configured port is: at a path, or wherever the port is plugged in that a rule means. An opener asks its place.

A place also hears: an opener that found nothing is told when looking again may help, and one that has a link is told when its port goes.
So ports that are absent cost nothing while they are absent.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import anyio

from transports.blocking import BlockingCalls
from transports.discovery.facts import PortFacts
from transports.discovery.match import MatchRule, NotOne, find
from transports.discovery.ports import HostPorts
from transports.errors import LinkNotFound, LinkTimeout

if TYPE_CHECKING:
    from transports.discovery.entries import EntryWatch, Trail

WATCH_DEADLINE_S: Final = 5.0
POLL_S: Final = 0.5
"""Between two looks at a path where the system gives no watch."""
STUBBORN_S: Final = 2.0
"""Between two attempts at a port that is there, but cannot be opened as if it were not."""


class Place(Protocol):
    """Of one configured device."""

    @property
    def name(self) -> str:
        """What it is in the configuration: a path, or a rule."""
        ...

    @property
    def port(self) -> PortFacts | None:
        """What node() found, if the place knows more of it than its path."""
        ...

    @property
    def names_a_board(self) -> bool:
        """See PortOpener."""
        ...

    def means(self, port: PortFacts, ports: Sequence[PortFacts]) -> bool:
        """See PortOpener."""
        ...

    async def node(self) -> str:
        """The file to open now. Raises LinkNotFound."""
        ...

    async def appeared(self) -> None:
        """After a LinkNotFound: return when another attempt may find something."""
        ...

    async def vanished(self) -> str:
        """After node() was opened: return when the port is no longer this place's, with the reason. May never do."""
        ...


@runtime_checkable
class PortOpener(Protocol):
    """An opener of ports of this machine."""

    @property
    def port(self) -> PortFacts | None:
        """The port of the newest link. None before the first, and for what is no port of the machine: a pty."""
        ...

    @property
    def names_a_board(self) -> bool:
        """It is told one board, wherever that is plugged in, and not a place where any board may be."""
        ...

    def means(self, port: PortFacts, ports: Sequence[PortFacts]) -> bool:
        """Of the ports that are there, port is the one that it would open. May ask the file system; not for the event loop."""
        ...


class PathPlace:
    """A path, followed anew at each attempt."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._calls = BlockingCalls(f"watch of {path}")
        self._seen: Trail | None = None

    @property
    def name(self) -> str:
        return self._path

    @property
    def port(self) -> PortFacts | None:
        return None

    @property
    def names_a_board(self) -> bool:
        return False

    def means(self, port: PortFacts, ports: Sequence[PortFacts]) -> bool:
        return os.path.realpath(self._path) == os.path.realpath(port.node)

    async def node(self) -> str:
        return self._path

    async def appeared(self) -> None:
        try:
            watch = await self._calls.run("begin", self._watch, deadline_s=WATCH_DEADLINE_S, undo=lambda watch: watch.close())
        except (OSError, LinkTimeout):
            await anyio.sleep(POLL_S)
            return
        try:
            before, self._seen = self._seen, watch.trail
            if watch.trail.end is not None and watch.trail != before:
                return  # it came since the attempt; what has been there before and was no port is not tried for ever
            while not watch.is_news():
                await anyio.wait_readable(watch.fileno())
        finally:
            watch.close()

    async def vanished(self) -> str:
        """A path may be taken away from a port that goes on; reading tells the rest."""
        await anyio.sleep_forever()
        raise AssertionError("it sleeps for ever")

    def _watch(self) -> EntryWatch:
        from transports.discovery.entries import EntryWatch  # inotify is loaded only by who misses a port

        return EntryWatch(self._path)


class MatchedPlace:
    """The one port that a rule means, wherever it is plugged in."""

    def __init__(self, rule: MatchRule, ports: HostPorts, last_hub_port: str | None = None) -> None:
        self._rule = rule
        self._ports = ports
        self._last_hub_port = last_hub_port
        self._port: PortFacts | None = None
        """What the last attempt found."""

    @property
    def name(self) -> str:
        return str(self._rule)

    @property
    def port(self) -> PortFacts | None:
        return self._port

    @property
    def names_a_board(self) -> bool:
        return self._rule.usb_serial is not None

    def means(self, port: PortFacts, ports: Sequence[PortFacts]) -> bool:
        return find(self._rule, ports, self._last_hub_port) == port

    async def node(self) -> str:
        _, found = await self._find()
        if isinstance(found, NotOne):
            self._port = None
            raise LinkNotFound(found.why)
        self._port, self._last_hub_port = found, found.hub_port or self._last_hub_port
        return found.node

    async def appeared(self) -> None:
        tried = self._port
        with anyio.move_on_after(None if tried is None else STUBBORN_S):
            while True:
                version, found = await self._find()
                if found != tried and (isinstance(found, PortFacts) or tried is not None):
                    return  # it is there, or what could not be opened is gone: then that is the reason
                await self._ports.changed(version)

    async def vanished(self) -> str:
        port = self._port
        while True:
            version, found = await self._find()
            if isinstance(found, NotOne):
                return found.why if found.are_several else "unplugged"
            if port is None or (found.key, found.instance, found.node) != (port.key, port.instance, port.node):
                return "unplugged, and plugged in again"
            await self._ports.changed(version)

    async def _find(self) -> tuple[int, PortFacts | NotOne]:
        there = await self._ports.ports()
        return there.version, find(self._rule, there.ports, self._last_hub_port)

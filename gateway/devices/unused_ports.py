"""The ports of this machine that no configured device means: offered with the rule that would find each, and never opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from gateway.errors import GatewayError
from transports.blocking import BlockingCalls
from transports.discovery.facts import Kind, PortFacts
from transports.discovery.identity import describe
from transports.discovery.match import rule_for
from transports.discovery.places import PortOpener
from transports.discovery.ports import HostPorts
from transports.errors import LinkTimeout
from transports.match_options import written

LOOK_S: Final = 5.0
"""For a look at all ports when a person asks."""

_LINKS: Final = {Kind.TTY: "serial", Kind.USB: "usb"}


class PortsUnknown(GatewayError):
    """The ports cannot be told now; the text says why."""


@dataclass(frozen=True, slots=True)
class UnusedPort:
    """node is for a person at this machine; match is empty when nothing tells the port from another one. link: the driver it is for."""

    description: str
    node: str
    match: Mapping[str, object]
    link: str = "serial"


class UnusedPorts:
    """Looks when it is asked."""

    def __init__(self, ports: HostPorts, openers: Sequence[object]) -> None:
        """openers: of every configured device, also those that come later."""
        self._ports = ports
        self._openers = openers
        self._calls = BlockingCalls("ports")

    async def look(self) -> Sequence[UnusedPort]:
        """In the order of their places. Raises PortsUnknown."""
        try:
            with anyio.fail_after(LOOK_S):
                there = (await self._ports.ports()).ports
            openers = [opener for opener in self._openers if isinstance(opener, PortOpener)]
            return await self._calls.run("compare", lambda: _unused(there, openers), deadline_s=LOOK_S)
        except (TimeoutError, LinkTimeout) as timeout:
            raise PortsUnknown(f"the ports of this machine cannot be told: no answer from udev within {LOOK_S:g} s") from timeout


def _unused(there: Sequence[PortFacts], openers: Sequence[PortOpener]) -> Sequence[UnusedPort]:
    offered = sorted((port for port in there if port.kind is Kind.TTY or port.has_bulk_interface), key=lambda port: port.key)
    unused = [port for port in offered if not any(opener.means(port, there) for opener in openers)]
    return [UnusedPort(describe(port), port.node, _match(port, there), _LINKS[port.kind]) for port in unused]


def _match(port: PortFacts, there: Sequence[PortFacts]) -> Mapping[str, object]:
    rule = rule_for(port, [other for other in there if other.kind is port.kind])
    return {} if rule is None else written(rule)

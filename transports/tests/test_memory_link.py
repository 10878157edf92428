"""The Link contract over the pipe of the simulated device in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import anyio.lowlevel
import pytest

from transports.link import LinkOpener
from transports.simulated.link import MemoryPort
from transports.testing.link_contract import FarEnd, LinkContract


class DeviceEnd:
    """The device's side of a MemoryPort."""

    def __init__(self, port: MemoryPort) -> None:
        self._port = port
        self.send = port.send
        self.receive = port.receive

    async def hang_up(self) -> None:
        self._port.unplug()
        await anyio.lowlevel.checkpoint()


class MemoryStand:
    def __init__(self) -> None:
        port = MemoryPort("simulated:first")
        self.opener: LinkOpener = port
        self.far: FarEnd = DeviceEnd(port)

    def missing(self) -> LinkOpener:
        port = MemoryPort("simulated:missing")
        port.unplug()
        return port

    def forbidden(self) -> LinkOpener:
        raise NotImplementedError

    async def many(self, count: int) -> list[tuple[LinkOpener, FarEnd]]:
        ports = [MemoryPort(f"simulated:{number}") for number in range(count)]
        return [(port, DeviceEnd(port)) for port in ports]


class TestMemoryLink(LinkContract):
    driver, over = "simulated", "memory"
    not_applicable: ClassVar[Mapping[str, str]] = {
        "test_a_forbidden_port_is_named": "a port in memory belongs to the process that made it",
    }

    @pytest.fixture
    def stand(self) -> MemoryStand:
        return MemoryStand()

"""The unix socket keeps every promise of a link."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest
from device_socket import DeviceSocket
from wirelet_unix_link import UnixOpener

from transports.link import LinkOpener
from transports.testing.link_contract import FarEnd, LinkContract, Stand


class SocketStand:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sockets: list[DeviceSocket] = []
        self.opener, self.far = self._make()

    def missing(self) -> LinkOpener:
        return UnixOpener(str(self._folder / "nobody"))

    def forbidden(self) -> LinkOpener:
        raise NotImplementedError

    async def many(self, count: int) -> list[tuple[LinkOpener, FarEnd]]:
        return [self._make() for _ in range(count)]

    def close(self) -> None:
        for each in self._sockets:
            each.close()

    def _make(self) -> tuple[LinkOpener, FarEnd]:
        far = DeviceSocket(self._folder / f"device-{len(self._sockets)}")
        self._sockets.append(far)
        return UnixOpener(str(far.path)), far


class TestUnixLink(LinkContract):
    driver, over = "unix", "socket"
    not_applicable: ClassVar[Mapping[str, str]] = {
        "test_what_the_device_said_before_the_open_is_kept": "a socket holds nothing for a client that has not come",
        "test_a_forbidden_port_is_named": "root may connect to every socket",
    }
    watched: ClassVar = ("wirelet_unix_link",)

    @pytest.fixture
    def stand(self, tmp_path: Path) -> Iterator[Stand]:
        stand = SocketStand(tmp_path)
        yield stand
        stand.close()

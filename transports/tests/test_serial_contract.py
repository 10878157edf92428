"""The Link contract over a raw pty, and what a serial port promises beyond it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from transports.link import LinkOpener
from transports.serial import SerialLinkOpener
from transports.testing.link_contract import FarEnd, LinkContract
from transports.tests.pty_end import PtyEnd


class PtyStand:
    """A pty in this process: the shortest cable there is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ends = [PtyEnd()]
        self.far: FarEnd = self._ends[0]
        self.opener: LinkOpener = SerialLinkOpener(self._ends[0].path)

    def missing(self) -> LinkOpener:
        return SerialLinkOpener(str(self._folder / "ttyUSB9"))

    def forbidden(self) -> LinkOpener:
        raise NotImplementedError

    async def many(self, count: int) -> list[tuple[LinkOpener, FarEnd]]:
        ends = [PtyEnd() for _ in range(count)]
        self._ends += ends
        return [(SerialLinkOpener(end.path), end) for end in ends]

    def close(self) -> None:
        for end in self._ends:
            end.close()


class TestSerialOverPty(LinkContract):
    driver, over = "serial", "pty"
    not_applicable: ClassVar[Mapping[str, str]] = {
        "test_a_forbidden_port_is_named": "root may open every port; hil-tests/test_links.py asks from a process without rights",
    }

    @pytest.fixture
    def stand(self, tmp_path: Path) -> Iterator[PtyStand]:
        stand = PtyStand(tmp_path)
        yield stand
        stand.close()

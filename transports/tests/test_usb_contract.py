"""The Link contract over a libusb without a bus; over a real one it runs in the guest (hil-tests/guest/test_usb_bulk.py)."""

from __future__ import annotations

import errno

import pytest

from transports.link import LinkOpener
from transports.testing.link_contract import FarEnd, LinkContract
from transports.tests.fake_libusb import usb_error
from transports.tests.usb_rig import FakeFarEnd, FixedPlace
from transports.usb import BulkPipe, open_error
from transports.usb_link import UsbLinkOpener


class FakeStand:
    def __init__(self) -> None:
        self._count = 0
        self.opener, self.far = self._make()

    def missing(self) -> LinkOpener:
        return UsbLinkOpener(FixedPlace("port 9-9", is_there=False), FakeFarEnd().open_pipe)

    def forbidden(self) -> LinkOpener:
        def refuse(node: str, name: str) -> BulkPipe:
            raise open_error(node, name, usb_error(errno.EACCES))

        return UsbLinkOpener(FixedPlace("port 1-8"), refuse)

    async def many(self, count: int) -> list[tuple[LinkOpener, FarEnd]]:
        return [self._make() for _ in range(count)]

    def _make(self) -> tuple[LinkOpener, FakeFarEnd]:
        self._count += 1
        far = FakeFarEnd()
        return UsbLinkOpener(FixedPlace(f"port 1-1.{self._count}"), far.open_pipe), far


class TestUsbOverFake(LinkContract):
    driver, over = "usb", "no bus"

    @pytest.fixture
    def stand(self) -> FakeStand:
        return FakeStand()

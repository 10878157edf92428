"""What a USB link promises beyond the contract: bursts that end, buffers that are bounded, stalls that lose nothing, a close that ends."""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
import anyio.to_thread
import pytest

from transports import usb_link
from transports.errors import LinkLost, LinkTimeout
from transports.testing.link_contract import read_exactly
from transports.tests.fake_libusb import FIFO_BYTES, IN, OUT
from transports.tests.taker import Taker
from transports.tests.usb_rig import FakeFarEnd, FixedPlace
from transports.usb import BulkPipe
from transports.usb_bursts import TRANSFER_BYTES
from transports.usb_link import UsbLink, UsbLinkOpener

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def far() -> FakeFarEnd:
    return FakeFarEnd()


@pytest.fixture
def opener(far: FakeFarEnd) -> UsbLinkOpener:
    return UsbLinkOpener(FixedPlace("port 1-1.3"), far.open_pipe)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert "move port 1-1.3" not in {thread.name for thread in threading.enumerate()}


@asynccontextmanager
async def opened(opener: UsbLinkOpener) -> AsyncIterator[UsbLink]:
    link = await opener.open()
    try:
        yield link
    finally:
        await link.aclose()


def test_an_interface_is_part_of_the_name(far: FakeFarEnd) -> None:
    assert UsbLinkOpener(FixedPlace("port 1-1.3"), far.open_pipe, interface=2).name == "port 1-1.3, interface 2"


@pytest.mark.parametrize(
    ("burst_bytes", "transfers"),
    [(511, [511]), (512, [512, 0]), (TRANSFER_BYTES + 512, [TRANSFER_BYTES, 512, 0])],
)
async def test_a_burst_of_whole_packets_is_followed_by_an_empty_one(
    opener: UsbLinkOpener, far: FakeFarEnd, burst_bytes: int, transfers: list[int]
) -> None:
    async with opened(opener) as link, anyio.create_task_group() as tasks:
        tasks.start_soon(link.send, bytes(burst_bytes))
        assert await read_exactly(far, burst_bytes) == bytes(burst_bytes)
    assert [len(each) for each in far.device.out_transfers] == transfers


async def test_nothing_sent_is_nothing_on_the_bus(opener: UsbLinkOpener, far: FakeFarEnd) -> None:
    async with opened(opener) as link:
        await link.send(b"")
    assert far.device.out_transfers == []


async def test_who_does_not_receive_holds_the_device_up(far: FakeFarEnd) -> None:
    opener = UsbLinkOpener(FixedPlace("port 1-1.3"), far.open_pipe, max_buffers=2)
    data = bytes(range(256)) * (6 * TRANSFER_BYTES // 256)
    async with opened(opener) as link:
        await far.send(data)
        first = await link.receive(1)
        with far.device.changed:
            assert sum(map(len, far.device.to_host)) >= len(data) - 4 * TRANSFER_BYTES
        assert first + await read_exactly(link, len(data) - 1) == data


@pytest.mark.parametrize("endpoint", [IN, OUT])
async def test_a_stall_in_the_middle_loses_nothing(opener: UsbLinkOpener, far: FakeFarEnd, endpoint: int) -> None:
    data = bytes(range(4)) * FIFO_BYTES  # so much more than the far end keeps that the sender still sends when the stall comes
    async with opened(opener) as link, anyio.create_task_group() as tasks:
        tasks.start_soon(link.send, data)
        await far.send(data[:64])
        assert await read_exactly(link, 64) == data[:64]
        await anyio.to_thread.run_sync(far.device.await_full)
        far.device.stall(endpoint)
        await far.send(data[64:])
        assert await read_exactly(far, len(data)) == data
        assert await read_exactly(link, len(data) - 64) == data[64:]
    assert f"clear {endpoint:02x}" in far.device.log


async def test_a_device_that_stalls_for_ever_is_a_lost_link(opener: UsbLinkOpener, far: FakeFarEnd) -> None:
    async with opened(opener) as link:
        far.device.stall(IN, times=1000)
        with pytest.raises(LinkLost, match=r"^port 1-1.3: stalled$"):
            await link.receive()
        with pytest.raises(LinkLost, match=r"^port 1-1.3: stalled$"):
            await link.send(b"x")


async def test_transfers_that_nobody_tells_of_are_a_lost_link_and_end_with_it(opener: UsbLinkOpener, far: FakeFarEnd) -> None:
    async with opened(opener) as link:
        with far.device.changed:
            far.device.deaf_events = 3
        await far.send(b"x")
        with pytest.raises(LinkLost, match=r"^port 1-1.3: the system does not tell"):
            await read_exactly(link, 2)
    assert far.device.log[-2:] == ["release 0", "close"]
    async with opened(opener):
        pass


async def test_a_system_without_threads_gets_the_device_back(
    opener: UsbLinkOpener, far: FakeFarEnd, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("move"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(LinkTimeout, match=r"^port 1-1.3: no thread to move bytes: can't start new thread$"):
            await opener.open()
    assert far.device.log[-2:] == ["release 0", "close"]
    async with opened(opener):
        pass


async def test_a_bug_in_a_thread_is_raised_and_not_swallowed(opener: UsbLinkOpener, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(pipe: BulkPipe) -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr(BulkPipe, "wait", fail)
    async with opened(opener) as link:
        with pytest.raises(AssertionError, match="a bug"):
            await link.receive()


async def test_a_close_that_hangs_is_left_behind_and_waited_for_by_the_next_open(
    far: FakeFarEnd, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(usb_link, "CLOSE_DEADLINE_S", 0.05)
    opener = UsbLinkOpener(FixedPlace("port 1-1.3"), far.open_pipe, open_deadline_s=0.05)
    may_end = threading.Event()
    release = BulkPipe.release

    def hang(pipe: BulkPipe) -> None:
        may_end.wait()
        release(pipe)

    monkeypatch.setattr(BulkPipe, "release", hang)
    link = await opener.open()
    with caplog.at_level(logging.WARNING):
        await link.aclose()
    assert "USB device hangs in close; left to the operating system" in caplog.messages
    with pytest.raises(LinkTimeout, match="did not end close within"):
        await opener.open()
    may_end.set()
    monkeypatch.setattr(BulkPipe, "release", release)
    monkeypatch.setattr(opener, "_open_deadline_s", 5.0)
    async with opened(opener) as again:
        await again.send(b"free")
        assert await read_exactly(far, 4) == b"free"


async def test_an_open_that_nobody_waits_for_gives_the_device_back(far: FakeFarEnd, monkeypatch: pytest.MonkeyPatch) -> None:
    may_open = threading.Event()

    def slow(node: str, name: str) -> BulkPipe:
        may_open.wait()
        return far.open_pipe(node, name)

    opener = UsbLinkOpener(FixedPlace("port 1-1.3"), slow, open_deadline_s=0.05)
    with pytest.raises(LinkTimeout):
        await opener.open()
    may_open.set()
    monkeypatch.setattr(opener, "_open_deadline_s", 5.0)
    async with opened(opener):
        assert far.device.log == ["claim 0", "release 0", "close", "claim 0"]


# -- handing over by a call


async def test_what_comes_is_handed_over_in_order(opener: UsbLinkOpener, far: FakeFarEnd) -> None:
    taker = Taker()
    async with opened(opener) as link, anyio.create_task_group() as tasks:
        await far.send(b"early")
        tasks.start_soon(link.deliver, taker)
        await taker.until(1)
        await far.send(b"later")
        await taker.until(2)
        tasks.cancel_scope.cancel()
    assert taker.taken == [b"early", b"later"]


async def test_a_rest_ends_by_itself_and_silence_is_told(opener: UsbLinkOpener, far: FakeFarEnd) -> None:
    taker = Taker(pause_s=0.02)
    async with opened(opener) as link, anyio.create_task_group() as tasks:
        tasks.start_soon(link.deliver, taker)
        await far.send(b"log")
        await taker.until(1)
        taker.pause_s = 0.0
        await taker.until(2)
        await far.send(b"later")
        await taker.until(3)
        tasks.cancel_scope.cancel()
    assert taker.taken == [b"log", b"", b"later"]


async def test_a_rest_ends_at_once_when_somebody_waits(opener: UsbLinkOpener, far: FakeFarEnd) -> None:
    taker = Taker(pause_s=3600)
    async with opened(opener) as link, anyio.create_task_group() as tasks:
        tasks.start_soon(link.deliver, taker)
        await far.send(b"log")
        await taker.until(1)
        taker.pause_s = 0.0
        await far.send(b"answer")
        link.end_rest()
        while b"answer" not in taker.taken:
            await taker.until(len(taker.taken) + 1)
        tasks.cancel_scope.cancel()


async def test_what_comes_when_the_owner_has_enough_is_kept_for_later(opener: UsbLinkOpener, far: FakeFarEnd) -> None:
    async with opened(opener) as link:
        await far.send(b"one")
        await link.deliver(Taker(pause_s=None))
        await far.send(b"two")
        assert await link.receive() == b"two"


async def test_what_the_owner_raises_comes_out_of_deliver(opener: UsbLinkOpener, far: FakeFarEnd) -> None:
    def refuse(data: bytes) -> float | None:
        raise ZeroDivisionError(data)

    async with opened(opener) as link:
        await far.send(b"x")
        with pytest.raises(ZeroDivisionError):
            await link.deliver(refuse)


async def test_what_came_before_an_unplug_is_handed_over_before_the_loss(opener: UsbLinkOpener, far: FakeFarEnd) -> None:
    taker = Taker(pause_s=0.02)
    async with opened(opener) as link:
        await far.send(b"last words")
        await far.send(b"of a board")
        assert await link.receive(1) == b"l"
        await anyio.to_thread.run_sync(far.device.await_said)
        await far.hang_up()
        with pytest.raises(LinkLost, match=r"^port 1-1.3: unplugged$"):
            await link.deliver(taker)
    assert b"".join(taker.taken) == b"ast wordsof a board"

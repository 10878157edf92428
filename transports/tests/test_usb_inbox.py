"""Bytes from a thread to a task: all of them, in order, bounded, and with a wake-up for the last."""

from __future__ import annotations

import asyncio
import threading
from array import array

import anyio
import anyio.to_thread
import pytest

from transports.usb_inbox import Inbox


async def news(inbox: Inbox) -> None:
    told = anyio.Event()
    inbox.when_news(told.set)
    await told.wait()


def fill(inbox: Inbox, piece: bytes) -> bool:
    """As the thread that reads does; False when there was no room."""
    buffer = inbox.room()
    if buffer is None:
        return False
    buffer[: len(piece)] = array("B", piece)
    inbox.put(buffer, len(piece))
    return True


@pytest.mark.anyio
class TestInbox:
    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    async def inbox(self) -> Inbox:
        self.rooms = 0
        self.has_room = threading.Event()

        def count() -> None:
            self.rooms += 1
            self.has_room.set()

        return Inbox(asyncio.get_running_loop(), count, buffer_bytes=16, max_buffers=2)

    @pytest.mark.parametrize("wanted_bytes", [1, 7, 1000])
    async def test_everything_arrives_in_order_through_a_small_inbox(self, inbox: Inbox, wanted_bytes: int) -> None:
        data = bytes(range(256)) * 16

        def read() -> None:
            for at in range(0, len(data), 13):
                while not fill(inbox, data[at : at + 13]):
                    self.has_room.wait()
                    self.has_room.clear()

        thread = threading.Thread(target=read)
        thread.start()
        taken = b""
        while len(taken) < len(data):
            piece = inbox.take(wanted_bytes)
            assert len(piece) <= wanted_bytes
            taken += piece
            if not piece:
                await news(inbox)
        await anyio.to_thread.run_sync(thread.join)
        assert taken == data
        assert inbox.take(wanted_bytes) == b""

    async def test_full_buffers_are_no_room_until_one_is_emptied_and_that_is_told_once(self, inbox: Inbox) -> None:
        assert fill(inbox, b"first")
        assert fill(inbox, b"second")
        assert not fill(inbox, b"third")
        assert inbox.take(4) == b"firs"
        assert not fill(inbox, b"third")
        assert self.rooms == 0
        assert inbox.take(4) == b"t"
        assert self.rooms == 1
        assert fill(inbox, b"third")
        assert [inbox.take(9), inbox.take(9), inbox.take(9)] == [b"second", b"third", b""]
        assert self.rooms == 1

    async def test_an_empty_transfer_takes_no_room(self, inbox: Inbox) -> None:
        for _ in range(10):
            assert fill(inbox, b"")
        assert inbox.take(100) == b""

    async def test_what_came_before_the_wait_ends_it(self, inbox: Inbox) -> None:
        fill(inbox, b"early")
        await news(inbox)
        assert inbox.take(100) == b"early"

    async def test_a_cancelled_wait_takes_nothing(self, inbox: Inbox) -> None:
        with anyio.move_on_after(0.01):
            await news(inbox)
        fill(inbox, b"kept")
        await news(inbox)
        assert inbox.take(100) == b"kept"

    async def test_its_end_wakes_the_task(self, inbox: Inbox) -> None:
        fill(inbox, b"first")
        fill(inbox, b"second")
        inbox.take(100)
        async with anyio.create_task_group() as tasks:
            inbox.take(100)
            tasks.start_soon(news, inbox)
            await anyio.wait_all_tasks_blocked()
            inbox.end()
        assert inbox.is_over
        await news(inbox)

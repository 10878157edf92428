"""Bytes from a thread to a task: all of them, in order, bounded, and with a wake-up for the last."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import anyio
import pytest

from transports.usb_inbox import Inbox


def fill(inbox: Inbox, pieces: Iterator[bytes]) -> None:
    """As the thread that reads does."""
    for piece in pieces:
        while not inbox.wait_for_room():
            pass
        inbox.put(piece)


@pytest.mark.anyio
class TestInbox:
    @pytest.mark.parametrize("wanted_bytes", [1, 7, 1000])
    async def test_everything_arrives_in_order_through_a_small_inbox(self, wanted_bytes: int) -> None:
        inbox = Inbox(asyncio.get_running_loop(), max_bytes=64)
        data = bytes(range(256)) * 16
        thread = threading.Thread(target=fill, args=(inbox, (data[at : at + 13] for at in range(0, len(data), 13))))
        thread.start()
        taken = b""
        while len(taken) < len(data):
            piece = inbox.take(wanted_bytes)
            assert len(piece) <= wanted_bytes
            taken += piece
            if not piece:
                await inbox.wait()
        await anyio.to_thread.run_sync(thread.join)
        assert taken == data
        assert inbox.take(wanted_bytes) == b""

    async def test_a_full_inbox_holds_the_thread_up_until_half_of_it_is_taken(self) -> None:
        inbox = Inbox(asyncio.get_running_loop(), max_bytes=100)
        inbox.put(bytes(60))
        assert inbox.wait_for_room()
        inbox.put(bytes(60))
        assert not await anyio.to_thread.run_sync(inbox.wait_for_room)
        inbox.take(70)
        assert inbox.wait_for_room()

    async def test_what_came_before_the_wait_ends_it(self) -> None:
        inbox = Inbox(asyncio.get_running_loop(), max_bytes=100)
        inbox.put(b"early")
        await inbox.wait()
        assert inbox.take(100) == b"early"

    async def test_a_cancelled_wait_takes_nothing(self) -> None:
        inbox = Inbox(asyncio.get_running_loop(), max_bytes=100)
        with anyio.move_on_after(0.01):
            await inbox.wait()
        inbox.put(b"kept")
        await inbox.wait()
        assert inbox.take(100) == b"kept"

    async def test_its_end_wakes_both_sides(self) -> None:
        inbox = Inbox(asyncio.get_running_loop(), max_bytes=1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(inbox.wait)
            await anyio.wait_all_tasks_blocked()
            inbox.end()

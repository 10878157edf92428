"""A call that hangs costs its own port a deadline, and nobody else anything."""

from __future__ import annotations

import threading

import anyio
import anyio.lowlevel
import pytest

from transports.blocking import BlockingCalls
from transports.errors import LinkTimeout

SHORT_S = 0.02


class Hung:
    """A call that returns only when it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def __call__(self) -> str:
        self.let_go.wait()
        return "late"


async def test_a_call_gives_its_result_or_its_error() -> None:
    calls = BlockingCalls("port")
    assert await calls.run("open", lambda: 42, deadline_s=10) == 42
    with pytest.raises(ZeroDivisionError):
        await calls.run("open", lambda: 1 // 0, deadline_s=10)


async def test_a_call_that_hangs_is_left_behind_and_its_late_result_undone() -> None:
    calls, hung = BlockingCalls("port"), Hung()
    loop_thread = threading.get_ident()
    undone_in: list[int] = []

    def undo(value: str) -> None:
        assert value == "late"
        undone_in.append(threading.get_ident())

    with pytest.raises(LinkTimeout, match=r"port: the operating system did not end open within 0\.02 s"):
        await calls.run("open", hung, deadline_s=SHORT_S, undo=undo)
    hung.let_go.set()
    assert await calls.run("close", lambda: "next", deadline_s=10) == "next"  # after the undoing
    assert undone_in != [loop_thread]
    assert len(undone_in) == 1


async def test_while_a_call_hangs_its_port_takes_no_other() -> None:
    calls, hung, began = BlockingCalls("port"), Hung(), threading.Event()
    with pytest.raises(LinkTimeout):
        await calls.run("close", hung, deadline_s=SHORT_S)
    with pytest.raises(LinkTimeout, match="did not end close"):
        await calls.run("open", began.set, deadline_s=SHORT_S)
    assert not began.is_set()
    hung.let_go.set()
    await calls.run("open", began.set, deadline_s=10)
    assert began.is_set()


async def test_another_port_does_not_wait_for_a_hung_one() -> None:
    hung = [Hung() for _ in range(50)]
    async with anyio.create_task_group() as tasks:
        for number, call in enumerate(hung):
            tasks.start_soon(swallow_time_out, BlockingCalls(f"port {number}"), call)
        await anyio.lowlevel.checkpoint()
        assert await BlockingCalls("another").run("open", lambda: "open", deadline_s=10) == "open"
        tasks.cancel_scope.cancel()
    for call in hung:
        call.let_go.set()


async def swallow_time_out(calls: BlockingCalls, call: Hung) -> None:
    with pytest.raises(LinkTimeout):
        await calls.run("open", call, deadline_s=10)

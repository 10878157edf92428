"""A call that hangs costs its own port a deadline, and nobody else anything."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from collections.abc import Iterator

import anyio
import anyio.lowlevel
import pytest

from transports import interruption
from transports.blocking import BlockingCalls
from transports.errors import LinkTimeout
from transports.interruption import InterruptibleCall

SHORT_S = 0.02
LINGER_S = 30
"""What a tty's closing_wait is by default."""


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


async def test_a_system_without_threads_is_told_and_asked_again_by_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = BlockingCalls("port")

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(LinkTimeout, match="port: no thread for open: can't start new thread"):
            await calls.run("open", lambda: 42, deadline_s=10)
    assert await calls.run("open", lambda: 42, deadline_s=10) == 42


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


# -- interruption


@pytest.fixture
def lingering() -> Iterator[int]:
    """A descriptor whose close waits LINGER_S for a peer that takes nothing: what a stuck tty does, without one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
        with far:
            near.setblocking(False)
            try:
                while True:
                    near.send(bytes(65536))
            except BlockingIOError:
                pass
            near.setblocking(True)
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER_S))
            yield near.detach()


async def test_a_close_that_hangs_is_interrupted_and_done(lingering: int) -> None:
    calls = BlockingCalls("port", patience_s=SHORT_S)
    with anyio.fail_after(LINGER_S / 2):
        await calls.run("close", lambda: os.close(lingering), deadline_s=LINGER_S, is_interruptible=True)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(lingering)


async def test_what_a_late_open_gave_is_closed_although_that_hangs(lingering: int) -> None:
    calls, hung = BlockingCalls("port", patience_s=SHORT_S), Hung()

    def open_late() -> int:
        hung()
        return lingering

    with pytest.raises(LinkTimeout):
        await calls.run("open", open_late, deadline_s=SHORT_S, undo=os.close)
    hung.let_go.set()
    with anyio.fail_after(LINGER_S / 2):
        assert await calls.run("open", lambda: "next", deadline_s=LINGER_S) == "next"


async def test_a_call_that_is_not_to_be_interrupted_is_not(lingering: int) -> None:
    calls = BlockingCalls("port", patience_s=SHORT_S)
    with pytest.raises(LinkTimeout):
        await calls.run("close", lambda: os.close(lingering), deadline_s=10 * SHORT_S)


def test_a_thread_that_has_ended_gets_no_signal() -> None:
    call = InterruptibleCall()
    thread = threading.Thread(target=call.run, args=(lambda: None,))
    thread.start()
    thread.join()
    call.interrupt()


def test_a_program_that_uses_the_signal_itself_keeps_it() -> None:
    ours = signal.signal(interruption.SIGNAL, signal.SIG_IGN)
    try:
        assert not interruption.prepare()
        assert signal.getsignal(interruption.SIGNAL) is signal.SIG_IGN
    finally:
        signal.signal(interruption.SIGNAL, ours)


def test_only_the_main_thread_can_prepare() -> None:
    ours = signal.signal(interruption.SIGNAL, signal.SIG_DFL)
    answers: list[bool] = []
    try:
        thread = threading.Thread(target=lambda: answers.append(interruption.prepare()))
        thread.start()
        thread.join()
    finally:
        signal.signal(interruption.SIGNAL, ours)
    assert answers == [False]

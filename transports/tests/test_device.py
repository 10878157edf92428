"""What a supervisor does for whoever asks its device, and in which order its sink hears what the device says."""

from __future__ import annotations

import random
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

from transports.delivery import MAX_UNHANDLED_BYTES
from transports.device import Device
from transports.errors import DeviceError, LocalProtocolError, SessionLost
from transports.protocol import Joined, Listed, Output, RemoveWorkload, StartWorkload, WorkloadState
from transports.serial import SerialLinkOpener
from transports.tests.device_rig import START, Board, Notes, bench
from transports.tests.line_protocol import LineProtocol

# -- sessions and requests


async def test_a_plugged_device_joins_and_answers(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, anyio.create_task_group() as tasks:
        ready = [b.device.is_ready]
        await b.board.join()
        await b.notes.until(Listed)
        ready.append(b.device.is_ready)
        assert ready == [False, True]
        assert b.device.link_error is None

        async def answer() -> None:
            assert "hello" in await b.board.expect("do 1 StartWorkload")
            await b.board.say("ok 1")

        tasks.start_soon(answer)
        status = await b.device.request(START)
        assert status is not None
        assert (status.wid, status.gen, status.state) == (7, 1, WorkloadState.RUNNING)
        assert b.notes.of(type(None), Joined, Listed) == [type(None), Joined, Listed]


async def test_a_no_of_the_device_is_raised_with_its_code_and_text(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.board.join()
        await b.notes.until(Listed)
        await b.board.say("no 1 4 slot is busy")
        async with anyio.create_task_group() as tasks:

            async def answer() -> None:
                await b.board.expect("do 1")

            tasks.start_soon(answer)
            with pytest.raises(DeviceError, match="slot is busy") as refused:
                await b.device.request(START)
        assert refused.value.code == 4


async def test_requests_may_overlap_and_each_gets_its_own_answer(tmp_path: Path) -> None:
    answers: dict[int, object] = {}
    async with bench(tmp_path) as b:
        await b.board.join()
        await b.notes.until(Listed)
        async with anyio.create_task_group() as tasks:

            async def ask(wid: int) -> None:
                status = await b.device.request(StartWorkload(wid=wid, gen=1, program="p"))
                answers[wid] = status and status.wid

            for wid in (11, 12, 13):
                tasks.start_soon(ask, wid)
            for _ in range(3):
                await b.board.expect("do")
            await b.board.say("ok 3", "ok 1", "ok 2")
    assert answers == {11: 11, 12: 12, 13: 13}


async def test_without_a_session_a_request_is_refused_at_once(tmp_path: Path) -> None:
    async with bench(tmp_path, plugged=False) as b:
        with pytest.raises(SessionLost):
            await b.device.request(START)


async def test_a_request_that_cannot_fit_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.board.join()
        await b.notes.until(Listed)
        with pytest.raises(LocalProtocolError, match="exceeds 4096"):
            await b.device.request(StartWorkload(wid=1, gen=1, program="x" * 5000))


async def test_an_answer_that_never_comes_ends_at_the_deadline(tmp_path: Path) -> None:
    async with bench(tmp_path, request_deadline_s=0.05) as b:
        await b.board.join()
        await b.notes.until(Listed)
        with pytest.raises(SessionLost, match=r"no answer to RemoveWorkload within 0\.05 s"):
            await b.device.request(RemoveWorkload(1, 1))
        await b.board.say("ok 1", "log the late answer disturbed nothing")
        await b.notes.until(Output)


# -- output and acknowledgements


async def test_output_is_acknowledged_only_after_it_is_stored(tmp_path: Path) -> None:
    async with bench(tmp_path, ping_s=0.02) as b:
        await b.board.join()
        await b.notes.until(Listed)
        b.notes.gate = anyio.Event()
        await b.board.say("log one", "log two")
        heard = [await b.board.next_line() for _ in range(4)]
        assert sorted(heard) == ["ack 3", "ping", "ping", "ping"]  # time and writing go on while the sink is slow
        assert b.notes.lines() == [b"one"]
        b.notes.gate.set()
        while (line := await b.board.next_line()) == "ping":
            pass
        assert line == "ack 6"
        assert b.notes.lines() == [b"one", b"two"]


async def test_a_flood_is_held_back_while_the_sink_is_slow_and_nothing_is_lost(tmp_path: Path) -> None:
    lines = [f"log {number:06} {'x' * 990}" for number in range(4 * MAX_UNHANDLED_BYTES // 1000)]
    async with bench(tmp_path) as b:
        await b.board.join()
        await b.notes.until(Listed)
        b.notes.gate = anyio.Event()
        said = anyio.Event()
        async with anyio.create_task_group() as tasks:

            async def flood() -> None:
                await b.board.say(*lines)
                said.set()

            async def hear_acks() -> None:
                while True:
                    await b.board.next_line()

            tasks.start_soon(flood)
            tasks.start_soon(hear_acks)
            await anyio.sleep(0.2)
            b.notes.gate.set()
            await said.wait()
            await b.notes.until(Output, len(lines))
            tasks.cancel_scope.cancel()
    assert [int(line[:6]) for line in b.notes.lines()] == list(range(len(lines)))


class Full(Exception):
    pass


async def test_what_the_sink_raises_ends_the_supervisor(tmp_path: Path) -> None:
    class FullSink(Notes):
        def store(self, device: str, output: Output) -> bool:
            raise Full

    board = Board(tmp_path / "board")
    board.plug()
    device = Device("board-a", SerialLinkOpener(str(board.path)), LineProtocol(), FullSink(), rng=random.Random(1))
    with pytest.RaisesGroup(pytest.RaisesExc(Full), flatten_subgroups=True):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(device.run)
            await board.join()
            await board.say("log it")
    board.end.close()

"""A command on a device as a person's tasks have it: a real supervisor, a real core, and a simulated board on a port in memory."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from transports.device import Device
from transports.errors import DeviceError, SessionLost
from transports.link import Command, CommandEnd, CommandOutput, TerminalSize
from transports.protocol import MAX_INPUT_BYTES, Listed, SendInput, StartWorkload
from transports.protocols.framed import FramedProtocol
from transports.simulated.link import SimulatedLinkOpener
from transports.tests.device_rig import Notes

DEADLINE_S = 8
RUN = (7, 1)


class Bench:
    def __init__(self, conversations: int = 4, request_deadline_s: float = 30.0) -> None:
        self.port = SimulatedLinkOpener(device_id="sim-a", slots=2, conversations=conversations)
        core = FramedProtocol(None, gateway_id=1, rng=random.Random(1))
        self.notes = Notes()
        self.device = Device("dev", self.port, core, self.notes, rng=random.Random(1), request_deadline_s=request_deadline_s)

    async def begin(self, *argv: str, terminal: TerminalSize | None = None) -> Command:
        return await self.device.run_command(RUN, argv, [], "", None if terminal is None else ("xterm", terminal))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.port.run)
            tasks.start_soon(self.device.run)
            with anyio.fail_after(DEADLINE_S):
                await self.notes.until(Listed)
                await self.device.request(StartWorkload(*RUN, "cat", stdin=True))
                yield
            tasks.cancel_scope.cancel()


async def told(command: Command) -> tuple[bytes, bytes, CommandEnd]:
    """Both outputs and the end."""
    outputs = {False: b"", True: b""}
    while isinstance(piece := await command.receive(), CommandOutput):
        outputs[piece.is_error] += piece.data
    return outputs[False], outputs[True], piece


async def test_a_command_is_read_and_written_by_two_tasks() -> None:
    bench, data = Bench(), random.Random(2).randbytes(200_000)
    async with bench.running():
        command = await bench.begin("tee")

        async def write() -> None:
            await command.send(data)
            command.end_input()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            assert await told(command) == (data, data, CommandEnd(0))
        await command.aclose()


async def test_a_terminal_is_resized() -> None:
    bench = Bench()
    async with bench.running():
        command = await bench.begin("size", terminal=TerminalSize(80, 24))
        assert await command.receive() == CommandOutput(b"80 columns, 24 rows\r\n", False)
        command.resize(TerminalSize(70, 20))
        assert await command.receive() == CommandOutput(b"70 columns, 20 rows\r\n", False)
        await command.aclose()


async def test_a_pulled_cable_wakes_whoever_waits() -> None:
    bench = Bench()
    async with bench.running():
        command = await bench.begin("cat")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(command.send, b"x" * 1_000_000)
            await anyio.wait_all_tasks_blocked()
            bench.port.unplug()
            with pytest.raises(SessionLost, match="the session with the device ended in the middle of the command"):
                await told(command)
        with pytest.raises(SessionLost, match="no session"):
            await bench.begin("cat")


async def test_a_refused_command_leaves_nothing_behind() -> None:
    bench = Bench(conversations=1)
    async with bench.running():
        for _ in range(3):
            with pytest.raises(DeviceError, match="no command 'ls'"):
                await bench.begin("ls")
        assert await told(await bench.begin("echo", "x")) == (b"x\n", b"", CommandEnd(0))


async def test_who_gives_up_before_the_answer_ends_the_command() -> None:
    bench = Bench(conversations=1)
    async with bench.running():
        with anyio.move_on_after(0) as scope:
            await bench.begin("cat")
        assert scope.cancelled_caught
        assert await told(await bench.begin("echo", "x")) == (b"x\n", b"", CommandEnd(0))


async def test_a_typist_waits_for_a_program_that_does_not_read() -> None:
    bench = Bench(request_deadline_s=0.2)
    async with bench.running():
        await bench.device.request(StartWorkload(8, 1, "hello", stdin=True))
        with bench.device.typing(8, 1), anyio.move_on_after(0.6) as scope:
            await bench.device.request(SendInput(8, 1, b"z" * MAX_INPUT_BYTES))  # twice what the board holds
        assert scope.cancelled_caught
        assert bench.device.is_ready


async def test_a_typist_who_leaves_makes_room() -> None:
    bench = Bench(conversations=1)
    async with bench.running():
        with bench.device.typing(*RUN):
            await bench.device.request(SendInput(*RUN, b"typed\n"))
            with pytest.raises(DeviceError, match="room for 1 conversation"):
                await bench.begin("echo")
        assert await told(await bench.begin("echo", "x")) == (b"x\n", b"", CommandEnd(0))

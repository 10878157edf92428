"""A simulated board in a process of its own, at the far end of an adapter's socket: `python -m guest.board SOCKET`.

It reads commands from stdin: `unplug` closes the socket, `plug` connects again, `reset` is a power cycle. The board runs on while it is
unplugged, and what it says then is lost. It never stops reading.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from typing import Final

import anyio
import anyio.abc
import anyio.lowlevel

from transports.simulated.board import BoardConfig
from transports.simulated.runner import BoardRunner

READ_BYTES: Final = 65536
COMMAND_BYTES: Final = 4096


class SocketPort:
    """The board's UART, wired to an adapter."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stream: anyio.abc.SocketStream | None = None
        self._plugged = anyio.Event()

    async def plug(self) -> None:
        if self._stream is None:
            self._stream = await anyio.connect_unix(self._path)
            self._plugged.set()

    async def unplug(self) -> None:
        stream, self._stream = self._stream, None
        self._plugged = anyio.Event()
        if stream is not None:
            await stream.aclose()

    async def receive(self) -> bytes:
        while True:
            await self._plugged.wait()
            stream = self._stream
            if stream is None:
                continue
            try:
                return await stream.receive(READ_BYTES)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                if stream is self._stream:  # the guest is gone; else it was pulled here
                    await self.unplug()

    async def send(self, data: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        if self._stream is not None:
            with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await self._stream.send(data)


async def run(path: str, config: BoardConfig) -> None:
    """Until the end of stdin."""
    port = SocketPort(path)
    runner = BoardRunner(config, port, lambda line: print(line, flush=True))
    await port.plug()
    print("ready", flush=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(runner.run)
        while commands := await _read_commands():
            for command in commands:
                match command:
                    case "plug":
                        await port.plug()
                    case "unplug":
                        await port.unplug()
                    case "reset":
                        runner.reset()
                print(command, flush=True)
        tasks.cancel_scope.cancel()


async def _read_commands() -> list[str]:
    await anyio.wait_readable(0)
    return os.read(0, COMMAND_BYTES).decode().split()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("socket")
    parser.add_argument("--id", required=True)
    parser.add_argument("--slots", type=int, default=2)
    arguments = parser.parse_args()
    anyio.run(run, arguments.socket, BoardConfig(id=arguments.id, slots=arguments.slots))

"""A simulated board behind a unix socket, as a process: `python board.py PATH`."""

from __future__ import annotations

import sys
from pathlib import Path

import anyio
from device_socket import DeviceSocket

from transports.simulated.board import BoardConfig
from transports.simulated.runner import BoardRunner


async def run(path: Path) -> None:
    await BoardRunner(BoardConfig(id="behind-a-socket"), DeviceSocket(path)).run()


if __name__ == "__main__":
    anyio.run(run, Path(sys.argv[1]))

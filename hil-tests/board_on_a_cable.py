"""A simulated board whose UART is an existing port: the far end of a bad cable. `wirelet simulate` makes its own port instead."""

from __future__ import annotations

import argparse

import anyio

from transports.link import Link
from transports.serial import SerialLinkOpener
from transports.simulated.board import BoardConfig
from transports.simulated.runner import BoardRunner


class Uart:
    """The board's side of an open port."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def receive(self) -> bytes:
        return await self._link.receive()

    async def send(self, data: bytes) -> None:
        await self._link.send(data)


async def run(port: str, config: BoardConfig) -> None:
    link = await SerialLinkOpener(port).open()
    print("powered", flush=True)
    await BoardRunner(config, Uart(link), lambda line: print(line, flush=True)).run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port")
    parser.add_argument("--id", default="cable-board")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--ring", type=int, default=16384)
    parser.add_argument("--line-bytes-per-s", type=float)
    arguments = parser.parse_args()
    board = BoardConfig(id=arguments.id, slots=arguments.slots, ring_bytes=arguments.ring, line_bytes_per_s=arguments.line_bytes_per_s)
    anyio.run(run, arguments.port, board)

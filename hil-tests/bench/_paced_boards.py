"""`wirelet simulate` with ports that carry no more than a UART does: bytes arrive every 5 ms, as through a USB adapter."""

from __future__ import annotations

import argparse
from typing import Final

import anyio
import anyio.lowlevel

from gateway.cli import simulate
from transports.simulated import pty

SLICE_S: Final = 0.005
BITS_PER_BYTE: Final = 10


class PacedPort(pty.PtyPort):
    """A busy line gathers a slice and then delivers it; what comes after a pause is delivered at once."""

    bytes_per_s: float = 0

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._slice = bytearray()
        self._sent_at = 0.0
        """When the line has sent everything that it was given."""

    async def send(self, data: bytes) -> None:
        now = anyio.current_time()
        is_idle = now >= self._sent_at
        self._slice += data
        self._sent_at = max(now, self._sent_at) + len(data) / self.bytes_per_s
        if not is_idle and len(self._slice) < SLICE_S * self.bytes_per_s:
            await anyio.lowlevel.checkpoint()
            return
        await anyio.sleep(self._sent_at - now)
        gathered, self._slice = bytes(self._slice), bytearray()
        await super().send(gathered)


def main() -> int:
    parser = argparse.ArgumentParser()
    simulate.add_arguments(parser)
    parser.add_argument("--baud", type=int, required=True)
    arguments = parser.parse_args()
    PacedPort.bytes_per_s = arguments.baud / BITS_PER_BYTE
    pty.PtyPort = PacedPort  # type: ignore[misc]  # the bench's own ports instead
    return simulate.run(arguments)


if __name__ == "__main__":
    raise SystemExit(main())

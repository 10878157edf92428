"""A port whose TX is joined to its RX: every byte value is sent, and what does not come back is named.

Nothing is sent before the line has been quiet: a device that talks is no loop, and must not be sent 256 values. Every wait is bounded.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import anyio

from transports.baud import BITS_PER_BYTE
from transports.link import Link

BAUDS: Final = (9600, 115200, 230400, 460800, 921600, 1_000_000, 2_000_000, 3_000_000)
XON, XOFF = 0x11, 0x13
VALUES: Final = bytes([*range(XON), 0x12, XOFF, XON, *range(0x14, 0x100)])
"""All 256. XON comes right behind XOFF, so that who obeys them goes on and shows what else it does."""
ROUND_S: Final = 0.1
MAX_ROUNDS: Final = 16
"""4 KiB: more than any chip's buffers hold, so that a rate that is too high loses bytes."""
QUIET_S: Final = 0.2
LISTEN_S: Final = 2.0
"""For boot text, or for what was under way at the rate before."""
SILENCE_S: Final = 0.5
"""The rest does not come: more than any adapter gathers bytes for."""
GRACE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Echo:
    """What came back of rounds times VALUES."""

    rounds: int
    came: bytes
    is_talking: bool = False
    """Somebody talks there unasked, and nothing was sent."""

    @property
    def is_whole(self) -> bool:
        return self.came == VALUES * self.rounds and not self.is_talking

    @property
    def never(self) -> list[int]:
        """Values of which none came."""
        return sorted(set(VALUES) - set(self.came))

    @property
    def lost(self) -> int:
        """Bytes that did not come, of values of which others did."""
        return sum(max(0, self.rounds - count) for count in Counter(self.came).values())

    @property
    def strange(self) -> int:
        """Bytes that came and were not sent."""
        return sum(max(0, count - self.rounds) for count in Counter(self.came).values())


def problem_of(echo: Echo) -> str:
    """Empty when everything came back."""
    if echo.is_talking:
        return "a device talks there, so nothing was sent"
    if not echo.came:
        return "nothing comes back"
    if echo.never:
        return f"{_ranges(echo.never)} never come back" + (", and others come instead" if echo.strange else "")
    if echo.lost:
        return f"{echo.lost} of {len(VALUES) * echo.rounds} bytes are lost"
    return "" if echo.is_whole else "bytes come back in another order, or more than once"


def cause_of(echo: Echo) -> str:
    """Of a problem: what to do about it."""
    never = set(echo.never)
    if echo.is_talking or not echo.came:
        return "join TX and RX of the port, and nothing else"
    if never >= set(range(0x80, 0x100)):
        return "7 data bits, or a far end that strips the eighth: if that is a tty, stty -F ITS_TTY cs8 -istrip"
    if never and never <= {XON, XOFF}:
        return "a far end with XON/XOFF: if that is a tty, stty -F ITS_TTY -ixon -ixoff"
    if never:
        return "a far end that reads the bytes as text: if that is a tty, stty -F ITS_TTY raw"
    return "a rate or a cable that is too much for the adapter: take a lower baud, or flowControl: rtscts"


async def loop(link: Link, baud: int) -> Echo:
    """Listen, send, gather. Raises LinkLost."""
    if not await _falls_quiet(link):
        return Echo(0, b"", is_talking=True)
    rounds = max(1, min(MAX_ROUNDS, int(baud / BITS_PER_BYTE * ROUND_S / len(VALUES))))
    sent, came = VALUES * rounds, bytearray()
    with anyio.move_on_after(len(sent) * BITS_PER_BYTE / baud + GRACE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(link.send, sent)
            while len(came) < len(sent):
                with anyio.move_on_after(SILENCE_S) as silence:
                    came += await link.receive()
                if silence.cancelled_caught:
                    break
            tasks.cancel_scope.cancel()
    return Echo(rounds, bytes(came))


async def _falls_quiet(link: Link) -> bool:
    with anyio.move_on_after(LISTEN_S):
        while True:
            with anyio.move_on_after(QUIET_S) as quiet:
                await link.receive()
            if quiet.cancelled_caught:
                return True
    return False


def _ranges(values: Iterable[int]) -> str:
    """0x11, 0x13, 0x80 to 0xff"""
    runs = [[value for _, value in run] for _, run in itertools.groupby(enumerate(values), lambda pair: pair[1] - pair[0])]
    return ", ".join(f"0x{run[0]:02x}" if len(run) == 1 else f"0x{run[0]:02x} to 0x{run[-1]:02x}" for run in runs)

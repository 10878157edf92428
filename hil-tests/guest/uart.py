"""What a UART reads of bytes that were sent at another rate: the line's levels, sampled in the middle of where its bits would be.

8 data bits, no parity, one stop bit, bytes one behind the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

FRAME_BITS: Final = 10
TOLERANCE: Final = 0.03
"""Within it every bit is still sampled where it is, so that nothing has to be computed."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """A byte, and whether its stop bit was low."""

    value: int
    is_misframed: bool


def is_understood(sent_baud: float, read_baud: float) -> bool:
    return abs(sent_baud / read_baud - 1) <= TOLERANCE


def sample(data: bytes, sent_baud: float, read_baud: float) -> Iterator[Sampled]:
    """The line idles high before and after data. After a frame whose stop bit is low the reader waits for the line to be high."""
    levels = [level for byte in data for level in _frame(byte)]
    per_bit = sent_baud / read_baud  # of the sender's bits in one of the reader's
    at = 0.0
    while (start := _falling_edge(levels, at)) is not None:
        bits = [_level(levels, start + (number + 0.5) * per_bit) for number in range(1, FRAME_BITS)]
        yield Sampled(sum(bit << place for place, bit in enumerate(bits[:8])), is_misframed=not bits[8])
        at = start + (FRAME_BITS - 0.5) * per_bit


def _frame(byte: int) -> list[int]:
    return [0, *(byte >> place & 1 for place in range(8)), 1]


def _level(levels: list[int], at: float) -> int:
    return levels[int(at)] if at < len(levels) else 1


def _falling_edge(levels: list[int], at: float) -> float | None:
    """Where the line goes from high to low at or after `at`; there, when it is low in the middle of nothing: at the very beginning."""
    if at == 0.0 and levels and not levels[0]:
        return 0.0
    for place in range(max(1, int(at) + 1), len(levels)):
        if levels[place - 1] and not levels[place]:
            return float(place)
    return None

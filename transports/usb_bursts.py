"""How a run of bytes goes through a bulk endpoint: in bounded transfers, and so that the far end sees its end. Pure.

A receiver with a large buffer waits until that is full or a packet is shorter than the largest. After a burst of whole packets it would
wait for ever, so an empty packet follows (SPEC.md 10.2). Borders of transfers carry no meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

TRANSFER_BYTES: Final = 262144
"""Of one transfer: a multiple of every bulk packet size, or a packet that comes would not fit into what is left. Each wakes up to three
threads, so that few large ones carry several times what many small ones do (ADR 0010)."""


def transfers(burst: bytes, packet_bytes: int) -> Iterator[memoryview]:
    """The transfers of one burst; the last is empty if the one before it would not be seen to end. Nothing for an empty burst."""
    view = memoryview(burst)
    for start in range(0, len(burst), TRANSFER_BYTES):
        yield view[start : start + TRANSFER_BYTES]
    if burst and len(burst) % packet_bytes == 0:
        yield view[:0]

"""Senders as the tests of streams use them, and what a peer answers."""

from __future__ import annotations

import struct

from transports.wire.framing import SKIP
from transports.wire.offsets import MASK
from transports.wire.send_stream import Overflow, SendStream
from transports.wire.timers import FixedRto, MeasuredRto

MTU = 64
T = 10.0


def ring(capacity: int = 100, *, overflow: Overflow = Overflow.REFUSE, offset: int = 0, lossy: bool = False) -> SendStream:
    return SendStream(capacity, FixedRto(), keeps=True, overflow=overflow, offset=offset, lossy=lossy)


def queue(credit: int = 1000) -> SendStream:
    stream = SendStream(1000, MeasuredRto(), cuts=True)
    stream.join(None, credit)
    return stream


def ack(stream: SendStream, off: int, credit: int = 1000, *, rejects: bool = False, now: float = T) -> bool:
    return stream.acknowledged(off & MASK, credit, rejects=rejects, now=now)


def lost_records(outgoing: tuple[int, int, int, bytes] | None) -> tuple[int, int]:
    """(offset, records) of a SKIP."""
    assert outgoing is not None
    assert outgoing[0] == SKIP
    records, _reason = struct.unpack("<IB", outgoing[3])
    return outgoing[2], records

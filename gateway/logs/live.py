"""A log as it grows, for somebody who looks on: from now, the streams apart, and unfinished lines at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

import anyio.lowlevel

from gateway.logs.clock import Clock
from gateway.logs.record import FLAG_GAP, FLAG_PARTIAL, Gap, RawRecord, Stream, unpack_gap
from gateway.logs.render import gap_line
from gateway.logs.ring import Cursor
from gateway.logs.store import Log, LogKey, LogStore

PIECE_BYTES: Final = 64 * 1024


def look_on(store: LogStore, key: LogKey, *, clock: Clock) -> AsyncGenerator[tuple[Stream, bytes], None]:
    """What comes after this call; it ends when the attempt is closed or released. A gap is a line of its own on STDOUT."""
    log = store.log(key)
    return _look_on(log, None if log.ring is None else log.ring.newest(), clock)


async def _look_on(log: Log, cursor: Cursor | None, clock: Clock) -> AsyncGenerator[tuple[Stream, bytes], None]:
    while True:
        ring = log.ring
        if ring is not None:
            cursor = cursor or ring.oldest()
            if (gap := ring.overtaken(cursor)) is not None:
                yield Stream.STDOUT, _line_of(gap, clock)
            if records := ring.read(cursor, PIECE_BYTES):
                for piece in _pieces(records, clock):
                    yield piece
                await anyio.lowlevel.checkpoint()  # a consumer that never waits must not keep the loop
                continue
        if log.closed:
            return
        await log.changed()


def _pieces(records: list[RawRecord], clock: Clock) -> list[tuple[Stream, bytes]]:
    pieces: list[tuple[Stream, bytes]] = []
    for _, stream, flags, data in records:
        if stream == Stream.SYSTEM:
            continue
        text = _line_of(unpack_gap(data), clock) if flags & FLAG_GAP else data if flags & FLAG_PARTIAL else data + b"\n"
        if pieces and pieces[-1][0] == stream:
            pieces[-1] = (pieces[-1][0], pieces[-1][1] + text)
        else:
            pieces.append((Stream(stream), text))
    return pieces


def _line_of(gap: Gap, clock: Clock) -> bytes:
    return gap_line(gap, clock.offset_ns())

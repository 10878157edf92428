"""Where the last lines of a ring begin, as `--tail` counts them. Pure.

A line is an entry and the partial entries of its stream that lead to it; a gap is one, and ends what was unfinished. Blocks of whole lines
are counted without a look into them: a ring of 50 MB must not hold up the loop.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from gateway.logs.record import FLAG_GAP, FLAG_LINES, FLAG_PARTIAL
from gateway.logs.ring import Cursor, Header, Ring


@dataclass(frozen=True, slots=True)
class Tail:
    """Where the last lines begin."""

    cursor: Cursor
    lines: int
    """How many there are, at most what was asked for."""
    unfinished: frozenset[int]
    """Streams whose next entries belong to a line that began before."""


class _Begin(NamedTuple):
    """Lines that begin one after another in one record."""

    header: Header
    place: Cursor
    """Before the record."""
    skip: int
    """Lines of the record that are before."""
    line_count: int
    unfinished: frozenset[int]


def last_lines(ring: Ring, count: int) -> Tail:
    """The place before the last `count` lines, in the order in which they begin."""
    begins: deque[_Begin] = deque()
    found = 0
    unfinished = frozenset[int]()
    place = ring.oldest()
    for header in ring.walk() if count else ():
        fresh, unfinished = _begins(ring, header, place, unfinished)
        begins += fresh
        found += sum(begin.line_count for begin in fresh)
        while begins and found - begins[0].line_count >= count:
            found -= begins.popleft().line_count
        place = Cursor(header.position, place.seq + header.line_count, place.size_bytes + header.text_bytes, header.stamp_ns)
    if not begins:
        return Tail(ring.newest(), 0, unfinished)
    first = begins[0]
    cursor = _within(ring, first, first.skip + max(found - count, 0))
    return Tail(cursor, min(found, count), first.unfinished)


def _begins(ring: Ring, header: Header, place: Cursor, unfinished: frozenset[int]) -> tuple[list[_Begin], frozenset[int]]:
    """The lines that begin in a record, and what is unfinished after it."""
    if header.flags & FLAG_LINES and not header.flags & FLAG_PARTIAL and not unfinished:
        return [_Begin(header, place, 0, header.line_count, unfinished)], unfinished
    begins = []
    for number, (_, stream, flags, _) in enumerate(ring.lines(header)):
        if flags & FLAG_GAP:
            unfinished = frozenset()
        if stream and stream not in unfinished:
            begins.append(_Begin(header, place, number, 1, unfinished))
        unfinished = unfinished | {stream} if flags & FLAG_PARTIAL else unfinished - {stream}
    return begins, unfinished


def _within(ring: Ring, begin: _Begin, skip: int) -> Cursor:
    """The place after so many lines of the record."""
    place = begin.place
    passed = ring.lines(begin.header)[:skip] if skip else []
    stamp_ns = passed[-1][0] if passed else place.stamp_ns
    size_bytes = place.size_bytes + sum(len(text) for _, _, _, text in passed)
    return Cursor(begin.header.position, place.seq + skip, size_bytes, stamp_ns, skip)

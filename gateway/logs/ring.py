"""A ring of log records over a fixed piece of memory: record bytes and arithmetic, nothing else. Pure.

The memory is a mapped file in production, so whatever was committed survives a `kill -9`:

    0     magic
    8     generation: one aligned word; its lowest bit names the state slot that counts
    128   state slot 0: where the records lie, what was dropped, how far the source got
    256   state slot 1
    512   the owner's key
    1024  records, each contiguous and aligned to 8

Nothing that the counting slot describes is ever overwritten: dropping is committed before the dropped bytes are, appended records
before the slot that shows them, and a commit is the store of one word. A kill between any two bytes leaves whole records only.

The ring refuses what it holds already: an entry with an epoch and an offset that is not beyond the last one of that epoch is a
resend after a kill. It never blocks and never raises for a full ring; the oldest records go, and are counted.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.logs.record import (
    FLAG_GAP,
    FLAG_PARTIAL,
    MAX_DATA_BYTES,
    PADDING,
    RECORD_HEADER,
    Entry,
    Gap,
    GapCause,
    Stream,
    cut,
    pack_gap,
    unpack_gap,
)

HEADER_BYTES: Final = 1024
MAX_KEY_BYTES: Final = HEADER_BYTES - 514

_MAGIC: Final = b"WLRING01"
_GENERATION_AT: Final = 8
_SLOT_AT: Final = (128, 256)
_KEY_AT: Final = 512
_KEY_LENGTH: Final = struct.Struct("<H")
_STATE: Final = struct.Struct("<7Q2qII")
_FLAG_CLOSED: Final = 1
_HEADER_SIZE: Final = RECORD_HEADER.size

RawRecord = tuple[int, int, int, bytes]
"""(stamp_ns, stream, flags, data): what readers get; a plain tuple because of their number."""


class RingCorrupt(Exception):
    """The memory does not hold a ring that this version wrote."""


@dataclass(slots=True)
class Cursor:
    """A reader's place: before record number `seq` of all ever appended."""

    position: int
    seq: int
    size_bytes: int
    """Data bytes of all records before."""
    stamp_ns: int = 0
    """Of the last record read."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Where the last lines begin."""

    cursor: Cursor
    lines: int
    """How many there are, at most what was asked for."""
    unfinished: frozenset[int]
    """Streams whose next entries belong to a line that began before."""


def never_grow() -> int:
    """For a ring of fixed size."""
    return 0


class Ring:
    """A ring in `memory`, which begins formatted. grow() is asked for more record bytes when the end of the memory in use is reached;
    it returns how many bytes of memory after the ones in use may be used from now on, or 0."""

    def __init__(self, memory: memoryview, grow: Callable[[], int] = never_grow) -> None:
        """Read the state and check every record. Raises RingCorrupt, with the memory released."""
        self._memory = memory
        self.grow = grow
        if bytes(memory[:8]) != _MAGIC:
            memory.release()
            raise RingCorrupt("no ring of this version")
        self._word = memory[_GENERATION_AT : _GENERATION_AT + 8].cast("Q")
        self._generation = self._word[0]
        state: tuple[int, ...] = _STATE.unpack_from(memory, _SLOT_AT[self._generation & 1])
        self._tail, self._head, self._wrap, self._capacity = state[:4]
        self.dropped_records, self.dropped_bytes, self.last_offset = state[4:7]
        self.dropped_from_ns, self.dropped_to_ns = state[7:9]
        self.last_epoch, flags = state[9:]
        self.closed = bool(flags & _FLAG_CLOSED)
        self.released = False
        self.duplicates = 0
        self.last_stamp_ns = self.dropped_to_ns
        try:
            self.next_seq, self.total_bytes = self._check()
        except RingCorrupt:
            self.release()
            raise

    @staticmethod
    def format(memory: memoryview, capacity: int, key: bytes) -> None:
        """Make memory an empty ring with capacity record bytes in use."""
        if len(key) > MAX_KEY_BYTES:
            raise ValueError(f"key of {len(key)} bytes exceeds {MAX_KEY_BYTES}")
        _KEY_LENGTH.pack_into(memory, _KEY_AT, len(key))
        memory[_KEY_AT + 2 : _KEY_AT + 2 + len(key)] = key
        _STATE.pack_into(memory, _SLOT_AT[0], 0, 0, 0, capacity, 0, 0, 0, 0, 0, 0, 0)
        memory[_GENERATION_AT : _GENERATION_AT + 8] = bytes(8)
        memory[:8] = _MAGIC

    @property
    def key(self) -> bytes:
        (length,) = _KEY_LENGTH.unpack_from(self._memory, _KEY_AT)
        return bytes(self._memory[_KEY_AT + 2 : _KEY_AT + 2 + length])

    @property
    def capacity(self) -> int:
        """Record bytes in use, headers and padding included."""
        return self._capacity

    @property
    def records(self) -> int:
        return self.next_seq - self.dropped_records

    @property
    def first_stamp_ns(self) -> int:
        """Of the first record ever appended, as far as is known; 0 without any."""
        if self.dropped_records:
            return self.dropped_from_ns
        if not self.records:
            return 0
        _, _, _, _, stamp_ns, _ = RECORD_HEADER.unpack_from(self._memory, HEADER_BYTES + self._tail)
        return int(stamp_ns)

    def append(self, entries: Sequence[Entry]) -> int:
        """Append what the ring does not hold yet; return how many entries that was. Committed when it returns."""
        pack, padding, flush_at = RECORD_HEADER.pack, PADDING, self._capacity >> 2
        max_data = min(MAX_DATA_BYTES, flush_at)
        parts: list[bytes] = []
        size = data_bytes = count = appended = 0
        epoch_now, offset_now = self.last_epoch, self.last_offset
        stamp_ns = self.last_stamp_ns
        for entry in entries:
            stamp_ns, stream, data, partial, epoch, end, gap = entry
            if end:
                if epoch == epoch_now and end <= offset_now:
                    self.duplicates += 1
                    continue
                if gap and epoch == epoch_now:
                    data = self._without_overlap(data, end, offset_now)
            length = len(data)
            if length > max_data or size > flush_at:
                self._commit_run(b"".join(parts), count, data_bytes, stamp_ns, epoch_now, offset_now)
                parts, size, data_bytes, count = [], 0, 0, 0
                if length > max_data:
                    self.append(cut(entry, max_data))
                    epoch_now, offset_now = self.last_epoch, self.last_offset
                    appended += 1
                    continue
            if end:
                epoch_now, offset_now = epoch, end
            pad = -length & 7
            parts += (pack(length, stream, partial | gap << 1, epoch, stamp_ns, end), data, padding[pad])
            size += _HEADER_SIZE + length + pad
            data_bytes += length
            count += 1
            appended += 1
        self._commit_run(b"".join(parts), count, data_bytes, stamp_ns, epoch_now, offset_now)
        return appended

    def close(self) -> None:
        """Nothing more will come; remembered in the memory."""
        self.closed = True
        self._commit()

    def release(self) -> None:
        """Let go of the memory, so that it can be unmapped. Only `released` may be asked from now on."""
        self.released = self.closed = True
        self._word.release()
        self._memory.release()

    # -- reading

    def oldest(self) -> Cursor:
        return Cursor(self._tail, self.dropped_records, self.dropped_bytes, self.dropped_to_ns)

    def lost_before_oldest(self) -> Gap | None:
        """All that the ring ever dropped."""
        if not self.dropped_records:
            return None
        return Gap(self.dropped_records, self.dropped_bytes, GapCause.LOG_FULL, self.dropped_from_ns, self.dropped_to_ns)

    def newest(self) -> Cursor:
        return Cursor(self._head, self.next_seq, self.total_bytes, self.last_stamp_ns)

    def overtaken(self, cursor: Cursor) -> Gap | None:
        """What the ring dropped before the cursor came to it; None if nothing. Moves the cursor behind it."""
        lost = self.dropped_records - cursor.seq
        if lost <= 0:
            return None
        gap = Gap(lost, self.dropped_bytes - cursor.size_bytes, GapCause.READER_TOO_SLOW, cursor.stamp_ns, self.dropped_to_ns)
        cursor.position, cursor.seq, cursor.size_bytes, cursor.stamp_ns = self._tail, self.dropped_records, self.dropped_bytes, gap.to_ns
        return gap

    def read(self, cursor: Cursor, max_bytes: int) -> list[RawRecord]:
        """Records from the cursor on, until about max_bytes of data; moves the cursor. Call overtaken() first."""
        memory, unpack = self._memory, RECORD_HEADER.unpack_from
        position = self._tail if cursor.seq <= self.dropped_records else cursor.position
        turn = self._wrap if self._head < self._tail else -1
        found: list[RawRecord] = []
        taken, room = 0, max_bytes
        for _ in range(self.next_seq - cursor.seq):
            if position == turn:
                position = 0
            at = HEADER_BYTES + position
            length, stream, flags, _epoch, stamp_ns, _end = unpack(memory, at)
            at += _HEADER_SIZE
            found.append((stamp_ns, stream, flags, bytes(memory[at : at + length])))
            position += (_HEADER_SIZE + 7 + length) & ~7
            taken += length
            room -= length + 1
            if room <= 0:
                break
        if found:
            cursor.stamp_ns = found[-1][0]
        cursor.position = position
        cursor.seq += len(found)
        cursor.size_bytes += taken
        return found

    def entries(self) -> Iterator[Entry]:
        """All records as they were appended, for another ring: that one knows by their offsets what it holds already."""
        cursor = self.oldest()
        for _ in range(self.records):
            position = 0 if cursor.position == self._wrap and self._head < self._tail else cursor.position
            _, _, _, epoch, _, end = RECORD_HEADER.unpack_from(self._memory, HEADER_BYTES + position)
            ((stamp_ns, stream, flags, data),) = self.read(cursor, 0)
            yield Entry(stamp_ns, Stream(stream), data, bool(flags & FLAG_PARTIAL), epoch, end, bool(flags & FLAG_GAP))

    def last_lines(self, count: int) -> Tail:
        """The place before the last `count` lines, in the order in which they begin.

        A line is an entry and the partial entries of its stream that lead to it; a gap is one, and ends what was unfinished.
        """
        memory, unpack = self._memory, RECORD_HEADER.unpack_from
        tails: deque[tuple[int, int, int, int, frozenset[int]]] = deque(maxlen=count)
        unfinished = frozenset[int]()
        position, size, before_ns = self._tail, self.dropped_bytes, self.dropped_to_ns
        turn = self._wrap if self._head < self._tail else -1
        for seq in range(self.dropped_records, self.next_seq) if count else ():
            if position == turn:
                position = 0
            length, stream, flags, _, stamp_ns, _ = unpack(memory, HEADER_BYTES + position)
            if flags & FLAG_GAP:
                unfinished = frozenset()
            if stream and stream not in unfinished:
                tails.append((position, seq, size, before_ns, unfinished))
            if flags & FLAG_PARTIAL:
                unfinished |= {stream}
            elif stream in unfinished:
                unfinished -= {stream}
            position += (_HEADER_SIZE + 7 + length) & ~7
            size += length
            before_ns = stamp_ns
        if not tails:
            return Tail(self.newest(), 0, unfinished)
        position, first_seq, size, before_ns, unfinished = tails[0]
        return Tail(Cursor(position, first_seq, size, before_ns), len(tails), unfinished)

    # -- private

    def _commit_run(self, run: bytes, count: int, data_bytes: int, stamp_ns: int, epoch: int, offset: int) -> None:
        if not run:
            return
        self._make_room(len(run))
        at = HEADER_BYTES + self._head
        self._memory[at : at + len(run)] = run
        self._head += len(run)
        self.next_seq += count
        self.total_bytes += data_bytes
        self.last_stamp_ns = stamp_ns
        self.last_epoch, self.last_offset = epoch, offset
        self._commit()

    def _make_room(self, need: int) -> None:
        """Free `need` contiguous bytes at head. Head never meets tail from behind: equal means empty."""
        dropped = False
        while True:
            if self._head >= self._tail:
                if self._head + need <= self._capacity:
                    break
                if grown := self.grow():
                    self._capacity += grown
                    continue
                if need < self._tail:
                    self._wrap, self._head = self._head, 0
                    break
            elif self._head + need < self._tail:
                break
            self._drop_oldest()
            dropped = True
        if dropped:
            self._commit()

    def _drop_oldest(self) -> None:
        length, _, _, _, stamp_ns, _ = RECORD_HEADER.unpack_from(self._memory, HEADER_BYTES + self._tail)
        if not self.dropped_records:
            self.dropped_from_ns = stamp_ns
        self.dropped_records += 1
        self.dropped_bytes += length
        self.dropped_to_ns = stamp_ns
        self._tail += (_HEADER_SIZE + 7 + length) & ~7
        if self._head < self._tail:
            if self._tail == self._wrap:
                self._tail = 0
        elif self._tail == self._head:
            self._tail = self._head = 0

    def _commit(self) -> None:
        generation = self._generation = self._generation + 1
        _STATE.pack_into(
            self._memory,
            _SLOT_AT[generation & 1],
            self._tail,
            self._head,
            self._wrap,
            self._capacity,
            self.dropped_records,
            self.dropped_bytes,
            self.last_offset,
            self.dropped_from_ns,
            self.dropped_to_ns,
            self.last_epoch,
            _FLAG_CLOSED if self.closed else 0,
        )
        self._word[0] = generation

    def _without_overlap(self, data: bytes, end: int, held_to: int) -> bytes:
        """A gap that was declared anew after a kill may begin before what the ring holds: declare only the rest."""
        gap = unpack_gap(data)
        start = gap.offset
        if not start or gap.size_bytes is None or start >= held_to:
            return data
        held, cursor = 0, self.oldest()
        for _ in range(self.records):
            position = 0 if cursor.position == self._wrap and self._head < self._tail else cursor.position
            _, _, flags, epoch, _, record_end = RECORD_HEADER.unpack_from(self._memory, HEADER_BYTES + position)
            held += epoch == self.last_epoch and start < record_end <= held_to and not flags & FLAG_GAP
            self.read(cursor, 0)
        records = None if gap.records is None else max(0, gap.records - held)
        return pack_gap(gap._replace(records=records, size_bytes=end - held_to, offset=held_to))

    def _check(self) -> tuple[int, int]:
        """Walk all records; return the numbers that follow from them."""
        seq, total, position = self.dropped_records, self.dropped_bytes, self._tail
        usable = len(self._memory) - HEADER_BYTES
        if not (self._capacity <= usable and max(self._head, self._tail) <= self._capacity and self._wrap <= self._capacity):
            raise RingCorrupt("state is out of bounds")
        wrapped = self._head < self._tail
        while position != self._head or wrapped:
            if wrapped and position == self._wrap:
                position, wrapped = 0, False
                continue
            end = self._wrap if wrapped else self._head
            if position + _HEADER_SIZE > end:
                raise RingCorrupt(f"record at {position} is cut")
            length, _, _, _, self.last_stamp_ns, _ = RECORD_HEADER.unpack_from(self._memory, HEADER_BYTES + position)
            position += (_HEADER_SIZE + 7 + length) & ~7
            if position > end:
                raise RingCorrupt(f"record before {position} is cut")
            seq += 1
            total += length
        return seq, total

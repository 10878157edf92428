"""A ring of log records over a fixed piece of memory: record bytes and arithmetic, nothing else. Pure.

The memory is a mapped file in production, so whatever was committed survives a `kill -9`:

    0     magic
    8     generation: one aligned word; its lowest bit names the state slot that counts
    128   state slot 0: where the records lie, what was dropped, how far the source got
    256   state slot 1
    512   the owner's key
    1024  records, each contiguous and aligned to 8: an entry, or a block of many lines

Nothing that the counting slot describes is ever overwritten: dropping is committed before the dropped bytes are, appended records
before the slot that shows them, and a commit is the store of one word. A kill between any two bytes leaves whole records only.

The ring refuses what it holds already: a line with an epoch and an offset that is not beyond the last one of that epoch is a resend after
a kill. It never blocks and never raises for a full ring; the oldest records go. Whatever is counted here is lines: a block has many.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.logs.block import HEAD_BYTES, Block, read_head, reread, unpack
from gateway.logs.record import (
    FLAG_GAP,
    FLAG_LINES,
    FLAG_PARTIAL,
    MAX_DATA_BYTES,
    PADDING,
    RECORD_HEADER,
    Entry,
    Gap,
    GapCause,
    RawRecord,
    Stream,
    cut,
    pack_gap,
    unpack_gap,
)

HEADER_BYTES: Final = 1024
MAX_KEY_BYTES: Final = HEADER_BYTES - 514

_MAGIC: Final = b"WLRING02"
_GENERATION_AT: Final = 8
_SLOT_AT: Final = (128, 256)
_KEY_AT: Final = 512
_KEY_LENGTH: Final = struct.Struct("<H")
_STATE: Final = struct.Struct("<7Q2qII")
_FLAG_CLOSED: Final = 1
_HEADER_SIZE: Final = RECORD_HEADER.size


class RingCorrupt(Exception):
    """The memory does not hold a ring that this version wrote."""


@dataclass(slots=True)
class Cursor:
    """A reader's place: before line number `seq` of all ever appended."""

    position: int
    seq: int
    size_bytes: int
    """Text bytes of all lines before."""
    stamp_ns: int = 0
    """Of the last line read."""
    skip: int = 0
    """Lines of the block at position that are before."""


class Header(NamedTuple):
    """A record of the ring, without its data."""

    position: int
    at: int
    """Of the data, in the memory."""
    length: int
    stream: int
    flags: int
    epoch: int
    stamp_ns: int
    """Of its last line."""
    end: int
    line_count: int
    text_bytes: int


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
        return self.lines(next(self.walk()))[0][0]

    def append(self, entries: Sequence[Entry | Block]) -> int:
        """Append what the ring does not hold yet; return how many lines that was. Committed when it returns."""
        first_seq = self.next_seq
        alone: list[Entry] = []
        for entry in entries:
            if isinstance(entry, Entry):
                alone.append(entry)
            else:
                if alone:
                    self._append_entries(alone)
                    alone = []
                self._append_block(entry)
        if alone:
            self._append_entries(alone)
        return self.next_seq - first_seq

    def _append_block(self, block: Block) -> None:
        stamp_ns, lines, epoch = block
        if epoch == self.last_epoch and lines.offset < self.last_offset:
            rest = block.after(self.last_offset)
            self.duplicates += block.line_count - (rest.line_count if rest is not None else 0)
            if rest is not None:
                self._append_block(rest)
            return
        length = HEAD_BYTES + len(lines.raw)
        if length > MAX_DATA_BYTES or length > self._capacity >> 2:
            self.append(block.pieces(min(MAX_DATA_BYTES, self._capacity >> 2)))
            return
        header = RECORD_HEADER.pack(length, Stream.SYSTEM, FLAG_LINES | lines.has_partial, epoch, stamp_ns, lines.end)
        run = b"".join((header, block.head(), lines.raw, PADDING[-length & 7]))
        self._commit_run(run, lines.line_count, lines.size_bytes, stamp_ns, epoch, lines.end)

    def _append_entries(self, entries: Sequence[Entry]) -> None:
        pack, padding, flush_at = RECORD_HEADER.pack, PADDING, self._capacity >> 2
        max_data = min(MAX_DATA_BYTES, flush_at)
        parts: list[bytes] = []
        size = text_bytes = count = 0
        epoch_now, offset_now = self.last_epoch, self.last_offset
        stamp_ns = self.last_stamp_ns
        for entry in entries:
            new_ns, stream, data, partial, epoch, end, gap = entry
            if end:
                if epoch == epoch_now and end <= offset_now:
                    self.duplicates += 1
                    continue
                if gap and epoch == epoch_now:
                    data = self._without_overlap(data, end, offset_now)
            length = len(data)
            if length > max_data or size > flush_at:
                self._commit_run(b"".join(parts), count, text_bytes, stamp_ns, epoch_now, offset_now)
                parts, size, text_bytes, count = [], 0, 0, 0
                if length > max_data:
                    self._append_entries(cut(entry, max_data))
                    stamp_ns, epoch_now, offset_now = self.last_stamp_ns, self.last_epoch, self.last_offset
                    continue
            stamp_ns = new_ns
            if end:
                epoch_now, offset_now = epoch, end
            pad = -length & 7
            parts += (pack(length, stream, partial | gap << 1, epoch, stamp_ns, end), data, padding[pad])
            size += _HEADER_SIZE + length + pad
            text_bytes += length
            count += 1
        self._commit_run(b"".join(parts), count, text_bytes, stamp_ns, epoch_now, offset_now)

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
        cursor.skip = 0
        return gap

    def read(self, cursor: Cursor, max_bytes: int) -> list[RawRecord]:
        """Lines from the cursor on, until about max_bytes of text and the end of a block; moves the cursor. Call overtaken() first."""
        found: list[RawRecord] = []
        room = max_bytes
        for header in self.walk(self._tail if cursor.seq <= self.dropped_records else cursor.position):
            lines, text_bytes = self.lines(header), header.text_bytes
            if cursor.skip:
                lines, cursor.skip = lines[cursor.skip :], 0
                text_bytes = sum(len(data) for _, _, _, data in lines)
            found += lines
            cursor.seq += len(lines)
            cursor.size_bytes += text_bytes
            cursor.stamp_ns = header.stamp_ns
            cursor.position = header.position + _padded(header.length)
            room -= text_bytes + len(lines)
            if room <= 0:
                break
        return found

    def walk(self, position: int | None = None) -> Iterator[Header]:
        """The records from position (None: the oldest) to the newest. Nothing may be appended meanwhile."""
        memory, unpack_header = self._memory, RECORD_HEADER.unpack_from
        if position is None:
            position = self._tail
        turn = self._wrap if self._head < self._tail and position > self._head else -1
        while position != self._head or turn >= 0:
            if position == turn:
                position, turn = 0, -1
                continue
            at = HEADER_BYTES + position + _HEADER_SIZE
            length, stream, flags, epoch, stamp_ns, end = unpack_header(memory, HEADER_BYTES + position)
            count, text_bytes = read_head(memory, at) if flags & FLAG_LINES else (1, length)
            yield Header(position, at, length, stream, flags, epoch, stamp_ns, end, count, text_bytes)
            position += _padded(length)

    def lines(self, header: Header) -> list[RawRecord]:
        """What a record holds."""
        data = bytes(self._memory[header.at : header.at + header.length])
        if header.flags & FLAG_LINES:
            return unpack(data, header.stamp_ns)
        return [(header.stamp_ns, header.stream, header.flags, data)]

    def entries(self, position: int | None = None) -> Iterator[Entry | Block]:
        """All that the ring holds from position on (None: the oldest) as it was appended, for another ring: that one knows by their
        offsets what it holds already."""
        for _, at, length, stream, flags, epoch, stamp_ns, end, _, _ in self.walk(position):
            data = bytes(self._memory[at : at + length])
            if flags & FLAG_LINES:
                yield reread(data, stamp_ns, epoch, end)
            else:
                yield Entry(stamp_ns, Stream(stream), data, bool(flags & FLAG_PARTIAL), epoch, end, bool(flags & FLAG_GAP))

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
        if not self.dropped_records:
            self.dropped_from_ns = self.first_stamp_ns
        at = HEADER_BYTES + self._tail
        length, _, flags, _, self.dropped_to_ns, _ = RECORD_HEADER.unpack_from(self._memory, at)
        line_count, text_bytes = read_head(self._memory, at + _HEADER_SIZE) if flags & FLAG_LINES else (1, length)
        self.dropped_records += line_count
        self.dropped_bytes += text_bytes
        self._tail += _padded(length)
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
        held = 0
        for entry in self.entries():
            if isinstance(entry, Block):
                after = entry.after(start) if entry.epoch == self.last_epoch else None
                held += after.line_count if after is not None else 0
            else:
                held += entry.epoch == self.last_epoch and start < entry.offset_end <= held_to and not entry.gap
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
            length, _, flags, _, self.last_stamp_ns, _ = RECORD_HEADER.unpack_from(self._memory, HEADER_BYTES + position)
            if position + _padded(length) > end:
                raise RingCorrupt(f"record at {position} of {length} bytes is cut")
            if flags & FLAG_LINES and length < HEAD_BYTES:
                raise RingCorrupt(f"block at {position} of {length} bytes has no head")
            count, text_bytes = read_head(self._memory, HEADER_BYTES + position + _HEADER_SIZE) if flags & FLAG_LINES else (1, length)
            position += _padded(length)
            seq += count
            total += text_bytes
        return seq, total


def _padded(length: int) -> int:
    """What a record with so much data takes."""
    return (_HEADER_SIZE + 7 + length) & ~7

"""The gateway's end of a LOG: from stream bytes and gaps to records, and the checkpoint that goes with them.

A checkpoint counts the raw half record at the end as stored, so nothing is asked for twice and no record is ever cut. What is no record
becomes a gap of the same length: declared, never dropped in silence.
"""

from __future__ import annotations

from transports.protocol import Checkpoint, Gap, GapReason, Item
from transports.wire.records import NoRecord, parse_records


class LogReader:
    """Position in one epoch's LOG; take() gives what came since the last take."""

    def __init__(self, checkpoint: Checkpoint | None) -> None:
        self.epoch = checkpoint.epoch if checkpoint else 0
        self.expected = checkpoint.expected if checkpoint else 0
        """End of the last whole record, or of the last gap."""
        self.tail = checkpoint.tail if checkpoint else b""
        self._items: list[Item] = []
        self._moved = False

    def feed(self, data: bytes) -> str | None:
        """Bytes that follow the tail. Returns what was wrong with them, for a person, or None."""
        self._moved = True
        end = self.expected + len(self.tail) + len(data)
        try:
            records, self.tail = parse_records(self.tail, data, self.expected)
        except NoRecord as exc:
            self._items += exc.items
            self.expected = exc.offset
            self.skip(end, None, GapReason.UNKNOWN)
            return str(exc)
        self._items += records
        self.expected = end - len(self.tail)
        return None

    def skip(self, end: int, records: int | None, reason: int) -> None:
        """The stream goes on at end; the half record is part of what is lost."""
        self._moved = True
        self._items.append(Gap(self.expected, end, records, reason))
        self.expected, self.tail = end, b""

    def end_epoch(self, epoch: int) -> tuple[int, Gap] | None:
        """Another epoch begins at offset 0. Returns the old one and the gap of unknown size that ends it, if there was one."""
        ended = (self.epoch, Gap(self.expected, None, None, GapReason.UNKNOWN)) if self.epoch else None
        self.epoch, self.expected, self.tail = epoch, 0, b""
        self._moved = True
        return ended

    def touch(self) -> None:
        """Something else in the checkpoint changed."""
        self._moved = True

    def take(self) -> tuple[Item, ...] | None:
        """Items since the last take, perhaps none; None when not even the checkpoint changed."""
        if not self._moved:
            return None
        items, self._items, self._moved = tuple(self._items), [], False
        return items

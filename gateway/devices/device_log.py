"""What a device itself has said lately, for the log of a run that begins with the boot before it. Memory only.

A device's ring may hold days. Taking the last part of it must not cost a look at each line, so places in it are remembered as it grows.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from gateway.logs.record import Entry, Gap, GapCause, gap_entry
from gateway.logs.ring import Cursor, Ring
from gateway.logs.store import DeviceKey, LogStore

COPIED_BYTES: Final = 256 * 1024
"""Of text, about: many boots' worth, and some ten milliseconds on the loop."""
COPIED_PARTS: Final = 8
"""So finely it is cut."""


class DeviceLog:
    """Call grew() after each append to the log of key."""

    def __init__(self, logs: LogStore, key: DeviceKey) -> None:
        self._logs = logs
        self._key = key
        self._marks: deque[Cursor] = deque(maxlen=COPIED_PARTS)
        """Places with at least COPIED_BYTES / COPIED_PARTS between two, the newest last."""

    def grew(self) -> None:
        ring = self._ring
        if ring is not None:
            newest = ring.newest()
            if not self._marks or newest.size_bytes - self._marks[-1].size_bytes >= COPIED_BYTES // COPIED_PARTS:
                self._marks.append(newest)

    def since(self, begin: int, epoch: int) -> list[Entry]:
        """All from offset begin of epoch on, or the last part of it after a gap that says so."""
        ring = self._ring
        if ring is None:
            return []
        recent = self._recent(ring)
        wanted: list[Entry] = []
        is_cut = False
        for number, each in enumerate(ring.entries(recent.position)):
            if isinstance(each, Entry):
                is_beyond = each.epoch == epoch and each.offset_end > begin
                is_cut = is_cut or (is_beyond and number == 0 and recent.seq > 0)
                if is_beyond or wanted:
                    wanted.append(each)
        if is_cut:
            first_ns = wanted[0].stamp_ns
            wanted.insert(0, gap_entry(Gap(None, None, GapCause.LOG_FULL, first_ns, first_ns)))
        return wanted

    @property
    def _ring(self) -> Ring | None:
        log = self._logs.find(self._key)
        return log.ring if log is not None else None

    def _recent(self, ring: Ring) -> Cursor:
        """Where about the last COPIED_BYTES begin."""
        if len(self._marks) == COPIED_PARTS and self._marks[0].seq >= ring.dropped_records:
            return self._marks[0]
        cursor = ring.oldest()
        for header in ring.walk():
            cursor.position = header.position
            if ring.total_bytes - cursor.size_bytes <= COPIED_BYTES:
                break
            cursor.seq, cursor.size_bytes = cursor.seq + header.line_count, cursor.size_bytes + header.text_bytes
        return cursor

"""All logs of this gateway: one ring for each attempt of a container and one for each device, within one budget of bytes.

The files lie in the runtime directory, which is memory (tmpfs), so logs cost no SD card writes and survive the gateway's death, not
the host's. A store never blocks on a full budget or a full tmpfs: rings stop growing and drop their oldest records; a quarter of
the budget is kept for the first segment of new rings; then the oldest closed log goes; then output is refused, counted, and declared
as a gap as soon as there is room. Everything here runs on the event loop's thread.
"""

from __future__ import annotations

import errno
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

import anyio

from gateway.logs.block import Block
from gateway.logs.file import SEGMENT_BYTES, RingFile
from gateway.logs.record import Entry, Gap, GapCause, gap_entry
from gateway.logs.ring import Ring, RingCorrupt

DEFAULT_RING_BYTES: Final = 1024 * 1024
"""What one log may grow to: about 10 000 lines of 80 bytes."""

SHORTAGE_S: Final = 15.0
"""A shortage of memory counts as over when it was not felt for so long: a flood that finds room now and then must not flap."""

_RESERVED_PART: Final = 4
"""One part in so many of the budget is for new rings, so that a firehose cannot starve the next pod."""

_logger = logging.getLogger(__name__)


class AttemptKey(NamedTuple):
    """One run of one container; gen counts from 1."""

    uid: str
    container: str
    gen: int


class DeviceKey(NamedTuple):
    """What a device itself says: its console text and its own log."""

    name: str


LogKey = AttemptKey | DeviceKey


@dataclass(slots=True)
class StoreCounters:
    """Only ever grow."""

    no_space: int = 0
    """Times that a segment could not be had."""
    evicted: int = 0
    """Closed logs that were given up for new ones."""
    corrupt: int = 0
    """Files that were no rings at a start."""
    refused_records: int = 0
    """Records that found no ring; each is part of a declared gap."""


@dataclass(frozen=True, slots=True)
class RingInfo:
    """What a restarted gateway learns about a ring."""

    key: LogKey
    records: int
    epoch: int
    offset: int
    """The source is stored in this ring up to here; 0 for a source without offsets."""
    closed: bool


class Log:
    """One log as readers see it: perhaps a ring, perhaps not yet. Changes only between two awaits."""

    def __init__(self, key: LogKey) -> None:
        self.key = key
        self.file: RingFile | None = None
        self.lost: Gap | None = None
        """Output that found no ring, or the ring that was given up."""
        self.closed = False
        self.released = False
        self._changed: anyio.Event | None = None

    @property
    def ring(self) -> Ring | None:
        return self.file.ring if self.file else None

    @property
    def is_awaited(self) -> bool:
        """Somebody waits for more."""
        return self._changed is not None

    async def changed(self) -> None:
        """Wait for the next append, close or release after this call."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


class LogStore:
    """The logs in `directory`, which is made, for this user only. budget_bytes bounds the memory of all rings together."""

    def __init__(
        self, directory: Path, *, budget_bytes: int, ring_bytes: int = DEFAULT_RING_BYTES, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now = now
        self._shortage = ""
        self._short_until = now()
        self.shortage_began: Callable[[], None] = lambda: None
        self._directory = directory
        self._budget_segments = max(1, budget_bytes // SEGMENT_BYTES)
        self._ring_bytes = self._whole_segments(ring_bytes)
        self._limits: dict[str, int] = {}
        """Pods whose logs have a size of their own, by uid."""
        self._logs: dict[LogKey, Log] = {}
        self._segments = 0
        self.served = 0
        """Appends that a reader waited for."""
        self.counters = StoreCounters()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def allocated_bytes(self) -> int:
        return self._segments * SEGMENT_BYTES

    @property
    def shortage(self) -> str:
        """Why logs could not grow or begin of late, for people; empty when they could."""
        return self._shortage if self._now() < self._short_until else ""

    @property
    def shortage_ends_at(self) -> float | None:
        """On the monotonic clock, if it is not felt again before."""
        return self._short_until if self.shortage else None

    def reopen_all(self) -> None:
        """Take over what the last process left; call once, before anything else. What is no ring is removed and counted."""
        for path in sorted(self._directory.glob("*.ring")):
            try:
                file = RingFile.reopen(path)
            except RingCorrupt as error:
                self._discard(path, error)
                continue
            try:
                key = _unpack_key(file.ring.key)
            except ValueError as error:
                file.close()
                self._discard(path, error)
                continue
            self._adopt(self.log(key), file)

    def rings(self) -> Sequence[RingInfo]:
        """Every log that has a ring."""
        return [
            RingInfo(log.key, ring.records, ring.last_epoch, ring.last_offset, log.closed)
            for log in self._logs.values()
            if (ring := log.ring)
        ]

    def limit(self, uid: str, ring_bytes: int | None) -> None:
        """What each log of a pod may grow to that is begun from now on; None for the store's own size. Never above the whole budget."""
        if ring_bytes is None:
            self._limits.pop(uid, None)
        else:
            self._limits[uid] = self._whole_segments(ring_bytes)

    def append(self, key: LogKey, entries: Sequence[Entry | Block]) -> None:
        """Stored when it returns: what the ring holds already is dropped, the rest is committed. Memory only, after the first time."""
        if not entries:
            return
        log = self._logs.get(key) or self.log(key)
        if log.file is None and not self._open_ring(log):
            self._refuse(log, entries)
        elif log.file is not None:
            log.file.ring.append(entries)
        if log.is_awaited:
            self.served += 1
            log.notify()

    def close_attempt(self, key: LogKey) -> None:
        """No more output will come: followers end when they have read all."""
        log = self.log(key)
        log.closed = True
        if log.ring is not None:
            log.ring.close()
        log.notify()

    def release_attempt(self, key: LogKey) -> None:
        """Delete the log; followers end."""
        log = self._logs.pop(key, None)
        if log is None:
            return
        self._give_up(log)
        log.released = log.closed = True
        log.notify()

    def release(self, uid: str) -> None:
        """Delete all logs of a pod."""
        self._limits.pop(uid, None)
        for key in [key for key in self._logs if isinstance(key, AttemptKey) and key.uid == uid]:
            self.release_attempt(key)

    def close(self) -> None:
        """Unmap everything and leave the files for the next process."""
        for log in self._logs.values():
            if log.file is not None:
                log.file.close()
                log.file = None
            log.released = log.closed = True
            log.notify()
        self._logs.clear()

    def find(self, key: LogKey) -> Log | None:
        return self._logs.get(key)

    def log(self, key: LogKey) -> Log:
        """The log, known from now on even if nothing was ever written to it."""
        return self._logs.setdefault(key, Log(key))

    # -- private

    def _whole_segments(self, size_bytes: int) -> int:
        """At least one, so that something can be logged."""
        return min(max(1, size_bytes // SEGMENT_BYTES), self._budget_segments) * SEGMENT_BYTES

    def _limit_of(self, key: LogKey) -> int:
        return self._limits.get(key.uid, self._ring_bytes) if isinstance(key, AttemptKey) else self._ring_bytes

    def _open_ring(self, log: Log) -> bool:
        while self._segments >= self._budget_segments:
            if not self._evict():
                self._no_space("logs.budget is used up by containers that run")
                return False
        file = self._create_file(log.key)
        if file is None:
            return False
        self._adopt(log, file)
        if log.lost is not None:
            file.ring.append([gap_entry(log.lost)])
            log.lost = None
        if log.closed:
            file.ring.close()
        return True

    def _create_file(self, key: LogKey) -> RingFile | None:
        """None when there is no memory even after the logs of ended containers have gone."""
        path = self._directory / f"{sha256(_pack_key(key)).hexdigest()[:32]}.ring"
        while True:
            try:
                return RingFile.create(path, _pack_key(key), self._limit_of(key))
            except OSError as error:
                self._no_space(f"{self._directory}: {error.strerror}")
                if error.errno != errno.ENOSPC or not self._evict():
                    return None

    def _adopt(self, log: Log, file: RingFile) -> None:
        log.file = file
        log.closed = log.closed or file.ring.closed
        self._segments += file.segments
        file.ring.grow = lambda: self._extend(file)

    def _extend(self, file: RingFile) -> int:
        if self._segments + 1 > self._budget_segments - self._budget_segments // _RESERVED_PART:
            return 0
        try:
            more = file.extend()
        except OSError as error:
            self._no_space(f"{self._directory}: {error.strerror}")
            return 0
        self._segments += bool(more)
        return more

    def _evict(self) -> bool:
        """Give up the closed attempt that was silent for longest."""
        rings = {key: log.ring.last_stamp_ns for key, log in self._logs.items() if log.ring and log.closed and isinstance(key, AttemptKey)}
        if not rings:
            return False
        log = self._logs[min(rings, key=lambda key: rings[key])]
        self._give_up(log)
        self.counters.evicted += 1
        return True

    def _give_up(self, log: Log) -> None:
        """Delete the ring and remember what was in it."""
        if log.file is None:
            return
        ring = log.file.ring
        log.lost = Gap(ring.next_seq, ring.total_bytes, GapCause.LOG_FULL, ring.first_stamp_ns, ring.last_stamp_ns)
        self._segments -= log.file.segments
        log.file.remove()
        log.file = None

    def _refuse(self, log: Log, entries: Sequence[Entry | Block]) -> None:
        count = sum(entry.line_count for entry in entries)
        self.counters.refused_records += count
        before = log.lost or Gap(0, 0, GapCause.NO_SPACE, entries[0].stamp_ns, 0)
        records = (before.records or 0) + count
        size = (before.size_bytes or 0) + sum(entry.size_bytes for entry in entries)
        log.lost = before._replace(records=records, size_bytes=size, to_ns=entries[-1].stamp_ns)

    def _no_space(self, why: str) -> None:
        self.counters.no_space += 1
        is_new = not self.shortage
        self._shortage, self._short_until = why, self._now() + SHORTAGE_S
        if is_new:
            _logger.warning("no memory for logs, oldest records go first", extra={"why": why})
            self.shortage_began()

    def _discard(self, path: Path, error: Exception) -> None:
        self.counters.corrupt += 1
        _logger.warning("a log file cannot be taken over and was removed", extra={"path": str(path), "error": str(error)})
        path.unlink()


def _pack_key(key: LogKey) -> bytes:
    match key:
        case AttemptKey(uid, container, gen):
            return json.dumps([uid, container, gen]).encode()
        case DeviceKey(name):
            return json.dumps([name]).encode()


def _unpack_key(data: bytes) -> LogKey:
    """Raises ValueError."""
    match json.loads(data):
        case [str(uid), str(container), int(gen)]:
            return AttemptKey(uid, container, gen)
        case [str(name)]:
            return DeviceKey(name)
        case _:
            raise ValueError(f"key {data!r} names no log")

"""A log under another name: what a run wrote before the name of its container was known."""

from __future__ import annotations

from gateway.logs.record import FLAG_GAP, FLAG_PARTIAL, Entry, Stream, gap_entry
from gateway.logs.store import AttemptKey, LogStore


def hand_over_log(logs: LogStore, old: AttemptKey, new: AttemptKey) -> None:
    """Nothing that old holds is lost, and resends of it are still known. old is gone afterwards."""
    log = logs.find(old)
    if log is None:
        return
    if (ring := log.ring) is not None:
        lost = ring.lost_before_oldest()
        entries = [gap_entry(lost)] if lost is not None else []
        for stamp_ns, stream, flags, data in ring.read(ring.oldest(), ring.capacity):
            entries.append(Entry(stamp_ns, Stream(stream), data, bool(flags & FLAG_PARTIAL), gap=bool(flags & FLAG_GAP)))
        if entries:
            # The newest one says how far the source got.
            entries[-1] = entries[-1]._replace(epoch=ring.last_epoch, offset_end=ring.last_offset)
        logs.append(new, entries)
    if log.closed:
        logs.close_attempt(new)
    logs.release_attempt(old)

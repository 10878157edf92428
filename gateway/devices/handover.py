"""A log under another name: what a run wrote before the name of its container was known."""

from __future__ import annotations

from gateway.logs.block import Block
from gateway.logs.record import Entry, gap_entry
from gateway.logs.store import AttemptKey, LogStore


def hand_over_log(logs: LogStore, old: AttemptKey, new: AttemptKey) -> None:
    """Nothing that old holds is lost, what new holds too comes once, and resends are still known. old is gone afterwards."""
    log = logs.find(old)
    if log is None:
        return
    if (ring := log.ring) is not None:
        lost = ring.lost_before_oldest()
        entries: list[Entry | Block] = [gap_entry(lost)] if lost is not None else []
        entries += ring.entries()
        logs.append(new, entries)
    if log.closed:
        logs.close_attempt(new)
    logs.release_attempt(old)

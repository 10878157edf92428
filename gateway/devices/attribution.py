"""Whose a LOG record is: by slot and offset, from start records and status records. Pure.

A device has one LOG stream for all its slots. A run's first record in its slot is its start record, so the newest span of the slot that
begins at or before the record's offset owns it (SPEC.md, LOG). Spans are learnt twice, from start records and from statuses, because
either may be lost with a reboot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_SPANS_PER_SLOT: Final = 16
"""Old spans are needed only until their bytes are stored; a device cannot have more runs of a slot on the way than its ring holds."""


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt on a device: the wire's identity."""

    wid: int
    gen: int


class Attribution:
    """The spans of one device's current epoch."""

    def __init__(self) -> None:
        self._epoch: int | None = None
        self._spans: dict[int, list[tuple[int, Run]]] = {}

    def begin_epoch(self, epoch: int) -> None:
        """Forget everything of another epoch; offsets start anew."""
        if epoch != self._epoch:
            self._epoch = epoch
            self._spans.clear()

    def learn(self, slot: int, start_off: int, run: Run) -> None:
        """run began in slot at start_off, says a start record or a status."""
        spans = self._spans.setdefault(slot, [])
        spans[:] = [span for span in spans if span[1] != run]
        spans.append((start_off, run))
        spans.sort(key=lambda span: span[0])
        del spans[:-MAX_SPANS_PER_SLOT]

    def next_begin(self, slot: int, offset: int) -> int | None:
        """Where the first span of slot after offset begins; None when the one at offset is the newest."""
        spans = self._spans.get(slot)
        if not spans or spans[-1][0] <= offset:
            return None
        return next(start_off for start_off, _ in spans if start_off > offset)

    def owner(self, slot: int, offset: int) -> Run | None:
        """Whose the record of slot at offset is, or None if nobody told."""
        for start_off, run in reversed(self._spans.get(slot, ())):
            if start_off <= offset:
                return run
        return None

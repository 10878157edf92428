"""The sending end of one channel: a window over bytes that are kept until they may be forgotten (SPEC.md, streams, rules 1, 5-9).

    base <= una <= nxt <= next      base: oldest byte kept; una: oldest unacknowledged; nxt: sent next; next: end of what was written
    una < base                      the ring has overwritten what the receiver lacks: only SKIP is sent until it is acknowledged

`SendStream` is a queue of messages (CTRL: acknowledged bytes are freed, a frame never holds bytes of two messages) or a ring of records
(LOG: acknowledged bytes stay until overwritten, for the next gateway that asks for them). It knows frames only as tuples to be sent and
sessions not at all; time comes in as `now`.
"""

from __future__ import annotations

import enum
import struct
from collections import deque
from typing import Final

from transports.protocol import GapReason
from transports.wire.framing import DATA, SKIP
from transports.wire.offsets import HALF, MASK, unwrap
from transports.wire.timers import Rto

MAX_LOST_MARKS: Final = 16384
"""Record borders remembered between una and base; more than a window of 64 KiB can hold, so only a hostile ACK needs the rest."""

_skip_payload = struct.Struct("<IB").pack
_MAX_RECORDS: Final = 0xFFFFFFFF

Outgoing = tuple[int, int, int, bytes]
"""(type, flag, full offset, payload) of a frame to send."""


class Overflow(enum.Enum):
    """What a full buffer does with the next write."""

    REFUSE = enum.auto()
    """write returns False: the writer blocks, or counts and drops."""
    OVERWRITE = enum.auto()
    """The oldest records go, acknowledged or not."""


class SendStream:
    """One direction of one channel. write() and acknowledged() feed it; poll() says what to send; deadlines are the caller's to keep.

    keeps: acknowledged bytes stay until room is needed (a LOG ring). cuts: a frame ends where a write ended, with flag F (CTRL).
    lossy: nothing is kept once sent (a device without rlog).
    """

    __slots__ = (
        "_acknowledged_ends",
        "_buffer",
        "_cuts",
        "_ends",
        "_keeps",
        "_kicked",
        "_lossy",
        "_lost",
        "_rejected",
        "_rto",
        "_sample_at",
        "_sample_end",
        "_skipping",
        "_timer",
        "_unmoved_since",
        "base",
        "capacity_bytes",
        "limit",
        "next",
        "nxt",
        "overflow",
        "retransmits",
        "sent",
        "stray_acks",
        "una",
    )

    def __init__(
        self,
        capacity_bytes: int,
        rto: Rto,
        *,
        keeps: bool = False,
        cuts: bool = False,
        lossy: bool = False,
        overflow: Overflow = Overflow.REFUSE,
        offset: int = 0,
    ) -> None:
        self.capacity_bytes = capacity_bytes
        self.overflow = overflow
        self.base = self.una = self.nxt = self.next = self.limit = self.sent = offset
        """sent is the furthest that was ever sent: only up to there an acknowledgement can be true."""
        self.retransmits = 0
        self.stray_acks = 0
        self._rto = rto
        self._keeps, self._cuts, self._lossy = keeps and not lossy, cuts, lossy
        self._buffer = bytearray()
        self._ends: deque[int] = deque()
        """Where each write ends that is not wholly acknowledged."""
        self._acknowledged_ends: deque[int] = deque()
        """The same for those that are acknowledged and still kept."""
        self._lost: deque[tuple[int, int]] = deque()
        """(end, records): overwritten and unacknowledged, up to end. Entries the receiver cannot stop within are merged.

        They stay while a gateway that knows nothing is served from base: one that knows more may come back."""
        self._timer: float | None = None
        self._skipping = False
        """A SKIP is out and not answered."""
        self._kicked = False
        """The time-out passed: one more SKIP or probe may go."""
        self._rejected: int | None = None
        self._sample_end: int | None = None
        self._sample_at = 0.0
        self._unmoved_since: float | None = None

    # -- the writer's side

    def room_bytes(self) -> int:
        """How long a write may be now. A ring that overwrites always has room."""
        if self.overflow is Overflow.OVERWRITE:
            return self.capacity_bytes
        freeable = self._acknowledged_ends[-1] if self._acknowledged_ends else self.base
        return self.capacity_bytes - (self.next - freeable)

    def write(self, data: bytes) -> bool:
        """Append one record or message, whole or not at all: False means there is no room."""
        size = len(data)
        if size > self.room_bytes():
            return False
        self._drop_oldest(len(self._buffer) + size - self.capacity_bytes)
        self._buffer += data
        self.next += size
        self._ends.append(self.next)
        return True

    def _drop_oldest(self, over: int) -> None:
        """Forget at least over bytes, in whole records so that base is always a border."""
        if over <= 0:
            return
        base, wanted = self.base, self.base + over
        while base < wanted and self._acknowledged_ends:
            base = self._acknowledged_ends.popleft()
        while base < wanted:
            base = self._ends.popleft()
            self._note_lost(base)
        self._forget_to(base)

    def _note_lost(self, end: int) -> None:
        lost = self._lost
        if lost and (lost[-1][0] > self.sent or len(lost) >= MAX_LOST_MARKS):
            lost[-1] = (end, lost[-1][1] + 1)
        else:
            lost.append((end, 1))

    def _forget_to(self, offset: int) -> None:
        del self._buffer[: offset - self.base]
        self.base = offset
        if self.nxt < offset:
            self.nxt = offset

    # -- the session's side

    def join(self, stored: int | None, credit: int) -> None:
        """A session begins: the receiver has everything before stored (None: nothing we know of) and takes credit bytes more.

        A distance that a frame cannot express is told by READY's base instead of SKIP.
        """
        una = self.base if stored is None or self._lossy else min(stored, self.next)
        if self.base - una >= HALF:
            una = self.base
        while self._acknowledged_ends and self._acknowledged_ends[-1] > una:
            self._ends.appendleft(self._acknowledged_ends.pop())
        self.una = una
        self.nxt = max(una, self.base)
        self.sent = max(self.sent, una)
        self.limit = una + credit
        if stored is not None:
            self._settle(una)
        self._rejected = self._sample_end = self._timer = self._unmoved_since = None
        self._skipping = self._kicked = False
        self._rto.progress()

    def acknowledged(self, off32: int, credit: int, *, rejects: bool, now: float) -> bool:
        """An ACK: everything before off32 is stored, credit bytes more will be taken. False if it cannot be true and was ignored."""
        off = unwrap(off32, self.una)
        limit = off + credit
        if self._lossy and off <= self.sent:
            self.limit = limit
            return True
        if not self.una <= off <= self.sent:
            self.stray_acks += 1
            return False
        if off > self.una:
            self._advance(off, now)
        elif limit > self.limit and self._timer is not None:
            self._timer = now + self._rto.rto_s
        self.limit = limit
        if rejects and off != self._rejected:
            self._rejected = off
            self._rewind(off)
        return True

    def _advance(self, off: int, now: float) -> None:
        self.una = off
        if self.nxt < off:
            self.nxt = off
        if self._sample_end is not None and off >= self._sample_end:
            self._rto.sample(now - self._sample_at)
            self._sample_end = None
        self._settle(off)
        self._rto.progress()
        self._skipping = self._kicked = False
        self._unmoved_since = now if off < self.sent else None
        self._timer = now + self._rto.rto_s if off < self.next else None

    def _settle(self, una: int) -> None:
        """Everything before una is acknowledged: note it, or free it."""
        lost, ends = self._lost, self._ends
        while lost and lost[0][0] <= una:
            lost.popleft()
        while ends and ends[0] <= una:
            end = ends.popleft()
            if self._keeps:
                self._acknowledged_ends.append(end)
        if not self._keeps and una > self.base:
            self._forget_to(una)

    def _rewind(self, off: int) -> None:
        to = max(off, self.base)
        if to < self.nxt:
            self.retransmits += 1
            self.nxt = to
        self._sample_end = None

    def poll(self, max_payload: int, now: float) -> Outgoing | None:
        """The next frame to send, or None. Each call counts as sent."""
        if self.una < self.base:
            return self._poll_skip(now)
        waiting = self.next - self.nxt
        if waiting <= 0:
            return None
        off = self.nxt
        end = min(off + max_payload, self.next)
        if self._lossy:
            end = self._whole_records(off, end)
            if end > self.limit:
                return self._poll_probe(now)
        elif end > self.limit:
            end = self.limit
            if end <= off:
                return self._poll_probe(now)
        flag = 0
        if self._cuts and end >= (border := self._border_after(off)):
            end, flag = border, 1
        start = off - self.base
        payload = bytes(self._buffer[start : start + end - off])
        self._note_sent(off, end, now)
        return (DATA, flag, off, payload)

    def _note_sent(self, off: int, end: int, now: float) -> None:
        self.nxt = end
        if end > self.sent:
            if off >= self.sent and self._sample_end is None:
                self._sample_end, self._sample_at = end, now
            self.sent = end
        if self._lossy:
            self.una = end
            self._settle(end)
            self._timer = None
            return
        if self._timer is None:
            self._timer = now + self._rto.rto_s
        if self._unmoved_since is None:
            self._unmoved_since = now

    def _poll_skip(self, now: float) -> Outgoing | None:
        if self._timer is None:
            self._timer = now + self._rto.rto_s
        if self._skipping and not self._kicked:
            return None
        self._skipping, self._kicked = True, False
        self.sent = max(self.sent, self.base)
        self._sample_end = None
        records = min(sum(count for end, count in self._lost if end > self.una), _MAX_RECORDS)
        return (SKIP, 0, self.base, _skip_payload(records, GapReason.OVERWRITTEN))

    def _poll_probe(self, now: float) -> Outgoing | None:
        """Data waits and there is no credit: ask, once per time-out, with a frame that must be answered."""
        if self._timer is None:
            self._timer = now + self._rto.rto_s
        if not self._kicked:
            return None
        self._kicked = False
        return (DATA, 0, self.nxt, b"")

    def _border_after(self, off: int) -> int:
        for end in self._ends:
            if end > off:
                return end
        return self.next

    def _whole_records(self, off: int, end: int) -> int:
        """A lossy frame holds whole records; one that is longer than a frame has to be cut."""
        whole = off
        for border in self._ends:
            if border > end:
                break
            whole = border
        return whole if whole > off else end

    # -- time

    def next_deadline(self) -> float | None:
        return self._timer

    def handle_deadline(self, now: float) -> None:
        """The time-out passed without progress: go back to una, or let one more SKIP or probe go, and wait twice as long."""
        if self._timer is None or now < self._timer:
            return
        self._rto.back_off()
        self._timer = now + self._rto.rto_s
        self._kicked = True
        self._rewind(self.una)

    def resume(self, now: float) -> None:
        """Time has stood still for this stream (AWAY): waits begin anew."""
        if self._timer is not None:
            self._timer = now + self._rto.rto_s
        if self._unmoved_since is not None:
            self._unmoved_since = now

    def unacknowledged_since(self) -> float | None:
        """Since when frames have been out without any of them being acknowledged; None when nothing is out."""
        return self._unmoved_since if self.sent > self.una else None

    def in_flight(self) -> bool:
        """Something was written that is not acknowledged."""
        return self.una < self.next

    def must_leave(self) -> bool:
        """The ring ran so far ahead that no frame can say it: only a new READY can."""
        return self.base - self.una >= HALF


def low(offset: int) -> int:
    """The half of a full offset that goes into a frame."""
    return offset & MASK

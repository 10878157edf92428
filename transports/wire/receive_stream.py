"""The receiving end of one channel: what is expected, what is stored, and which ACK is due (SPEC.md, streams, rules 2-4, 7, 9).

`stored` moves only when its owner says that the bytes are kept: ACK and credit are computed from it and never from what arrived. Nothing
is reordered: what does not begin at `expected` is trimmed or dropped and asked for again, once.
"""

from __future__ import annotations

from typing import Final

from transports.wire.offsets import HALF, distance

MAX_CREDIT_BYTES: Final = 0xFFFF
"""Credit is a u16 on the wire."""
ACK_DELAY_S: Final = 0.005
"""A small growth of stored is told after this long."""

OutgoingAck = tuple[int, int, int]
"""(REJ flag, full offset, credit)."""


class ReceiveStream:
    """One direction of one channel. receive() takes what is new; store() makes ACKs; poll_ack() says what to send.

    ack_bytes: a growth of stored that is told at once (0: any).
    """

    __slots__ = (
        "_ack_at",
        "_ack_bytes",
        "_ack_now",
        "_acknowledged",
        "_reject_wanted",
        "_rejected",
        "duplicate_bytes",
        "expected",
        "rejects",
        "stored",
        "window_bytes",
    )

    def __init__(self, window_bytes: int, *, ack_bytes: int = 0, offset: int = 0) -> None:
        self.window_bytes = min(window_bytes, MAX_CREDIT_BYTES)
        self.expected = self.stored = offset
        self.rejects = 0
        self.duplicate_bytes = 0
        self._ack_bytes = ack_bytes
        self._acknowledged = offset
        self._ack_now = False
        self._ack_at: float | None = None
        self._reject_wanted: int | None = None
        """Something was missing at this offset; told when everything before it is stored."""
        self._rejected: int | None = None

    def join(self, ack_bytes: int) -> None:
        """A session begins: what was asked for in the last one is forgotten, what was received and stored is not."""
        self._ack_bytes = ack_bytes
        self._acknowledged = self.stored
        self._ack_now = False
        self._ack_at = self._reject_wanted = self._rejected = None

    def restart(self, offset: int) -> None:
        """Another stream begins, at offset: nothing of the old one counts."""
        self.expected = self.stored = self._acknowledged = offset
        self.join(self._ack_bytes)

    def is_next(self, off32: int) -> bool:
        return distance(off32, self.expected) == 0

    def is_ahead(self, off32: int) -> bool:
        return distance(off32, self.expected) > 0

    def receive(self, off32: int, payload: bytes) -> bytes:
        """The part of payload that is new and within the credit; expected moves behind it."""
        ahead = distance(off32, self.expected)
        if ahead > 0:
            self._reject(empty=not payload)
            return b""
        if ahead < 0 or not payload:
            self._ack_now = True
            self.duplicate_bytes += min(-ahead, len(payload))
            payload = payload[-ahead:]
        room = self.stored + self.window_bytes - self.expected
        if len(payload) > room:
            self._ack_now = True
            payload = payload[: max(room, 0)]
        self.expected += len(payload)
        return payload

    def _reject(self, *, empty: bool) -> None:
        if self.expected != self._rejected:
            self._reject_wanted = self.expected
        if empty:
            self._ack_now = True

    def skip(self, off32: int) -> int | None:
        """SKIP, or the jump of a lossy sender: the full offset to go on from, or None when there is nothing to skip (only ACKed)."""
        ahead = distance(off32, self.expected)
        if ahead <= 0:
            self._ack_now = True
            return None
        self.expected += ahead
        return self.expected

    def jump(self, offset: int) -> None:
        """READY told a full offset that no SKIP can express."""
        self.expected = max(self.expected, offset)

    def store(self, upto: int, now: float) -> None:
        """Everything before upto is kept for good."""
        upto = min(upto, self.expected)
        if upto <= self.stored:
            return
        self.stored = upto
        if upto - self._acknowledged >= self._ack_bytes:
            self._ack_now = True
        elif self._ack_at is None:
            self._ack_at = now + ACK_DELAY_S

    def ask(self) -> None:
        """Send an ACK whether or not anything changed."""
        self._ack_now = True

    @property
    def owes_nothing(self) -> bool:
        """No ACK is due, now or later."""
        return not self._ack_now and self._ack_at is None and self._reject_wanted is None

    def poll_ack(self, now: float) -> OutgoingAck | None:
        """The ACK that is due, or None. Each call counts as sent."""
        rejects = self._reject_wanted is not None and self._may_reject()
        if self.expected - self.stored >= HALF:
            return None  # after a jump that is not stored yet: the sender would read stored as another offset
        is_due = self._ack_now or (self._ack_at is not None and now >= self._ack_at)
        if not (rejects or is_due):
            return None
        if rejects:
            self._rejected = self.expected
            self._reject_wanted = None
            self.rejects += 1
        self._ack_now, self._ack_at = False, None
        self._acknowledged = self.stored
        return (int(rejects), self.stored, self.window_bytes)

    def _may_reject(self) -> bool:
        """REJ once per expected offset, and not before all that came before it is stored: the ACK in it must be true."""
        return self._reject_wanted == self.expected == self.stored

    def next_deadline(self) -> float | None:
        return self._ack_at

    def handle_deadline(self, now: float) -> None:
        """An ACK that waited is due; it goes with the next poll."""
        if self._ack_at is not None and now >= self._ack_at:
            self._ack_now, self._ack_at = True, None

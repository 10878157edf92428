"""CTRL in both directions for one session: whole messages over a send and a receive stream (SPEC.md, streams and messages).

Both roles use it. Messages are bytes here. A received message stays unacknowledged until it is taken, so a device with one answer buffer
holds the next request back without a word. A channel lives exactly as long as its session.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from transports.errors import RemoteProtocolError
from transports.wire.receive_stream import OutgoingAck, ReceiveStream
from transports.wire.send_stream import Outgoing, SendStream
from transports.wire.timers import Rto

STUCK_S: Final = 5.0
"""A CTRL frame that stays unacknowledged for so long ends the session."""


class ControlChannel:
    """send() queues, poll() gives frames; receive() takes frames, take() gives messages.

    window_bytes is the credit we grant and longest_bytes the longest message we take (None: so much, too); peer_credit is what the peer
    takes before its first ACK.
    """

    def __init__(self, *, send_bytes: int, window_bytes: int, peer_credit: int, rto: Rto, longest_bytes: int | None = None) -> None:
        self.tx = SendStream(send_bytes, rto, cuts=True)
        self.tx.join(None, peer_credit)
        self.rx = ReceiveStream(window_bytes)
        self._longest_bytes = window_bytes if longest_bytes is None else longest_bytes
        self._partial = bytearray()
        self._inbox: deque[tuple[int, bytes]] = deque()
        """(where it ends, message)."""

    def room_bytes(self) -> int:
        return self.tx.room_bytes()

    def send(self, message: bytes) -> bool:
        """Queue a message; False when there is no room now."""
        return self.tx.write(message)

    def receive(self, flag: int, off32: int, payload: bytes, now: float) -> None:
        """A DATA frame. Raises RemoteProtocolError for a message that is too long."""
        fresh = self.rx.receive(off32, payload)
        if not fresh:
            return
        self._partial += fresh
        if len(self._partial) > self._longest_bytes:
            raise RemoteProtocolError(f"a control message exceeds {self._longest_bytes} bytes")
        if flag and self._ends_here(off32, payload):
            self._inbox.append((self.rx.expected, bytes(self._partial)))
            self._partial.clear()
        self._store(now)

    def _ends_here(self, off32: int, payload: bytes) -> bool:
        """Credit may have cut the frame before its end."""
        return self.rx.is_next(off32 + len(payload))

    def _store(self, now: float) -> None:
        """What waits to be taken is not stored; the beginning of a message is."""
        if not self._inbox:
            self.rx.store(self.rx.expected, now)

    def waiting(self) -> bool:
        return bool(self._inbox)

    def take(self, now: float) -> bytes | None:
        """The oldest message, or None. Taking it acknowledges it."""
        if not self._inbox:
            return None
        end, message = self._inbox.popleft()
        self.rx.store(end, now)
        self._store(now)
        return message

    @property
    def is_quiet(self) -> bool:
        """Nothing is to be sent or acknowledged in either direction."""
        return self.tx.una == self.tx.next and self.rx.owes_nothing

    def poll(self, max_payload: int, now: float) -> Outgoing | None:
        return self.tx.poll(max_payload, now)

    def poll_ack(self, now: float) -> OutgoingAck | None:
        return self.rx.poll_ack(now)

    def is_stuck(self, now: float) -> bool:
        since = self.tx.unacknowledged_since()
        return since is not None and now >= since + STUCK_S

    def next_deadline(self) -> float | None:
        since = self.tx.unacknowledged_since()
        return earliest(self.tx.next_deadline(), self.rx.next_deadline(), None if since is None else since + STUCK_S)

    def handle_deadline(self, now: float) -> None:
        self.tx.handle_deadline(now)
        self.rx.handle_deadline(now)


def earliest(*deadlines: float | None) -> float | None:
    """The first of several deadlines, None when there is none."""
    first = None
    for deadline in deadlines:
        if deadline is not None and (first is None or deadline < first):
            first = deadline
    return first

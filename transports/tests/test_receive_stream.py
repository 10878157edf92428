"""The rules of a receiver, one by one, and of both ends of CTRL."""

from __future__ import annotations

import pytest

from transports.errors import RemoteProtocolError
from transports.tests.stream_rig import MTU, T
from transports.wire.control_channel import STUCK_S, ControlChannel
from transports.wire.offsets import MASK
from transports.wire.receive_stream import ACK_DELAY_S, ReceiveStream
from transports.wire.timers import MeasuredRto

# -- receiving


def test_acknowledges_what_is_stored_never_what_arrived() -> None:
    stream = ReceiveStream(1000)
    assert stream.receive(0, bytes(100)) == bytes(100)
    assert stream.poll_ack(T) is None
    stream.ask()
    assert stream.poll_ack(T) == (0, 0, 1000)
    stream.store(40, T)
    assert stream.poll_ack(T) == (0, 40, 1000)


def test_takes_no_more_than_its_credit_past_what_is_stored() -> None:
    stream = ReceiveStream(100)
    assert len(stream.receive(0, bytes(80))) == 80
    assert len(stream.receive(80, bytes(80))) == 20
    assert stream.receive(100, bytes(80)) == b""
    stream.store(80, T)
    assert len(stream.receive(100, bytes(200))) == 80


def test_duplicates_are_trimmed_and_acknowledged_at_once() -> None:
    stream = ReceiveStream(1000)
    stream.receive(0, b"abcdef")
    stream.store(6, T)
    stream.poll_ack(T)
    assert stream.receive(2, b"cdefgh") == b"gh"
    assert stream.poll_ack(T) == (0, 6, 1000)
    assert stream.duplicate_bytes == 4


def test_missing_bytes_are_asked_for_once_per_offset() -> None:
    stream = ReceiveStream(1000)
    assert stream.receive(10, bytes(10)) == b""
    assert stream.poll_ack(T) == (1, 0, 1000)
    stream.receive(20, bytes(10))
    stream.receive(30, bytes(10))
    assert stream.poll_ack(T) is None
    stream.receive(0, bytes(10))
    stream.store(10, T)
    stream.receive(30, bytes(10))
    assert stream.poll_ack(T) == (1, 10, 1000)


def test_reject_waits_until_everything_before_it_is_stored() -> None:
    stream = ReceiveStream(1000, ack_bytes=500)
    stream.receive(0, bytes(10))
    stream.receive(20, bytes(10))
    assert stream.poll_ack(T) is None
    stream.store(5, T)
    assert stream.poll_ack(T) is None
    stream.store(10, T)
    assert stream.poll_ack(T) == (1, 10, 1000)


def test_what_came_by_itself_is_not_rejected_any_more() -> None:
    stream = ReceiveStream(1000, ack_bytes=500)
    stream.receive(0, bytes(10))
    stream.receive(20, bytes(10))
    stream.receive(10, bytes(10))
    stream.store(20, T)
    assert stream.poll_ack(T) is None


@pytest.mark.parametrize("off", [0, 5, 10, 200])
def test_probe_is_always_answered(off: int) -> None:
    stream = ReceiveStream(1000)
    stream.receive(0, bytes(10))
    stream.receive(100, bytes(10))
    stream.poll_ack(T)
    stream.receive(off, b"")
    answer = stream.poll_ack(T)
    assert answer is not None
    assert answer[1] == 0


def test_small_growth_is_told_after_a_while() -> None:
    stream = ReceiveStream(1000, ack_bytes=100)
    stream.receive(0, bytes(150))
    stream.store(99, T)
    assert stream.next_deadline() == T + ACK_DELAY_S
    assert stream.poll_ack(T) is None
    assert stream.poll_ack(T + ACK_DELAY_S) == (0, 99, 1000)
    stream.store(150, T + 1)
    stream.receive(150, bytes(200))
    stream.store(350, T + 1)
    assert stream.poll_ack(T + 1) == (0, 350, 1000)
    assert stream.next_deadline() is None


def test_skip_moves_on_and_an_old_skip_is_only_acknowledged() -> None:
    stream = ReceiveStream(1000)
    stream.receive(0, bytes(10))
    assert stream.skip(100) == 100
    assert stream.poll_ack(T) is None
    stream.store(100, T)
    assert stream.poll_ack(T) == (0, 100, 1000)
    assert stream.skip(100) is None
    assert stream.poll_ack(T) == (0, 100, 1000)
    assert stream.receive(100, b"x") == b"x"


def test_nothing_can_be_stored_that_did_not_arrive() -> None:
    stream = ReceiveStream(1000)
    stream.receive(0, bytes(10))
    stream.store(5000, T)
    assert stream.stored == 10


# -- CTRL


def pair(window: int = 1000) -> tuple[ControlChannel, ControlChannel]:
    left = ControlChannel(send_bytes=4000, window_bytes=1000, peer_credit=window, rto=MeasuredRto())
    right = ControlChannel(send_bytes=4000, window_bytes=window, peer_credit=1000, rto=MeasuredRto())
    return left, right


def carry(left: ControlChannel, right: ControlChannel, now: float = T) -> int:
    """Everything that left wants to send; returns the number of frames."""
    frames = 0
    while (outgoing := left.poll(MTU, now)) is not None:
        right.receive(outgoing[1], outgoing[2] & MASK, outgoing[3], now)
        frames += 1
    return frames


def answer(left: ControlChannel, right: ControlChannel, now: float = T) -> None:
    if (reply := right.poll_ack(now)) is not None:
        left.tx.acknowledged(reply[1] & MASK, reply[2], rejects=bool(reply[0]), now=now)


def test_messages_arrive_whole_and_in_order() -> None:
    left, right = pair()
    for message in (b"a" * 200, b"b", b"c" * 64):
        left.send(message)
    carry(left, right)
    assert [right.take(T) for _ in range(4)] == [b"a" * 200, b"b", b"c" * 64, None]


def test_message_that_waits_is_not_acknowledged() -> None:
    """A device with one answer buffer holds the next request back."""
    left, right = pair()
    left.send(b"a" * 10)
    left.send(b"b" * 10)
    carry(left, right)
    answer(left, right)
    assert left.tx.una == 0
    right.take(T)
    answer(left, right)
    assert left.tx.una == 10
    right.take(T)
    answer(left, right)
    assert left.tx.una == 20


def test_message_longer_than_the_buffer_is_refused() -> None:
    left, right = pair(window=192)
    left.send(b"x" * 193)
    carry(left, right)
    answer(left, right)
    with pytest.raises(RemoteProtocolError, match="exceeds 192"):
        carry(left, right)


def test_message_of_exactly_the_buffer_is_taken() -> None:
    left, right = pair(window=192)
    left.send(b"x" * 192)
    carry(left, right)
    assert right.take(T) == b"x" * 192


def test_retransmission_may_be_cut_differently() -> None:
    left, right = pair()
    left.send(b"abcdefgh")
    left.send(b"second")
    first = left.poll(5, T)
    assert first is not None
    right.receive(first[1], first[2], first[3], T)
    left.tx.handle_deadline(T + 1)
    carry(left, right, T + 1)
    assert [right.take(T), right.take(T)] == [b"abcdefgh", b"second"]


def test_frame_that_stays_unacknowledged_is_noticed() -> None:
    left, _ = pair()
    assert not left.is_stuck(T + 100)
    left.send(b"x")
    left.poll(MTU, T)
    assert not left.is_stuck(T + STUCK_S - 0.1)
    assert left.is_stuck(T + STUCK_S)
    left.tx.acknowledged(1, 1000, rejects=False, now=T + STUCK_S)
    assert not left.is_stuck(T + 1000)


def test_peer_without_credit_is_not_a_stuck_one() -> None:
    left, right = pair(window=0)
    left.send(b"x")
    now = T
    for _ in range(50):
        left.poll(MTU, now)
        deadline = left.tx.next_deadline()
        assert deadline is not None
        now = deadline
        left.handle_deadline(now)
        assert carry(left, right, now) == 1
        answer(left, right, now)
        assert not left.is_stuck(now)
    assert now > T + 10 * STUCK_S

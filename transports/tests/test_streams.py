"""The rules of a stream, one by one: each test is one thing that a sender or a receiver must or must never do."""

from __future__ import annotations

import struct

import pytest

from transports.errors import RemoteProtocolError
from transports.wire.control_channel import STUCK_S, ControlChannel
from transports.wire.framing import DATA, SKIP
from transports.wire.offsets import HALF, MASK, distance, next_sid, unwrap
from transports.wire.receive_stream import ACK_DELAY_S, ReceiveStream
from transports.wire.send_stream import Overflow, SendStream
from transports.wire.timers import (
    DEVICE_RTO_MAX_S,
    DEVICE_RTO_MIN_S,
    GATEWAY_RTO_INITIAL_S,
    GATEWAY_RTO_MAX_S,
    GATEWAY_RTO_MIN_S,
    FixedRto,
    MeasuredRto,
)

MTU = 64
T = 10.0


def ring(capacity: int = 100, *, overflow: Overflow = Overflow.REFUSE, offset: int = 0, lossy: bool = False) -> SendStream:
    return SendStream(capacity, FixedRto(), keeps=True, overflow=overflow, offset=offset, lossy=lossy)


def queue(credit: int = 1000) -> SendStream:
    stream = SendStream(1000, MeasuredRto(), cuts=True)
    stream.join(None, credit)
    return stream


def ack(stream: SendStream, off: int, credit: int = 1000, *, rejects: bool = False, now: float = T) -> bool:
    return stream.acknowledged(off & MASK, credit, rejects=rejects, now=now)


def lost_records(outgoing: tuple[int, int, int, bytes] | None) -> tuple[int, int]:
    """(offset, records) of a SKIP."""
    assert outgoing is not None
    assert outgoing[0] == SKIP
    records, _reason = struct.unpack("<IB", outgoing[3])
    return outgoing[2], records


# -- numbers that wrap


@pytest.mark.parametrize(
    ("wrapped", "near", "full"),
    [
        (5, 3, 5),
        (3, 5, 3),
        (0, MASK, MASK + 1),
        (MASK, MASK + 1, MASK),
        (HALF + 1, HALF - 1, HALF + 1),
        (2, 7 << 32 | MASK, 8 << 32 | 2),
    ],
)
def test_low_half_is_read_as_the_nearest_full_offset(wrapped: int, near: int, full: int) -> None:
    assert unwrap(wrapped, near) == full


def test_uptime_that_wraps_went_forward() -> None:
    assert distance(10, MASK - 10) == 21
    assert distance(MASK - 10, 10) == -21


def test_session_ids_run_from_1_to_255() -> None:
    assert next_sid(1) == 2
    assert next_sid(255) == 1


# -- sending


def test_sends_only_what_credit_allows() -> None:
    stream = ring()
    stream.write(bytes(50))
    stream.join(0, 20)
    assert stream.poll(MTU, T) == (DATA, 0, 0, bytes(20))
    assert stream.poll(MTU, T) is None
    ack(stream, 20, 10)
    assert stream.poll(MTU, T) == (DATA, 0, 20, bytes(10))


def test_frame_never_holds_bytes_of_two_messages() -> None:
    stream = queue()
    stream.write(b"a" * 70)
    stream.write(b"b" * 5)
    assert stream.poll(MTU, T) == (DATA, 0, 0, b"a" * 64)
    assert stream.poll(MTU, T) == (DATA, 1, 64, b"a" * 6)
    assert stream.poll(MTU, T) == (DATA, 1, 70, b"b" * 5)


def test_time_out_goes_back_to_una_and_doubles() -> None:
    stream = ring()
    stream.write(bytes(30))
    stream.join(0, 1000)
    stream.poll(20, T)
    stream.poll(20, T)
    assert stream.next_deadline() == T + DEVICE_RTO_MIN_S
    stream.handle_deadline(T + DEVICE_RTO_MIN_S)
    assert stream.poll(20, T + 1) == (DATA, 0, 0, bytes(20))
    assert stream.next_deadline() == pytest.approx(T + DEVICE_RTO_MIN_S + 2 * DEVICE_RTO_MIN_S)


def test_progress_ends_the_doubling() -> None:
    stream = ring()
    stream.write(bytes(40))
    stream.join(0, 1000)
    stream.poll(20, T)
    for _ in range(6):
        deadline = stream.next_deadline()
        assert deadline is not None
        stream.handle_deadline(deadline)
        stream.poll(20, deadline)
    ack(stream, 20, now=T + 20)
    assert stream.next_deadline() == T + 20 + DEVICE_RTO_MIN_S


def test_reject_rewinds_once_per_offset() -> None:
    stream = ring()
    stream.write(bytes(60))
    stream.join(0, 1000)
    for _ in range(3):
        stream.poll(20, T)
    ack(stream, 20, rejects=True)
    assert stream.poll(20, T) == (DATA, 0, 20, bytes(20))
    ack(stream, 20, rejects=True)
    assert stream.poll(20, T) == (DATA, 0, 40, bytes(20))
    assert stream.retransmits == 1


def test_late_acknowledgement_is_not_sent_again() -> None:
    """The time-out was too early: what the ACK covers need not go twice."""
    stream = ring()
    stream.write(bytes(60))
    stream.join(0, 1000)
    for _ in range(3):
        stream.poll(20, T)
    stream.handle_deadline(T + 1)
    ack(stream, 40, now=T + 1)
    assert stream.poll(20, T + 1) == (DATA, 0, 40, bytes(20))


@pytest.mark.parametrize("off", [-1, -20, 41, 1000, HALF, HALF - 1])
def test_impossible_acknowledgement_is_counted_and_ignored(off: int) -> None:
    stream = ring()
    stream.write(bytes(60))
    stream.join(0, 40)
    stream.poll(20, T)
    stream.poll(20, T)
    assert not ack(stream, off, 60000)
    assert stream.stray_acks == 1
    assert (stream.una, stream.nxt, stream.limit) == (0, 40, 40)


def test_waiting_without_credit_asks_each_time_out() -> None:
    stream = ring()
    stream.write(bytes(30))
    stream.join(0, 0)
    assert stream.poll(MTU, T) is None
    asked = []
    now = T
    for _ in range(3):
        deadline = stream.next_deadline()
        assert deadline is not None
        now = deadline
        stream.handle_deadline(now)
        asked.append(stream.poll(MTU, now))
        assert stream.poll(MTU, now) is None
    assert asked == [(DATA, 0, 0, b"")] * 3
    ack(stream, 0, 30, now=now)
    assert stream.poll(MTU, now) == (DATA, 0, 0, bytes(30))


def test_no_probe_while_frames_are_out_and_may_bring_credit() -> None:
    stream = ring()
    stream.write(bytes(30))
    stream.join(0, 10)
    stream.poll(MTU, T)
    assert stream.poll(MTU, T) is None


def test_ring_keeps_acknowledged_bytes_for_the_next_gateway() -> None:
    stream = ring(100)
    stream.write(b"a" * 40)
    stream.write(b"b" * 40)
    stream.join(0, 1000)
    stream.poll(MTU, T)
    stream.poll(MTU, T)
    ack(stream, 80)
    stream.join(None, 1000)
    assert stream.poll(80, T) == (DATA, 0, 0, b"a" * 40 + b"b" * 40)


def test_full_ring_refuses_what_nobody_has_yet() -> None:
    stream = ring(100)
    assert stream.write(bytes(60))
    assert not stream.write(bytes(60))
    assert stream.next == 60
    stream.join(0, 1000)
    stream.poll(60, T)
    ack(stream, 60)
    assert stream.write(bytes(60))
    assert (stream.base, stream.next) == (60, 120)


def test_queue_frees_what_is_acknowledged() -> None:
    stream = queue()
    assert stream.write(bytes(1000))
    assert stream.room_bytes() == 0
    for _ in range(16):
        stream.poll(MTU, T)
    ack(stream, 64)
    assert stream.room_bytes() == 64
    ack(stream, 1000)
    assert stream.room_bytes() == 1000


def overwritten(records: int = 10) -> SendStream:
    """A ring of 100 bytes; records of 20, the first five of which were sent."""
    stream = ring(100, overflow=Overflow.OVERWRITE)
    for _ in range(5):
        stream.write(bytes(20))
    stream.join(0, 1000)
    for _ in range(5):
        stream.poll(20, T)
    for _ in range(records - 5):
        stream.write(bytes(20))
    return stream


def test_overwritten_ring_sends_only_skip_until_it_is_acknowledged() -> None:
    stream = overwritten()
    assert lost_records(stream.poll(MTU, T)) == (100, 5)
    assert stream.poll(MTU, T) is None
    assert lost_records(again(stream)) == (100, 5)
    ack(stream, 100, now=T + 1)
    assert stream.poll(MTU, T + 1) == (DATA, 0, 100, bytes(64))


def again(stream: SendStream) -> tuple[int, int, int, bytes] | None:
    """What goes after the time-out."""
    deadline = stream.next_deadline()
    assert deadline is not None
    stream.handle_deadline(deadline)
    return stream.poll(MTU, deadline)


def test_each_skip_counts_anew() -> None:
    stream = overwritten()
    assert lost_records(stream.poll(MTU, T)) == (100, 5)
    stream.write(bytes(20))
    assert lost_records(again(stream)) == (120, 6)


def test_late_acknowledgement_of_data_makes_the_gap_smaller() -> None:
    stream = overwritten()
    assert lost_records(stream.poll(MTU, T)) == (100, 5)
    ack(stream, 40)
    assert lost_records(stream.poll(MTU, T)) == (100, 3)


def test_half_a_record_that_arrived_is_lost_as_a_whole() -> None:
    """The receiver has 10 bytes of the third record and will drop them."""
    stream = overwritten()
    ack(stream, 50)
    assert lost_records(stream.poll(MTU, T)) == (100, 3)


def test_acknowledged_skip_leaves_what_was_overwritten_since() -> None:
    stream = overwritten()
    stream.poll(MTU, T)
    for _ in range(3):
        stream.write(bytes(20))
    ack(stream, 100)
    assert lost_records(stream.poll(MTU, T)) == (160, 3)


def test_loss_is_still_known_after_a_gateway_that_knew_nothing() -> None:
    stream = overwritten()
    stream.join(None, 1000)
    assert stream.poll(20, T) == (DATA, 0, 100, bytes(20))
    stream.join(40, 1000)
    assert lost_records(stream.poll(MTU, T)) == (100, 3)


def test_reject_while_skipping_brings_no_data() -> None:
    stream = overwritten()
    stream.poll(MTU, T)
    ack(stream, 20, rejects=True)
    assert lost_records(stream.poll(MTU, T)) == (100, 4)


def test_long_outage_is_counted_without_a_mark_for_each_record() -> None:
    stream = overwritten(100_000)
    assert lost_records(stream.poll(MTU, T)) == (20 * 100_000 - 100, 100_000 - 5)
    assert len(stream._lost) <= 6


def test_jump_that_no_frame_can_say_leaves_the_session() -> None:
    stream = ring(100, overflow=Overflow.OVERWRITE)
    stream.write(bytes(100))
    stream.join(0, 1000)
    stream.base = stream.nxt = HALF - 1
    assert not stream.must_leave()
    stream.base = stream.nxt = HALF
    assert stream.must_leave()


def test_joining_after_such_a_jump_begins_at_base() -> None:
    stream = ring(100, offset=3 << 32)
    stream.write(b"x" * 10)
    stream.join(12, 1000)
    assert stream.poll(MTU, T) == (DATA, 0, 3 << 32, b"x" * 10)


def test_stored_ahead_of_the_ring_is_taken_as_its_end() -> None:
    stream = ring()
    stream.write(bytes(10))
    stream.join(500, 1000)
    assert stream.una == 10
    stream.write(b"new")
    assert stream.poll(MTU, T) == (DATA, 0, 10, b"new")


@pytest.mark.parametrize("border", [1 << 31, 1 << 32, 5 << 32])
def test_stream_goes_on_over_a_wrap(border: int) -> None:
    sender, receiver = ring(1000, offset=border - 50), ReceiveStream(1000, offset=border - 50)
    for i in range(10):
        sender.write(bytes([i]) * 10)
    sender.join(border - 50, 1000)
    got = b""
    while (outgoing := sender.poll(30, T)) is not None:
        got += receiver.receive(outgoing[2] & MASK, outgoing[3])
        receiver.store(receiver.expected, T)
        reply = receiver.poll_ack(T)
        assert reply is not None
        assert ack(sender, reply[1], reply[2])
    assert got == b"".join(bytes([i]) * 10 for i in range(10))
    assert sender.una == receiver.stored == border + 50


def test_lossy_sender_keeps_nothing_and_sends_whole_records() -> None:
    stream = ring(100, lossy=True)
    stream.join(None, 1000)
    stream.write(b"a" * 40)
    stream.write(b"b" * 40)
    assert stream.poll(MTU, T) == (DATA, 0, 0, b"a" * 40)
    assert stream.poll(MTU, T) == (DATA, 0, 40, b"b" * 40)
    assert (stream.una, stream.base, stream.next_deadline()) == (80, 80, None)
    assert stream.room_bytes() == 100


def test_lossy_sender_without_credit_asks() -> None:
    stream = ring(100, lossy=True)
    stream.join(None, 50)
    stream.write(b"a" * 40)
    stream.write(b"b" * 40)
    stream.poll(MTU, T)
    assert stream.poll(MTU, T) is None
    assert again(stream) == (DATA, 0, 40, b"")
    ack(stream, 40, 1000)
    assert stream.poll(MTU, T) == (DATA, 0, 40, b"b" * 40)


# -- retransmission clocks


def test_gateway_measures_round_trips_within_its_bounds() -> None:
    rto = MeasuredRto()
    assert rto.rto_s == GATEWAY_RTO_INITIAL_S
    rto.sample(0.1)
    assert rto.rto_s == pytest.approx(0.3)
    for _ in range(100):
        rto.sample(0.001)
    assert rto.rto_s == GATEWAY_RTO_MIN_S
    for _ in range(20):
        rto.back_off()
    assert rto.rto_s == GATEWAY_RTO_MAX_S
    rto.progress()
    assert rto.rto_s == GATEWAY_RTO_MIN_S


def test_device_waits_four_frame_times() -> None:
    assert FixedRto(0.001).rto_s == DEVICE_RTO_MIN_S
    assert FixedRto(0.1).rto_s == pytest.approx(0.4)
    assert FixedRto(10).rto_s == DEVICE_RTO_MAX_S


def test_no_round_trip_is_measured_from_what_was_sent_twice() -> None:
    """Karn: the ACK may belong to either of the two."""
    stream = queue()
    stream.write(bytes(10))
    stream.poll(MTU, T)
    stream.handle_deadline(T + GATEWAY_RTO_INITIAL_S)
    stream.poll(MTU, T + GATEWAY_RTO_INITIAL_S)
    ack(stream, 10, now=T + GATEWAY_RTO_INITIAL_S + 0.001)
    stream.write(bytes(10))
    stream.poll(MTU, T + 1)
    assert stream.next_deadline() == pytest.approx(T + 1 + GATEWAY_RTO_INITIAL_S)


def test_round_trip_is_measured_from_what_was_sent_once() -> None:
    stream = queue()
    stream.write(bytes(10))
    stream.poll(MTU, T)
    ack(stream, 10, now=T + 0.02)
    stream.write(bytes(10))
    stream.poll(MTU, T + 1)
    assert stream.next_deadline() == pytest.approx(T + 1 + 0.06)


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

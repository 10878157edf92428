"""The rules of a sender, one by one: each test is one thing that it must or must never do."""

from __future__ import annotations

import pytest

from transports.tests.stream_rig import MTU, T, ack, queue, ring
from transports.wire.framing import DATA
from transports.wire.offsets import HALF, MASK, distance, next_sid, unwrap
from transports.wire.receive_stream import ReceiveStream
from transports.wire.timers import (
    DEVICE_RTO_MAX_S,
    DEVICE_RTO_MIN_S,
    GATEWAY_RTO_INITIAL_S,
    GATEWAY_RTO_MAX_S,
    GATEWAY_RTO_MIN_S,
    FixedRto,
    MeasuredRto,
)

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

"""What a sender says and must not forget when records are gone: an overwritten ring, SKIP and the way back, and a ring that is lossy."""

from __future__ import annotations

from transports.tests.stream_rig import MTU, T, ack, lost_records, ring
from transports.wire.framing import DATA
from transports.wire.offsets import HALF
from transports.wire.send_stream import Overflow, SendStream


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

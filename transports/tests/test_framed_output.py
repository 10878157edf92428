"""What a FramedProtocol tells of its device's output: records, gaps, checkpoints, problems and times."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.protocol import Checkpoint, Gap, GapReason, Joined, Output, Problem, Record, RecordKind, Text
from transports.protocols.clock_filter import ClockFilter
from transports.protocols.problem_filter import MAX_KEYS, ProblemFilter
from transports.tests.framed_rig import lines, listed_device, ready_rig
from transports.tests.taken_apart import records_in
from transports.tests.wire_peer import DevicePeer, hello
from transports.tests.wire_rig import Gateway
from transports.wire import messages
from transports.wire.framing import ACK
from transports.wire.messages import Notification
from transports.wire.numbers import CH_LOG, Method
from transports.wire.records import encode_gap_record, encode_record, encode_start_record

# -- output


RECORDS = (
    encode_start_record(10, 2, 77, 1),
    encode_record(11, 2, RecordKind.STDOUT, b"hello"),
    encode_record(12, 3, RecordKind.STDERR_PARTIAL, b"x" * 200),
    encode_gap_record(13, 2, 5, 600, GapReason.REFUSED),
    encode_record(14, 2, RecordKind.STDOUT, b""),
)


@given(cuts=st.lists(st.integers(1, 100), max_size=40), kill_after=st.integers(0, 40))
@settings(max_examples=100, deadline=None)
def test_any_cut_of_the_log_gives_the_same_records(cuts: list[int], kill_after: int) -> None:
    """Also over a kill of the gateway after any frame: the checkpoint carries the half record."""
    stream = b"".join(RECORDS)
    device = DevicePeer()
    welcome = device.join(hello(mtu=243))
    off = 0
    for index, size in enumerate([*cuts, len(stream)]):
        if index == kill_after:
            items = device.gateway.items
            device = DevicePeer(Gateway(device.gateway.checkpoint))
            device.join(hello(boot_id=welcome.boot_id, uptime_ms=5000, mtu=243), end=len(stream))
            device.gateway.items = items
        while size > 0 and off < len(stream):
            piece = stream[off : off + min(size, 243)]
            device.log(off, piece)
            off += len(piece)
            size -= len(piece)
    records = [item for _, item in device.gateway.items if isinstance(item, Record)]
    assert [record.kind for record in records] == [0, 1, 4, 7, 1]
    ends = [sum(map(len, RECORDS[: i + 1])) for i in range(5)]
    assert [(record.offset, record.end) for record in records] == list(zip([0, *ends], ends, strict=False))
    assert records[0].start == (77, 1)
    assert records[3].lost == (5, 600, GapReason.REFUSED)


def test_what_is_no_record_is_a_gap_and_a_problem() -> None:
    device = DevicePeer()
    device.join()
    device.log(0, RECORDS[1] + b"\xc1\xc1\xc1")
    assert [event.reason for event in device.gateway.events if isinstance(event, Problem)] == ["MalformedLog"]
    end = len(RECORDS[1]) + 3
    assert device.gateway.gaps() == [Gap(end - 3, end, None, GapReason.UNKNOWN)]
    device.log(end, RECORDS[1])
    assert device.gateway.lines() == [b"hello", b"hello"]


def test_record_without_end_is_bounded() -> None:
    device = DevicePeer()
    device.join()
    device.log(0, b"\x93\x01\x01\xc5\xff\xff" + bytes(50))
    off = 56
    for _ in range(40):
        device.log(off, bytes(60))
        off += 60
    assert device.gateway.checkpoint is not None
    assert len(device.gateway.checkpoint.tail) <= 1024


def test_checkpoint_of_another_epoch_acknowledges_nothing() -> None:
    device = DevicePeer(Gateway(auto_store=False))
    device.join()
    device.take()
    device.log(0, RECORDS[1])
    device.gateway.core.stored(Checkpoint(1, 1, 500), device.now)
    device.wait(0.1)
    assert device.take_of(ACK, CH_LOG) == []


def test_joining_makes_the_new_identity_durable() -> None:
    """Even without a byte of LOG: a killed gateway must know the boot id that it granted."""
    device = DevicePeer()
    welcome = device.join()
    assert device.gateway.checkpoint == Checkpoint(welcome.boot_id, welcome.boot_id, 0, b"", welcome.sid, 405)


def test_joining_again_is_durable_too() -> None:
    device = DevicePeer()
    first = device.join()
    again = device.join(hello(boot_id=first.boot_id, uptime_ms=9000))
    assert device.gateway.checkpoint == Checkpoint(first.boot_id, first.boot_id, 0, b"", again.sid, 9005)


def test_text_is_told_and_no_frame_is_hurt() -> None:
    device = DevicePeer()
    device.core.receive_data(b"ets Jun  8 2016 00:22:57\r\n\0", device.now)
    device.join()
    assert device.gateway.events[0] == Text(b"ets Jun  8 2016 00:22:57\r\n")
    assert len(device.gateway.of(Joined)) == 1


def test_garbage_is_one_problem_a_minute() -> None:
    device = DevicePeer()
    rng = random.Random(5)
    for _ in range(3000):
        device.core.receive_data(b"\xff\x80" + rng.randbytes(20) + b"\0", device.now)
        device.listen()
        device.wait(0.01)
    problems = [event for event in device.gateway.events if isinstance(event, Problem)]
    assert [problem.reason for problem in problems] == ["GarbageReceived"]
    assert device.gateway.core.counters.rx_bad > 1000


def test_what_a_broken_device_repeats_is_told_once_a_minute() -> None:
    device = DevicePeer()
    for _ in range(100):
        device.say_dgram(0, hello(proto_max=0))
        device.wait(0.9)
    assert [event.reason for event in device.gateway.events if isinstance(event, Problem)] == ["VersionMismatch"] * 2


def test_different_errors_of_a_device_are_all_told() -> None:
    device = listed_device()
    for text in ("i2c stuck", "i2c stuck", "fan stopped"):
        device.control(Notification(Method.ERROR, messages.ErrorNote(4, text).to_map()))
    assert [event.message for event in device.gateway.events if isinstance(event, Problem)] == ["i2c stuck", "fan stopped"]


def test_problems_remembered_are_bounded() -> None:
    problems = ProblemFilter()
    assert all(problems.is_news(str(n), 0.0) for n in range(10_000))
    assert not problems.is_news("9999", 1.0)
    assert len(problems._told_at) == MAX_KEYS


def test_some_noise_among_many_frames_is_no_problem() -> None:
    device = DevicePeer()
    device.join()
    for i in range(1000):
        device.log(i * len(RECORDS[1]), RECORDS[1])
        if i % 40 == 0:
            device.core.receive_data(b"\xff\x80\xff\xff\xff\xff\0", device.now)
        device.wait(0.005)
    assert device.gateway.of(Problem) == []


# -- the clock


def test_clock_sample_that_was_delayed_least_wins() -> None:
    clock = ClockFilter()
    for uptime_ms, now in ((1000, 101.5), (2000, 102.1), (3000, 103.9)):
        clock.add(uptime_ms, now)
    assert clock.best(104.0).uptime_ms == 2000
    clock.clear()
    assert clock.best(104.0).now == 104.0


def test_clock_goes_on_over_the_wrap_of_uptime() -> None:
    clock = ClockFilter()
    clock.add(0xFFFFFF00, 100.0)
    clock.add(0x100, 100.612)
    assert clock.best(101.0).uptime_ms == 0xFFFFFF00


def test_record_times_can_be_told_from_the_first_output_on() -> None:
    rig = ready_rig(uptime_ms=5000)
    lines(rig, 1)
    rig.run(0.2)
    output = next(event for event in rig.gateway.events if isinstance(event, Output) and event.items)
    record = records_in(output.items)[0]
    written_at = output.clock.now + (record.uptime_ms - output.clock.uptime_ms) / 1000
    assert written_at == pytest.approx(100.0, abs=0.02)

"""FramedProtocol as a supervisor meets it: whole stories over both cores and a cable."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from transports.protocol import (
    Answered,
    DeviceProtocol,
    GapReason,
    Inventoried,
    Inventory,
    Joined,
    Left,
    Listed,
    Output,
    Problem,
    ProgramInfo,
    Record,
    RemoveWorkload,
    RequestLost,
    StartWorkload,
    StopWorkload,
    WorkloadChanged,
    WorkloadState,
    WorkloadStatus,
)
from transports.protocols.framed import LOSSY_READ_PAUSE_S, LOSSY_S, MAX_GATHERED_BYTES, MAX_READ_PAUSE_S, FramedProtocol
from transports.tests.framed_rig import lines, listed, ready_rig
from transports.tests.wire_peer import DevicePeer, hello
from transports.tests.wire_rig import CONFIG, Firmware, Gateway, Rig
from transports.wire.datagrams import Welcome
from transports.wire.framing import ACK, DATA, SKIP, Deframer, Frame
from transports.wire.numbers import CH_CTRL
from transports.wire.send_stream import Overflow


def test_protocol_has_the_shape_that_supervisors_use() -> None:
    protocol: DeviceProtocol = FramedProtocol(None, gateway_id=1, rng=random.Random(1))
    assert protocol.events() == []


def test_device_is_listed_a_few_round_trips_after_the_link() -> None:
    rig = Rig()
    took_s = rig.until(lambda: listed(rig) == 1)
    assert took_s < 0.01
    kinds = [type(event) for event in rig.gateway.events]
    assert kinds == [Joined, Output, Listed]
    rig.run(0.1)
    assert rig.gateway.of(Inventoried) == [Inventoried(Inventory((ProgramInfo("hello", "1"),), 4, "bench"))]


def test_a_device_that_is_refused_gets_no_session_and_is_told_once_in_a_while() -> None:
    refused: list[bytes] = []

    def refuses(device_id: bytes) -> str | None:
        refused.append(device_id)
        return "not this one" if len(refused) < 4 else None

    device = DevicePeer(Gateway(refuses=refuses))
    for _ in range(3):
        device.say_dgram(0, hello())
        device.wait(1.0)
    assert device.take() == []
    device.gateway.take_events(device.now)
    assert device.gateway.of(Problem) == [Problem("AnotherDevice", "not this one")]
    device.say_dgram(0, hello())
    assert [type(message) for message in device.take_dgrams()] == [Welcome]
    assert refused == [hello().device_id] * 4


def test_log_may_gather_for_a_quarter_of_the_ring_once_the_device_is_listed() -> None:
    rig = ready_rig(gateway=Gateway(line_bytes_per_s=92160.0))
    assert rig.gateway.core.read_pause_s == min(CONFIG.ring_bytes / 4, MAX_GATHERED_BYTES) / 92160
    rig.gateway.core.link_down(rig.now)
    assert rig.gateway.core.read_pause_s == 0


@pytest.mark.parametrize(
    ("ring_bytes", "bytes_per_s", "pause_s"),
    [
        (1024, 92160, 256 / 92160),
        (65535, 92160, MAX_GATHERED_BYTES / 92160),  # what a tty holds
        (65535, 11520, MAX_READ_PAUSE_S),
        (65535, 300_000, MAX_GATHERED_BYTES / 300_000),
    ],
)
def test_a_pause_fits_the_ring_the_tty_and_a_persons_patience(ring_bytes: int, bytes_per_s: float, pause_s: float) -> None:
    rig = ready_rig(config=replace(CONFIG, ring_bytes=ring_bytes), gateway=Gateway(line_bytes_per_s=bytes_per_s))
    assert rig.gateway.core.read_pause_s == pytest.approx(pause_s)


def test_after_a_loss_a_line_is_read_more_often_for_a_while() -> None:
    rig = ready_rig(config=replace(CONFIG, ring_bytes=65535), gateway=Gateway(line_bytes_per_s=92160.0))
    usual_s = rig.gateway.core.read_pause_s
    rig.from_device_filter = lambda data: b""
    lines(rig, 3, "lost")
    rig.run(0.01)
    rig.from_device_filter = lambda data: data
    lines(rig, 20)
    rig.until(lambda: rig.gateway.core.counters.rejects == 1)
    lines(rig, 1, "after it")
    rig.run(0.05)
    assert rig.gateway.core.read_pause_s == LOSSY_READ_PAUSE_S < usual_s
    rig.run(LOSSY_S)
    lines(rig, 1, "long after")
    rig.run(0.05)
    assert rig.gateway.core.read_pause_s == usual_s


def test_start_log_exit_remove() -> None:
    rig = ready_rig()
    start = rig.gateway.core.request(StartWorkload(7, 1, "hello", ("a",), ("K=V",), b"tag"), rig.now)
    rig.run(0.05)
    said = lines(rig, 5)
    rig.firmware.exit(7, 0)
    rig.run(0.05)
    answers = [event for event in rig.gateway.events if isinstance(event, Answered)]
    assert [(answer.request_id, answer.code) for answer in answers] == [(start, 0)]
    assert answers[0].status == WorkloadStatus(7, 1, 0, WorkloadState.RUNNING, 0, tag=b"tag")
    (changed,) = rig.gateway.of(WorkloadChanged)
    assert isinstance(changed, WorkloadChanged)
    assert (changed.status.state, changed.status.exit_code) == (WorkloadState.EXITED, 0)
    assert rig.gateway.lines() == said
    first = rig.gateway.items[0][1]
    assert isinstance(first, Record)
    assert first.start == (7, 1)
    rig.gateway.core.request(RemoveWorkload(7, 1), rig.now)
    rig.run(0.05)
    assert rig.firmware.workloads == {}


def test_same_log_goes_on_after_replug() -> None:
    rig = ready_rig()
    said = lines(rig, 20, "before")
    rig.cut()
    said += lines(rig, 20, "unplugged")
    rig.run(1.0)
    rig.plug()
    rig.until(lambda: listed(rig) == 2)
    said += lines(rig, 20, "after")
    rig.run(1.0)
    assert rig.gateway.lines() == said
    assert rig.gateway.gaps() == []
    assert [event.new_boot for event in rig.gateway.events if isinstance(event, Joined)] == [True, False]


def test_killed_gateway_is_back_after_one_round_trip_of_a_talking_device() -> None:
    rig = ready_rig()
    said = lines(rig, 5)
    rig.run(0.5)
    rig.kill_gateway()
    said += lines(rig, 1, "next")
    took_s = rig.until(lambda: listed(rig) == 1)
    assert took_s < 0.02
    rig.run(0.1)
    assert rig.gateway.lines() == said


def test_gateway_killed_before_the_checkpoint_gets_the_bytes_again() -> None:
    rig = ready_rig()
    rig.run(0.1)
    rig.gateway.auto_store = False
    said: list[bytes] = []
    while rig.firmware.log(b"line %d" % len(said), rig.now):
        said.append(b"line %d" % len(said))
    rig.run(0.5)
    assert rig.gateway.unstored
    assert not rig.firmware.log(b"no room: nothing of it was acknowledged", rig.now)
    rig.kill_gateway()
    rig.gateway.auto_store = True
    rig.until(lambda: listed(rig) == 1)
    rig.run(1.0)
    assert rig.gateway.lines() == said


def test_bytes_that_were_stored_twice_after_a_replug_are_told_once() -> None:
    """The sink is slow: the new session begins while the old bytes are on their way to the ring."""
    rig = ready_rig()
    rig.run(0.1)
    rig.gateway.auto_store = False
    said = lines(rig, 10)
    rig.run(0.2)
    rig.cut()
    rig.plug()
    said += lines(rig, 1, "next")
    rig.until(lambda: listed(rig) == 2)
    rig.gateway.auto_store = True
    rig.run(1.0)
    assert rig.gateway.lines() == said


def test_cold_reset_ends_the_epoch_with_a_gap_of_unknown_size() -> None:
    rig = ready_rig()
    said = lines(rig, 5, "old")
    rig.run(0.5)
    rig.reset()
    rig.until(lambda: listed(rig) == 2)
    said += lines(rig, 5, "new")
    rig.run(0.5)
    assert rig.gateway.lines() == said
    (gap,) = rig.gateway.gaps()
    assert (gap.end, gap.records, gap.reason) == (None, None, GapReason.UNKNOWN)
    epochs = [event.epoch for event in rig.gateway.events if isinstance(event, Joined)]
    assert epochs[0] != epochs[1]


def test_warm_reset_brings_the_last_lines() -> None:
    rig = ready_rig()
    rig.run(0.5)
    rig.from_device_filter = lambda data: None
    said = lines(rig, 5, "last words")
    rig.run(0.1)
    rig.reset(warm=True)
    rig.from_device_filter = lambda data: data
    rig.until(lambda: listed(rig) == 2)
    rig.run(0.5)
    assert rig.gateway.lines() == said
    assert rig.gateway.gaps() == []
    joined = [event for event in rig.gateway.events if isinstance(event, Joined)]
    assert joined[1].new_boot
    assert joined[1].epoch == joined[0].epoch
    assert joined[1].boot_off == rig.firmware.session.log.next


def test_ring_that_overran_while_nobody_was_there_is_one_gap_with_an_exact_count() -> None:
    rig = ready_rig(config=replace(CONFIG, ring_bytes=1000, overflow=Overflow.OVERWRITE))
    said = lines(rig, 5)
    rig.run(0.5)
    rig.cut()
    lost = lines(rig, 500, "overwritten")
    rig.run(0.5)
    rig.plug()
    rig.until(lambda: listed(rig) == 2)
    rig.run(1.0)
    (gap,) = rig.gateway.gaps()
    kept = rig.gateway.lines()[5:]
    assert gap.records == len(lost) - len(kept)
    assert said + lost[-len(kept) :] == rig.gateway.lines()


@pytest.mark.parametrize("kind", [ACK, DATA])
def test_one_lost_frame_of_each_kind_is_made_good(kind: int) -> None:
    """Lost DATA is rejected or times out; a lost ACK is made up by the next one or the time-out."""
    for lost in range(12):
        rig = ready_rig()
        rig.run(0.1)
        count = 0

        def lose(data: bytes, lost: int = lost) -> bytes | None:
            nonlocal count
            count += 1
            return None if count == lost + 1 else data

        if kind == DATA:
            rig.from_device_filter = lose
        else:
            rig.from_gateway_filter = lose
        said = lines(rig, 40)
        rig.run(2.0)
        assert rig.gateway.lines() == said
        assert rig.gateway.gaps() == []


def test_lost_skip_is_said_again() -> None:
    rig = ready_rig(config=replace(CONFIG, ring_bytes=1000, overflow=Overflow.OVERWRITE))
    rig.run(0.5)
    rig.cut()
    lines(rig, 200)
    rig.plug()
    lost: list[Frame] = []

    def lose_three_skips(data: bytes) -> bytes | None:
        (frame,) = Deframer(4096).feed(data, rig.now)
        if isinstance(frame, tuple) and frame[0] == SKIP and len(lost) < 3:
            lost.append(frame)
            return None
        return data

    rig.from_device_filter = lose_three_skips
    rig.until(lambda: len(rig.gateway.of(Joined)) == 2)
    rig.run(3.0)
    assert len(lost) == 3
    assert len(rig.gateway.gaps()) == 1
    assert rig.gateway.lines()[-1] == b"line 199"


def test_every_open_request_ends_when_the_link_goes() -> None:
    rig = ready_rig()
    rig.from_gateway_filter = lambda data: None
    ids = [rig.gateway.core.request(StopWorkload(n, 1, 0), rig.now) for n in range(5)]
    rig.run(0.1)
    rig.cut()
    events = rig.gateway.events
    assert [event for event in events if isinstance(event, RequestLost)] == [RequestLost(request_id) for request_id in ids]
    assert isinstance(events[-1], Left)


def test_list_of_many_workloads_comes_page_by_page() -> None:
    rig = ready_rig()
    for wid in range(1, 8):
        rig.gateway.core.request(StartWorkload(wid, 1, "p"), rig.now)
    rig.run(0.2)
    rig.cut()
    rig.plug()
    lines(rig, 1)
    rig.until(lambda: listed(rig) == 2)
    last = rig.gateway.of(Listed)[-1]
    assert isinstance(last, Listed)
    assert [status.wid for status in last.workloads] == list(range(1, 8))


def test_epoch_goes_on_over_4_gib() -> None:
    rig = ready_rig(config=replace(CONFIG, first_offset=(1 << 32) - 500))
    said = lines(rig, 100)
    rig.run(1.0)
    assert rig.gateway.lines() == said
    assert rig.gateway.checkpoint is not None
    assert rig.gateway.checkpoint.expected == rig.firmware.session.log.next > 1 << 32


def test_frames_of_requests_are_short_on_a_slow_line() -> None:
    """One frame takes at most 10 ms of the line, or 64 bytes."""
    rig = ready_rig(gateway=Gateway(line_bytes_per_s=11_520.0))
    rig.gateway.core.request(StartWorkload(1, 1, "p", ("x" * 400,)), rig.now)
    rig.run(0.5)
    assert max(len(frame[5]) for frame in rig.frames_to_device(DATA, CH_CTRL)) == 102


def test_firmware_of_the_bench_is_a_device_application() -> None:
    firmware = Firmware(CONFIG, 0.0)
    assert not firmware.session.in_session

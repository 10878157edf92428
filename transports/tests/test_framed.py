"""FramedProtocol as a supervisor meets it: whole stories over both cores and a cable, then single answers of a hand-played device."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transports.errors import LocalProtocolError, SessionLost
from transports.protocol import (
    Answered,
    Checkpoint,
    DeviceProtocol,
    DeviceStats,
    Event,
    Gap,
    GapReason,
    Inventoried,
    Inventory,
    Joined,
    Left,
    Listed,
    Output,
    Problem,
    ProgramInfo,
    ReadStats,
    Reboot,
    Record,
    RecordKind,
    RemoveWorkload,
    Reported,
    RequestLost,
    StartWorkload,
    StopWorkload,
    Text,
    WorkloadChanged,
    WorkloadState,
    WorkloadStatus,
)
from transports.protocols.clock_filter import ClockFilter
from transports.protocols.framed import LOSSY_READ_PAUSE_S, LOSSY_S, MAX_GATHERED_BYTES, MAX_READ_PAUSE_S, MAX_WORKLOADS, FramedProtocol
from transports.protocols.problem_filter import MAX_KEYS, ProblemFilter
from transports.protocols.requests import MAX_OPEN_REQUESTS
from transports.tests.taken_apart import records_in
from transports.tests.wire_peer import DevicePeer, hello
from transports.tests.wire_rig import CONFIG, Firmware, Gateway, Rig
from transports.wire import messages
from transports.wire.datagrams import Welcome
from transports.wire.framing import ACK, DATA, SKIP, Deframer, Frame
from transports.wire.messages import (
    Answer,
    InventoryAnswer,
    ListAnswer,
    Notification,
    Request,
    StatsAnswer,
    decode_control,
    status_to_map,
)
from transports.wire.numbers import CH_CTRL, CH_LOG, Code, Method, RstCode
from transports.wire.records import encode_gap_record, encode_record, encode_start_record
from transports.wire.send_stream import Overflow

RUNNING = WorkloadStatus(0xA1B2, 1, 0, WorkloadState.RUNNING, 10)
EXITED = replace(RUNNING, state=WorkloadState.EXITED, end_off=90, exit_code=3)


def listed(rig: Rig) -> int:
    return len(rig.gateway.of(Listed))


def ready_rig(**options: object) -> Rig:
    rig = Rig(**options)  # type: ignore[arg-type]  # options of a test
    rig.until(lambda: bool(rig.gateway.of(Inventoried)))
    return rig


def lines(rig: Rig, count: int, prefix: str = "line") -> list[bytes]:
    """Log that many lines, as fast as the ring takes them."""
    said = [f"{prefix} {i}".encode() for i in range(count)]
    for line in said:
        while not rig.firmware.log(line, rig.now):
            rig.run(0.01)
    return said


# -- stories


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


# -- requests


def test_start_that_is_too_big_is_refused_with_both_sizes_before_a_byte_is_sent() -> None:
    rig = ready_rig(config=replace(CONFIG, max_msg=192))
    rig.run(0.1)
    sent = len(rig.heard_by_device)
    sizes = r"START of 337 bytes exceeds the device's 192 \(largest: env 312, program 6, args 5\)"
    with pytest.raises(LocalProtocolError, match=sizes):
        rig.gateway.core.request(StartWorkload(1, 1, "hello", ("a", "b"), ("SERVICE=" + "x" * 300,)), rig.now)
    rig.run(0.1)
    assert len(rig.heard_by_device) == sent


def test_a_working_directory_is_refused_before_a_byte_is_sent() -> None:
    rig = ready_rig(config=CONFIG)
    with pytest.raises(LocalProtocolError, match="workingDir /srv: a device that speaks frames has no directories"):
        rig.gateway.core.request(StartWorkload(1, 1, "hello", working_dir="/srv"), rig.now)


def test_request_without_a_session_says_so() -> None:
    gateway = Gateway()
    with pytest.raises(SessionLost):
        gateway.core.request(Reboot(), 0.0)


def test_too_many_requests_are_refused() -> None:
    device = DevicePeer()
    device.join()
    for n in range(MAX_OPEN_REQUESTS - 1):
        device.gateway.core.request(StopWorkload(n, 1, 0), device.now)
    with pytest.raises(LocalProtocolError, match="256 requests"):
        device.gateway.core.request(Reboot(), device.now)


def control_sent(device: DevicePeer) -> list[tuple[int, Method]]:
    """(rid, method) of every request that arrived since the last look; acknowledges them."""
    data = b""
    sent = []
    while frames := device.take_of(DATA, CH_CTRL):
        for frame in frames:
            data += frame[5]
            if frame[1]:
                message = decode_control(data)
                assert isinstance(message, Request)
                sent.append((message.rid, Method(message.method)))
                data = b""
        device.say_ack(device.sid, CH_CTRL, frames[-1][4] + len(frames[-1][5]))
    return sent


def test_nothing_is_asked_before_the_answer_to_list() -> None:
    device = DevicePeer()
    device.join()
    device.gateway.core.request(StartWorkload(1, 1, "p"), device.now)
    assert control_sent(device) == [(1, Method.LIST)]
    device.wait(0.5)
    assert [method for _, method in control_sent(device)] == []
    device.control(Answer(1, 0, ListAnswer().to_map()))
    assert control_sent(device) == [(2, Method.INVENTORY), (3, Method.START)]


def test_refusal_carries_its_code_and_text() -> None:
    device = listed_device()
    request_id = device.gateway.core.request(StartWorkload(1, 1, "p"), device.now)
    ((rid, _),) = control_sent(device)
    device.control(Answer(rid, Code.BUSY, messages.refusal("no slot")))
    assert device.gateway.events[-1] == Answered(request_id, Code.BUSY, None, "no slot")


def test_answer_that_cannot_be_read_ends_the_session_and_the_request() -> None:
    device = listed_device()
    request_id = device.gateway.core.request(StartWorkload(1, 1, "p"), device.now)
    ((rid, _),) = control_sent(device)
    device.control(Answer(rid, Code.OK, {1: "nonsense"}))
    assert device.take_resets() == [(device.sid, RstCode.PROTOCOL_ERROR)]
    assert RequestLost(request_id) in device.gateway.events
    assert isinstance(device.gateway.events[-1], Left)


def listed_device(workloads: tuple[WorkloadStatus, ...] = ()) -> DevicePeer:
    device = DevicePeer()
    device.join(hello(max_msg=1024))
    control_sent(device)
    device.control(Answer(1, 0, ListAnswer(workloads).to_map()))
    control_sent(device)
    device.control(Answer(2, 0, InventoryAnswer().to_map()))
    return device


def test_device_without_inventory_has_an_empty_one() -> None:
    device = DevicePeer()
    device.join()
    control_sent(device)
    device.control(Answer(1, 0, ListAnswer().to_map()))
    control_sent(device)
    device.control(Answer(2, Code.UNSUPPORTED, {}))
    assert device.gateway.events[-1] == Inventoried(Inventory())


def test_inventory_comes_page_by_page_and_its_first_page_tells_the_board() -> None:
    device = DevicePeer()
    device.join()
    control_sent(device)
    device.control(Answer(1, 0, ListAnswer().to_map()))
    control_sent(device)
    device.control(Answer(2, 0, InventoryAnswer(Inventory((ProgramInfo("a", "1"),), 8, "rack"), next=5).to_map()))
    assert control_sent(device) == [(3, Method.INVENTORY)]
    device.control(Answer(3, 0, InventoryAnswer(Inventory((ProgramInfo("b"),))).to_map()))
    assert device.gateway.events[-1] == Inventoried(Inventory((ProgramInfo("a", "1"), ProgramInfo("b")), 8, "rack"))


def test_stats_are_told_before_the_answer_to_who_asked() -> None:
    device = listed_device()
    asked = device.gateway.core.request(ReadStats(), device.now)
    ((rid, method),) = control_sent(device)
    assert method is Method.STATS
    stats = DeviceStats(cpu_permille=125, readings=(("wifi.rssi", -61),))
    device.control(Answer(rid, 0, StatsAnswer(stats).to_map()))
    assert device.gateway.events[-2:] == [Reported(stats), Answered(asked, 0)]


def test_a_device_without_stats_says_so_and_broken_ones_end_the_session() -> None:
    device = listed_device()
    asked = device.gateway.core.request(ReadStats(), device.now)
    ((rid, _),) = control_sent(device)
    device.control(Answer(rid, Code.UNSUPPORTED, {}))
    assert device.gateway.events[-1] == Answered(asked, Code.UNSUPPORTED)
    asked = device.gateway.core.request(ReadStats(), device.now)
    ((rid, _),) = control_sent(device)
    device.control(Answer(rid, 0, {7: 1}))
    assert device.gateway.of(RequestLost) == [RequestLost(asked)]
    assert device.gateway.of(Left)


def test_list_that_never_ends_ends_the_session() -> None:
    device = DevicePeer()
    device.join()
    for rid in range(1, 2000):
        control_sent(device)
        device.control(Answer(rid, 0, ListAnswer((), next=1).to_map()))
        if device.gateway.of(Left):
            break
    assert rid < 1100


def test_a_list_of_more_workloads_than_there_can_be_ends_the_session() -> None:
    device = DevicePeer()
    device.join()
    listed = 0
    while not device.gateway.of(Left) and listed < 4 * MAX_WORKLOADS:
        control_sent(device)
        device.control(Answer(1 + listed // 5, 0, ListAnswer((RUNNING,) * 5, next=1).to_map()))
        listed += 5
    assert MAX_WORKLOADS < listed < 2 * MAX_WORKLOADS


def test_news_without_end_and_no_list_end_the_session() -> None:
    device = DevicePeer()
    device.join()
    told = 0
    while not device.gateway.of(Left) and told < 4 * MAX_WORKLOADS:
        control_sent(device)
        device.control(Notification(Method.STARTED, status_to_map(RUNNING)))
        told += 1
    assert told == MAX_WORKLOADS + 1


def test_refused_list_ends_the_session() -> None:
    device = DevicePeer()
    device.join()
    control_sent(device)
    device.control(Answer(1, Code.INTERNAL, messages.refusal("flash is broken")))
    (problem,) = device.gateway.of(Problem)
    assert isinstance(problem, Problem)
    assert "flash is broken" in problem.message
    assert device.gateway.of(Listed) == []
    assert len(device.gateway.of(Left)) == 1


def test_news_from_before_the_list_is_told_after_it() -> None:
    device = DevicePeer()
    device.join()
    device.control(Notification(Method.EXITED, status_to_map(EXITED)))
    assert device.gateway.of(WorkloadChanged) == []
    device.control(Answer(1, 0, ListAnswer((RUNNING,)).to_map()))
    assert device.gateway.events[-2:] == [Listed((RUNNING,)), WorkloadChanged(EXITED)]


def test_old_news_is_not_told_after_the_list() -> None:
    device = DevicePeer()
    device.join()
    device.control(Notification(Method.STARTED, status_to_map(RUNNING)))
    device.control(Answer(1, 0, ListAnswer((EXITED,)).to_map()))
    assert device.gateway.of(WorkloadChanged) == []


def test_notifications_become_events() -> None:
    device = listed_device()
    device.control(Notification(Method.EXITED, status_to_map(EXITED)))
    device.control(Notification(Method.CONDITION, messages.Condition("Overheated", True, "91 C").to_map()))
    device.control(Notification(Method.CONDITION, messages.Condition("Overheated", False).to_map()))
    device.control(Notification(Method.ERROR, messages.ErrorNote(4, "i2c stuck").to_map()))
    device.control(Notification(0x5F, {}))
    expected: list[Event] = [WorkloadChanged(EXITED), Problem("Overheated", "91 C"), Problem("DeviceError", "i2c stuck")]
    assert device.gateway.events[-3:] == expected
    assert device.gateway.core.counters.extra == {"unknown_notifications": 1}


def test_request_of_a_device_is_answered_unsupported() -> None:
    device = listed_device()
    device.take()
    device.control(Request(1, Method.CLOSE, {}))
    (frame,) = device.take_of(DATA, CH_CTRL)
    answer = decode_control(frame[5])
    assert isinstance(answer, Answer)
    assert (answer.rid, answer.code) == (1, Code.UNSUPPORTED)


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
    assert device.gateway.gaps() == [Gap(0, end, None, GapReason.UNKNOWN)]
    device.log(end, RECORDS[1])
    assert device.gateway.lines() == [b"hello"]


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


def test_firmware_of_the_bench_is_a_device_application() -> None:
    firmware = Firmware(CONFIG, 0.0)
    assert not firmware.session.in_session

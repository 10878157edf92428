"""What a FramedProtocol asks its device, and what it makes of each answer and of news, most of it from a device that is played by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from transports.errors import LocalProtocolError, SessionLost
from transports.protocol import (
    Answered,
    DeviceStats,
    Event,
    Inventoried,
    Inventory,
    Left,
    Listed,
    Problem,
    ProgramInfo,
    ReadStats,
    Reboot,
    Reported,
    RequestLost,
    StartWorkload,
    StopWorkload,
    WorkloadChanged,
)
from transports.protocols.framed import MAX_WORKLOADS
from transports.protocols.requests import MAX_OPEN_REQUESTS
from transports.tests.framed_rig import EXITED, RUNNING, control_sent, listed_device, ready_rig
from transports.tests.wire_peer import DevicePeer
from transports.tests.wire_rig import CONFIG, Gateway
from transports.wire import messages
from transports.wire.framing import DATA
from transports.wire.messages import Answer, InventoryAnswer, ListAnswer, Notification, Request, StatsAnswer, decode_control, status_to_map
from transports.wire.numbers import CH_CTRL, Code, Method, RstCode


def test_start_that_is_too_big_is_refused_with_both_sizes_before_a_byte_is_sent() -> None:
    rig = ready_rig(config=replace(CONFIG, max_msg=192))
    rig.run(0.1)
    sent = len(rig.heard_by_device)
    sizes = r"START of 339 bytes exceeds the device's 192 \(largest: env 312, program 6, args 5\)"
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

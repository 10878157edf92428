"""The gateway's end of a session with a device that is silent, away, hostile or broken, played by hand."""

from __future__ import annotations

import pytest

from transports.protocol import Away, Listed, Output, Problem, RequestLost, Returned, StopWorkload
from transports.tests.session_rig import LINE, joined, left, listed_device
from transports.tests.taken_apart import records_in
from transports.tests.wire_peer import DevicePeer, hello
from transports.tests.wire_rig import Gateway
from transports.wire.datagrams import Ping, Pong, encode_dgram
from transports.wire.framing import ACK, DATA, DGRAM, RST, encode_frame
from transports.wire.messages import Answer, ListAnswer, Notification, encode_control
from transports.wire.numbers import CH_CTRL, CH_LOG, Method, RstCode

# -- keepalive


def test_ping_after_a_keepalive_of_silence_and_the_end_after_three() -> None:
    device = listed_device()
    device.wait(0.99)
    assert device.take() == []
    device.wait(0.02)
    assert any(isinstance(m, Ping) for m in device.take_dgrams())
    device.wait(1.9)
    assert left(device) == []
    device.wait(0.1)
    assert left(device) == ["nothing was heard for 3 s"]


def test_device_that_only_listens_is_pinged_too() -> None:
    """Something is heard all the time, but nothing was sent: the device's dead-man must not trip."""
    device = listed_device()
    for i in range(12):
        device.say(DGRAM, device.sid, payload=b"\x93\x02\x06\x82\x01\x00\x02\xcd\x13" + bytes([0x88 + i]))
        device.wait(0.1)
    assert any(isinstance(m, Ping) for m in device.take_dgrams())


def test_device_that_talks_all_the_time_is_not_silent() -> None:
    device = listed_device()
    for i in range(50):
        device.log(i * len(LINE), LINE)
        device.wait(0.1)
    assert left(device) == []


def test_without_keepalive_nothing_is_sent_and_nothing_expires() -> None:
    device = listed_device(Gateway(keepalive_s=0.0))
    device.wait(1000)
    assert device.take() == []
    assert left(device) == []


def test_requests_that_nobody_acknowledges_end_the_session() -> None:
    """The device talks, but does not take CTRL."""
    device = DevicePeer()
    device.join()
    for i in range(60):
        device.log(i * len(LINE), LINE)
        device.wait(0.1)
    assert left(device) == ["it does not acknowledge requests"]


def test_device_that_never_grants_credit_keeps_its_session() -> None:
    device = DevicePeer()
    device.join()
    device.say_ack(device.sid, CH_CTRL, 0, 0)
    device.take()
    device.say_ack(device.sid, CH_CTRL, 5, 0)
    device.control(Answer(1, 0, ListAnswer().to_map()))
    probes = 0
    for _ in range(200):
        device.wait(0.1)
        for frame in device.take_of(DATA, CH_CTRL):
            assert frame[5] == b""
            probes += 1
            device.say_ack(device.sid, CH_CTRL, 5, 0)
        device.log(0, LINE)
    assert probes > 3
    assert left(device) == []


# -- AWAY


def away(device: DevicePeer, duration_ms: int = 10_000) -> None:
    device.control(Notification(Method.AWAY, {1: 1, 2: duration_ms}))


def test_away_is_acknowledged_at_once_and_silence_is_no_fault() -> None:
    device = listed_device()
    away(device)
    assert [frame[4] for frame in device.take_of(ACK, CH_CTRL)] == [device.control_off]
    assert Away(1, 10_000) in device.gateway.events
    device.wait(9.9)
    assert device.take() == []
    assert left(device) == []


def test_device_that_returns_goes_on_in_the_same_session() -> None:
    device = listed_device()
    away(device)
    device.gateway.core.request(StopWorkload(1, 1, 0), device.now)
    device.wait(5)
    assert device.take_of(DATA, CH_CTRL) == []
    device.say_dgram(device.sid, Pong(0, 9000))
    assert Returned() in device.gateway.events
    assert len(device.take_of(DATA, CH_CTRL)) == 1
    assert left(device) == []


def test_frames_in_flight_do_not_end_away() -> None:
    device = listed_device()
    away(device)
    device.log(0, LINE)
    device.say_ack(device.sid, CH_CTRL, 10)
    device.wait(8)
    assert left(device) == []
    assert Returned() not in device.gateway.events


def test_device_that_does_not_come_back_in_time_is_lost() -> None:
    device = listed_device()
    away(device, 1000)
    request = device.gateway.core.request(StopWorkload(1, 1, 0), device.now)
    device.wait(2.9)
    assert left(device) == []
    device.wait(0.2)
    assert left(device) == ["it went away and did not come back in time"]
    assert RequestLost(request) in device.gateway.events


def test_device_that_comes_back_reset_begins_anew() -> None:
    device = listed_device()
    away(device)
    device.wait(1)
    device.join(hello(uptime_ms=100))
    assert len(joined(device)) == 2
    assert Returned() not in device.gateway.events


def test_away_for_ever_is_bounded() -> None:
    device = listed_device()
    away(device, 0xFFFFFFFF)
    device.wait(24 * 3600 + 3)
    assert len(left(device)) == 1


# -- hostile and broken devices


def test_old_version_is_told_as_a_problem() -> None:
    device = DevicePeer()
    device.say_dgram(0, hello(proto_max=0))
    assert device.take() == []
    assert [event.reason for event in device.gateway.events if isinstance(event, Problem)] == ["VersionMismatch"]


def test_malformed_control_message_ends_the_session() -> None:
    device = listed_device()
    device.say(DATA, device.sid, CH_CTRL, device.control_off, b"\xc1", flag=1)
    assert device.take_resets() == [(device.sid, RstCode.PROTOCOL_ERROR)]
    assert len(left(device)) == 1


def test_control_message_without_end_is_bounded() -> None:
    device = listed_device()
    off = device.control_off
    for _ in range(300):
        device.say(DATA, device.sid, CH_CTRL, off, b"\x01" * 243)
        off += 243
        if left(device):
            break
    assert len(left(device)) == 1
    assert off - device.control_off <= 65535 + 243


@pytest.mark.parametrize("payload", [b"", b"\1", b"\1\2\3", b"\xff" * 64])
def test_malformed_acknowledgements_and_skips_change_nothing(payload: bytes) -> None:
    device = listed_device()
    for type_ in range(8):
        for ch in (0, 1, 2, 3, 255):
            if (type_, ch) not in ((DATA, CH_CTRL), (DATA, CH_LOG)) and type_ != RST:
                device.core.receive_data(encode_frame(type_, 0, device.sid, ch, 12345, payload), device.now)
    device.listen()
    assert device.gateway.gaps() == []
    assert device.gateway.lines() == []


def test_session_zero_carries_only_datagrams() -> None:
    device = DevicePeer()
    device.say(DATA, 0, CH_LOG, 0, LINE)
    device.say_dgram(0, Pong(0, 1))
    device.say(DGRAM, 0, CH_CTRL, 0, encode_dgram(hello()))
    assert device.take() == []


def test_two_messages_and_a_half_in_one_chunk() -> None:
    device = DevicePeer()
    device.join()
    first, second = encode_control(Answer(1, 0, ListAnswer().to_map())), encode_control(Answer(9, 0, {}))
    chunk = encode_frame(DATA, 1, device.sid, CH_CTRL, 0, first) + encode_frame(DATA, 1, device.sid, CH_CTRL, len(first), second)
    device.core.receive_data(chunk + encode_frame(DATA, 0, device.sid, CH_CTRL, len(first + second), b"\x94"), device.now)
    device.listen()
    assert Listed(()) in device.gateway.events
    assert device.gateway.core.counters.extra == {"unknown_answers": 1}


def test_frames_and_text_of_one_chunk_keep_their_order() -> None:
    device = DevicePeer()
    device.join()
    frames = [b"\0" + encode_frame(DATA, 0, device.sid, CH_LOG, i * len(LINE), LINE) for i in range(4)]
    begin = len(device.gateway.events)
    device.core.receive_data(frames[0] + frames[1] + b"panic!\0" + frames[2] + frames[3], device.now)
    device.listen()
    outputs = [event for event in device.gateway.events[begin:] if isinstance(event, Output)]
    assert [len(records_in(output.items)) for output in outputs] == [4]


def test_log_offset_is_only_joined_in_one_piece_with_what_follows_it() -> None:
    """A chunk with a hole: what comes after is dropped and asked for."""
    device = DevicePeer()
    device.join()
    device.take()
    holes = [encode_frame(DATA, 0, device.sid, CH_LOG, i * len(LINE), LINE) for i in (0, 1, 3, 4)]
    device.core.receive_data(b"\0" + b"".join(holes), device.now)
    device.listen()
    assert len(device.gateway.lines()) == 2
    assert [(frame[1], frame[4]) for frame in device.take_of(ACK, CH_LOG)] == [(1, 2 * len(LINE))]

"""Devices at the edge of a rule, and beyond it: what happens is bounded, and told once."""

from __future__ import annotations

import pytest

from transports.errors import LocalProtocolError
from transports.protocol import (
    Answered,
    Away,
    Gap,
    GapReason,
    Joined,
    Listed,
    Problem,
    ReadStats,
    RecordKind,
    Reported,
    RequestLost,
    Returned,
    StartWorkload,
    StopWorkload,
    WorkloadChanged,
)
from transports.tests.framed_rig import EXITED, control_sent, listed_device
from transports.tests.session_rig import LINE, left
from transports.tests.wire_peer import DevicePeer, hello
from transports.tests.wire_rig import Gateway, Rig
from transports.wire.datagrams import Ping, Pong
from transports.wire.framing import DATA, DGRAM
from transports.wire.messages import Answer, Notification, Stop, decode_control, encode_control, status_to_map
from transports.wire.numbers import CH_CTRL, MAX_MESSAGE_BYTES, Method
from transports.wire.records import encode_record

DAY_MS = 24 * 3600 * 1000


def problems(device: DevicePeer) -> list[str]:
    return [event.message for event in device.gateway.events if isinstance(event, Problem)]


# -- the clock of a device that is never quiet


def next_ping(device: DevicePeer) -> Ping:
    device.wait(1.1)
    return [message for message in device.take_dgrams() if isinstance(message, Ping)][-1]


def talk(device: DevicePeer, off: int, seconds: float) -> tuple[list[Ping], int]:
    """Log ten lines a second and answer nothing; the PINGs that came."""
    pings: list[Ping] = []
    for _ in range(round(seconds * 10)):
        device.log(off, LINE)
        off += len(LINE)
        device.wait(0.1)
        pings += [message for message in device.take_dgrams() if isinstance(message, Ping)]
    return pings, off


def test_a_device_that_never_falls_silent_is_asked_for_its_uptime() -> None:
    device = listed_device()
    pings, _ = talk(device, 0, 30)
    assert 2 <= len(pings) <= 4


def test_forty_days_of_talk_are_no_reboot() -> None:
    """Uptimes are compared by a signed 32-bit difference: one from 25 days ago would lie ahead."""
    device = listed_device()
    off = 0
    for days in (10, 20, 30, 40):
        pings, off = talk(device, off, 15)
        if pings:
            device.say_dgram(device.sid, Pong(pings[-1].nonce, days * DAY_MS))
    device.gateway.core.link_down(device.now)
    device.gateway.core.link_up(device.now)
    device.join(hello(boot_id=device.boot_id, uptime_ms=40 * DAY_MS + 1000), end=off)
    assert [event.new_boot for event in device.gateway.events if isinstance(event, Joined)] == [True, False]


def test_the_longest_keepalive_of_a_configuration_fits_the_wire() -> None:
    rig = Rig(gateway=Gateway(keepalive_s=65.0))
    rig.until(lambda: bool(rig.gateway.of(Listed)))


def test_the_uptime_of_a_quiet_device_is_kept_for_the_next_gateway() -> None:
    device = listed_device()
    for days in range(1, 40):
        ping = next_ping(device)
        device.say_dgram(device.sid, Pong(ping.nonce, days * DAY_MS))
    next_one = DevicePeer(Gateway(device.gateway.checkpoint))
    next_one.join(hello(boot_id=device.boot_id, uptime_ms=40 * DAY_MS))
    assert [event.new_boot for event in next_one.gateway.events if isinstance(event, Joined)] == [False]


# -- keys that must be understood


def test_news_with_a_key_that_must_be_understood_is_dropped_and_told() -> None:
    device = listed_device()
    device.control(Notification(Method.EXITED, {-1: 7, **status_to_map(EXITED)}))
    device.control(Notification(Method.AWAY, {-1: 7, 1: 1, 2: 1000}))
    device.control(Notification(Method.EXITED, status_to_map(EXITED)))
    assert left(device) == []
    assert [event for event in device.gateway.events if isinstance(event, Away | WorkloadChanged)] == [WorkloadChanged(EXITED)]
    assert problems(device) == ["status: key -1 must be understood, and is not"]


def test_an_answer_with_a_key_that_must_be_understood_ends_the_session() -> None:
    """Dropped, it would leave its request open for ever."""
    device = DevicePeer()
    device.join()
    control_sent(device)
    device.control(Answer(1, 0, {-1: 7, 1: []}))
    assert not any(isinstance(event, Listed) for event in device.gateway.events)
    assert len(left(device)) == 1
    assert "key -1 must be understood" in left(device)[0]


# -- sizes


def long_error(size_bytes: int) -> bytes:
    """A notification of exactly so many bytes, most of them below a key of a later version."""
    body = {1: 10, 2: "", 9: b""}
    head_bytes = len(encode_control(Notification(Method.ERROR, {**body, 9: bytes(256)}))) - 256
    return encode_control(Notification(Method.ERROR, {**body, 9: bytes(size_bytes - head_bytes)}))


def say_control(device: DevicePeer, data: bytes) -> None:
    for at in range(0, len(data), 64):
        piece = data[at : at + 64]
        device.say(DATA, device.sid, CH_CTRL, device.control_off, piece, flag=int(at + 64 >= len(data)))
        device.control_off += len(piece)


def test_the_longest_control_message_is_taken_and_a_longer_one_is_not() -> None:
    device = listed_device()
    longest = long_error(MAX_MESSAGE_BYTES)
    assert len(longest) == MAX_MESSAGE_BYTES
    say_control(device, longest)
    assert left(device) == []
    assert problems(device) == ["code 10"]
    say_control(device, long_error(MAX_MESSAGE_BYTES + 1))
    assert len(left(device)) == 1


@pytest.mark.parametrize("many", [{"args": ("x",) * 65}, {"env": ("A=1",) * 65}])
def test_a_start_with_more_words_than_a_device_takes_is_refused(many: dict[str, tuple[str, ...]]) -> None:
    device = listed_device()
    with pytest.raises(LocalProtocolError, match=r"START: 65 (args|env) exceed the 64"):
        device.gateway.core.request(StartWorkload(1, 1, "p", **many), device.now)  # type: ignore[arg-type]  # args or env
    device.gateway.core.request(StartWorkload(1, 1, "p", ("x",) * 64), device.now)


@pytest.mark.parametrize("told", [{1: 2}, {2: 2}])
def test_the_status_of_another_run_is_no_answer_to_start(told: dict[int, int]) -> None:
    device = listed_device()
    control_sent(device)
    request_id = device.gateway.core.request(StartWorkload(EXITED.wid, EXITED.gen, "p"), device.now)
    control_sent(device)
    device.control(Answer(3, 0, status_to_map(EXITED) | told))
    assert left(device) == ["it sent a message that breaks the protocol: START was answered with the status of another run"]
    assert RequestLost(request_id) in device.gateway.events


def test_a_grace_that_the_wire_cannot_say_is_the_longest_that_it_can() -> None:
    device = listed_device()
    control_sent(device)
    device.gateway.core.request(StopWorkload(1, 1, 1 << 40), device.now)
    (frame,) = device.take_of(DATA, CH_CTRL)
    message = decode_control(frame[5])
    assert Stop.from_map(message.body).grace_ms == 0xFFFFFFFF


def test_stats_come_page_by_page() -> None:
    device = listed_device()
    control_sent(device)
    request_id = device.gateway.core.request(ReadStats(), device.now)
    assert control_sent(device) == [(3, Method.STATS)]
    device.control(Answer(3, 0, {1: 500, 2: 9, 7: [["a", 1]]}))
    assert control_sent(device) == [(4, Method.STATS)]
    device.control(Answer(4, 0, {7: [["b", 2]]}))
    told = [event for event in device.gateway.events if isinstance(event, Reported | Answered)]
    assert isinstance(told[0], Reported)
    assert (told[0].stats.cpu_permille, told[0].stats.readings) == (500, (("a", 1), ("b", 2)))
    assert told[1:] == [Answered(request_id, 0)]


# -- LOG


@pytest.mark.parametrize("garbage", [b"\xc4\x03\x01\x00\x07", b"\x83\x01\x00\x00\x00\x02\x00"], ids=["bin of 3", "map of 3"])
def test_only_an_array_is_a_record(garbage: bytes) -> None:
    device = listed_device()
    device.log(0, garbage)
    assert device.gateway.gaps() == [Gap(0, len(garbage), None, GapReason.UNKNOWN)]


def test_whole_records_before_what_is_none_are_kept_however_they_arrive() -> None:
    record = encode_record(11, 2, RecordKind.STDOUT, b"hello")
    for cut in range(1, len(record) + 4):
        device = listed_device()
        stream = record + b"\xc1\xc1\xc1"
        device.log(0, stream[:cut])
        device.log(cut, stream[cut:])
        assert device.gateway.lines() == [b"hello"]
        assert sum((gap.end or 0) - gap.offset for gap in device.gateway.gaps()) == 3


@pytest.mark.parametrize("reason", [0, 5, 16, 20, 255])
def test_a_reason_that_the_wire_does_not_have_is_unknown(reason: int) -> None:
    """16 and more are the gateway's own: a device cannot say that nobody was reading."""
    device = listed_device()
    device.skip(100, 3, reason)
    assert device.gateway.gaps() == [Gap(0, 100, 3, GapReason.UNKNOWN)]


# -- datagrams, AWAY


def test_unknown_datagrams_and_frames_are_counted() -> None:
    device = listed_device()
    device.say(DGRAM, device.sid, payload=b"\x93\x02\x7f\x80")
    device.say(DGRAM, 0, payload=b"\x93\x02\x7f\x80")
    device.say(6, device.sid)
    assert left(device) == []
    extra = device.gateway.core.counters.extra
    assert extra["unknown_datagrams"] == 2
    assert extra["unknown_frames"] == 1


def test_a_device_that_is_back_before_its_word_is_told_to_be_back() -> None:
    """An old HELLO has ended its absence, so that it is asked and answers as ever."""
    device = listed_device()
    device.control(Notification(Method.AWAY, {1: 1, 2: 60_000}))
    device.say_dgram(0, hello(uptime_ms=350))
    ping = next_ping(device)
    device.say_dgram(device.sid, Pong(ping.nonce, 3000))
    told = [event for event in device.gateway.events if isinstance(event, Away | Returned)]
    assert told == [Away(1, 60_000), Returned()]


def test_a_device_that_names_its_log_0_gets_no_session_and_is_told_why() -> None:
    """Every boot would be the same log to the gateway, and the begin of each be taken for what is stored."""
    device = DevicePeer()
    device.say_dgram(0, hello(log_epoch=0))
    device.say_dgram(0, hello(log_epoch=0, uptime_ms=650))
    assert device.take() == []
    assert problems(device) == ["a datagram was refused: HELLO: key 10 is 0: a log without an epoch is told by no key"]


def test_an_old_word_of_return_that_comes_again_is_no_reboot() -> None:
    """The pipe may say bytes twice, and nobody asked for this PONG."""
    device = listed_device()
    device.control(Notification(Method.AWAY, {1: 1, 2: 60_000}))
    device.say_dgram(device.sid, Pong(0, 3000))
    device.say_dgram(device.sid, Pong(next_ping(device).nonce, 4000))
    device.say_dgram(device.sid, Pong(0, 3000))
    assert left(device) == []

"""The gateway's end of a session, against a device that is played by hand."""

from __future__ import annotations

import itertools

import pytest

from transports.protocol import (
    Away,
    Checkpoint,
    Gap,
    GapReason,
    Joined,
    Left,
    Listed,
    Output,
    Problem,
    RecordKind,
    RequestLost,
    Returned,
    StopWorkload,
)
from transports.tests.taken_apart import records_in
from transports.tests.wire_peer import DevicePeer, hello
from transports.tests.wire_rig import Gateway
from transports.wire.datagrams import Ping, Pong, Ready, Welcome, encode_dgram
from transports.wire.framing import ACK, DATA, DGRAM, RST, encode_frame
from transports.wire.messages import Answer, ListAnswer, Notification, encode_control
from transports.wire.numbers import CH_CTRL, CH_LOG, Method, RstCode
from transports.wire.offsets import HALF
from transports.wire.records import encode_record

LINE = encode_record(1000, 0, RecordKind.STDOUT, b"twelve bytes")


def joined(device: DevicePeer) -> list[Joined]:
    return [event for event in device.gateway.events if isinstance(event, Joined)]


def left(device: DevicePeer) -> list[str]:
    return [event.why for event in device.gateway.events if isinstance(event, Left)]


def listed_device(gateway: Gateway | None = None) -> DevicePeer:
    """A device that joined and answered LIST and INVENTORY."""
    device = DevicePeer(gateway)
    device.join()
    for rid, end in ((1, 5), (2, 10)):
        body = ListAnswer().to_map() if rid == 1 else {1: [], 3: 1}
        device.say_ack(device.sid, CH_CTRL, end)
        device.control(Answer(rid, 0, body))
    device.take()
    return device


# -- listen first


def test_not_a_byte_is_sent_before_the_device_speaks() -> None:
    device = DevicePeer()
    device.core.receive_data(b"U-Boot 2026.01\r\nAT\r\n\xff\xfe\0garbage\0", device.now)
    device.wait(60)
    assert device.raw == b""


def test_new_link_hears_only_that_the_session_before_is_over() -> None:
    """SPEC 5.2: a quiet device would otherwise notice after three keepalives."""
    device = listed_device()
    device.gateway.core.link_down(device.now)
    device.raw = b""
    device.gateway.core.link_up(device.now)
    device.wait(60)
    assert device.raw == b"\0" + encode_frame(RST, 0, device.sid, 0, 0, bytes([RstCode.UNKNOWN_SESSION]))


# -- pending sessions


def test_hello_alone_changes_nothing() -> None:
    device = DevicePeer()
    device.welcome(hello())
    assert joined(device) == []
    assert device.gateway.checkpoint is None


def test_later_hellos_of_a_row_get_the_same_offer_with_their_own_echo() -> None:
    device = DevicePeer()
    first = device.welcome(hello(uptime_ms=400))
    second = device.welcome(hello(uptime_ms=650))
    assert (first.sid, first.boot_id) == (second.sid, second.boot_id)
    assert (first.echo_ms, second.echo_ms) == (400, 650)


def test_current_session_lives_until_ready_of_the_pending_one() -> None:
    device = listed_device()
    old_sid = device.sid
    offered = device.welcome(hello(boot_id=device.boot_id, uptime_ms=9000))
    assert offered.sid != old_sid
    device.log(0, LINE)
    assert device.gateway.lines() == [b"twelve bytes"]
    device.ready(offered, end=len(LINE))
    assert len(joined(device)) == 2
    device.log(len(LINE), LINE)
    assert len(device.gateway.lines()) == 1
    assert (old_sid, RstCode.UNKNOWN_SESSION) in device.take_resets()


def test_copy_of_the_hello_just_joined_is_ignored() -> None:
    device = DevicePeer()
    device.join(hello(uptime_ms=400))
    device.take()
    device.say_dgram(0, hello(uptime_ms=400))
    assert [m for m in device.take_dgrams() if isinstance(m, Welcome)] == []


def test_frame_of_the_pending_session_brings_the_welcome_again() -> None:
    """READY was lost."""
    device = DevicePeer()
    offered = device.welcome(hello())
    device.sid = offered.sid
    device.wait(0.5)
    device.log(0, LINE)
    assert [m for m in device.take_dgrams() if isinstance(m, Welcome)] == [offered]
    assert device.gateway.lines() == []
    device.ready(offered, end=len(LINE))
    device.log(0, LINE)
    assert device.gateway.lines() == [b"twelve bytes"]


def test_session_ids_go_round_and_skip_zero() -> None:
    device = DevicePeer()
    sids = [device.join(hello(uptime_ms=400 + i)).sid for i in range(300)]
    assert all((b - a) % 255 == 1 for a, b in itertools.pairwise(sids))
    assert set(sids) == set(range(1, 256))


def test_restarted_gateway_does_not_offer_the_id_that_its_dead_self_may_have_offered() -> None:
    """The checkpoint is older than the last offer: counting on from it would meet a session that a device is in."""
    checkpoint = Checkpoint(boot_id=5, epoch=5, sid=55)
    offers = {DevicePeer(Gateway(checkpoint, seed=seed)).welcome(hello()).sid for seed in range(20)}
    assert len(offers) > 10


# -- granted boot ids


def test_boot_id_is_granted_and_kept() -> None:
    device = DevicePeer()
    welcome = device.join()
    assert welcome.boot_id != 0
    again = device.join(hello(boot_id=welcome.boot_id, uptime_ms=5000))
    assert again.boot_id == welcome.boot_id
    assert [event.new_boot for event in joined(device)] == [True, False]


def test_boot_id_zero_is_a_new_boot_in_a_new_epoch() -> None:
    device = DevicePeer()
    first = device.join()
    second = device.join(hello(uptime_ms=300))
    assert second.boot_id not in (0, first.boot_id)
    assert second.stored is None
    assert [event.new_boot for event in joined(device)] == [True, True]
    assert [event.epoch for event in joined(device)] == [first.boot_id, second.boot_id]


def test_firmware_that_keeps_its_boot_id_over_a_reset_is_found_by_its_uptime() -> None:
    device = DevicePeer()
    first = device.join(hello(uptime_ms=50_000))
    second = device.join(hello(boot_id=first.boot_id, uptime_ms=400))
    assert second.boot_id not in (0, first.boot_id)
    assert joined(device)[1].new_boot


def test_uptime_that_wraps_is_no_new_boot() -> None:
    device = DevicePeer()
    first = device.join(hello(uptime_ms=0xFFFFFFF0), late_ms=5)
    second = device.join(hello(boot_id=first.boot_id, uptime_ms=20))
    assert second.boot_id == first.boot_id
    assert not joined(device)[1].new_boot


def test_unknown_boot_id_is_kept_and_counts_as_a_new_boot() -> None:
    """The device was served by another gateway."""
    device = DevicePeer()
    welcome = device.join(hello(boot_id=0xABCD), base=100, end=300)
    assert welcome.boot_id == 0xABCD
    assert welcome.stored is None
    assert joined(device)[0].new_boot


def test_warm_reset_is_a_new_boot_in_the_same_epoch() -> None:
    device = DevicePeer()
    first = device.join()
    device.log(0, LINE)
    second = device.join(hello(log_epoch=first.boot_id, uptime_ms=300, reset_cause=4), end=500, boot_off=400)
    assert second.boot_id != first.boot_id
    assert second.stored == len(LINE)
    event = joined(device)[1]
    assert (event.new_boot, event.epoch, event.reset_cause, event.boot_off) == (True, first.boot_id, 4, 400)


# -- FORGET


def test_ring_that_ends_before_what_is_stored_is_forgotten() -> None:
    device = DevicePeer()
    first = device.join(end=len(LINE))
    device.log(0, LINE)
    second = device.welcome(hello(boot_id=first.boot_id, uptime_ms=5000))
    device.take()
    device.ready(second, end=3)
    assert device.take_resets() == [(second.sid, RstCode.FORGET)]
    assert len(joined(device)) == 1


@pytest.mark.parametrize("other", [Ready(9000, 0, 100, 0), Ready(405, 0, 50, 0), Ready(405, 0, 100, 7)])
def test_second_boot_that_took_the_same_offer_is_forgotten(other: Ready) -> None:
    """A WELCOME was stuck behind flow control over a reset."""
    device = DevicePeer()
    welcome = device.join(hello(uptime_ms=400), end=100)
    device.take()
    device.say_dgram(welcome.sid, other)
    assert device.take_resets() == [(welcome.sid, RstCode.FORGET)]
    assert len(left(device)) == 1


def test_repeated_ready_is_no_second_boot() -> None:
    device = DevicePeer()
    welcome = device.join(hello(uptime_ms=400), end=100)
    device.ready(welcome, end=100)
    assert left(device) == []


def test_pong_with_uptime_going_back_is_forgotten() -> None:
    device = listed_device()
    device.wait(1.0)
    ping = next(m for m in device.take_dgrams() if isinstance(m, Ping))
    device.say_dgram(device.sid, Pong(ping.nonce, 3))
    assert device.take_resets() == [(device.sid, RstCode.FORGET)]


def test_stale_pong_says_nothing() -> None:
    device = listed_device()
    device.wait(1.0)
    first = next(m for m in device.take_dgrams() if isinstance(m, Ping))
    device.say_dgram(device.sid, Pong(first.nonce, 5000))
    device.wait(1.0)
    device.say_dgram(device.sid, Pong(first.nonce, 4000))
    assert device.take_resets() == []
    assert left(device) == []


# -- RST


def test_frame_of_an_unknown_session_is_reset_but_not_often() -> None:
    """So a gateway that was killed is back after one round trip."""
    device = DevicePeer()
    device.sid = 77
    for _ in range(50):
        device.log(0, LINE)
    assert device.take_resets() == [(77, RstCode.UNKNOWN_SESSION)]
    device.wait(0.1)
    device.log(0, LINE)
    assert device.take_resets() == [(77, RstCode.UNKNOWN_SESSION)]


def test_reset_is_never_answered_with_a_reset() -> None:
    device = DevicePeer()
    device.say(RST, 77, payload=b"\1")
    assert device.take() == []


def test_reset_of_another_session_is_ignored() -> None:
    device = listed_device()
    device.say(RST, device.sid % 255 + 1, payload=b"\1")
    assert left(device) == []
    device.say(RST, device.sid, payload=b"\1")
    assert len(left(device)) == 1


# -- epochs and the log


def test_unknown_epoch_is_taken_from_base_and_the_rest_is_a_gap() -> None:
    device = DevicePeer()
    device.join(base=500, end=900)
    device.log(500, LINE)
    assert device.gateway.gaps() == [Gap(0, 500, None, GapReason.UNKNOWN)]
    assert device.gateway.lines() == [b"twelve bytes"]


def test_epoch_that_ended_unread_leaves_a_gap_of_unknown_size() -> None:
    device = DevicePeer()
    first = device.join()
    device.log(0, LINE + LINE[:5])
    second = device.join(hello(uptime_ms=200))
    assert (first.boot_id, Gap(len(LINE), None, None, GapReason.UNKNOWN)) in device.gateway.items
    assert device.gateway.checkpoint is not None
    assert device.gateway.checkpoint.epoch == second.boot_id


def test_known_epoch_goes_on_where_it_was_stored() -> None:
    device = DevicePeer()
    first = device.join()
    device.log(0, LINE + LINE[:5])
    again = device.join(hello(boot_id=first.boot_id, uptime_ms=7000), end=3 * len(LINE))
    assert again.stored == len(LINE) + 5
    device.log(len(LINE) + 5, LINE[5:])
    assert len(device.gateway.lines()) == 2
    assert device.gateway.gaps() == []


def test_restarted_gateway_asks_for_what_follows_its_half_record() -> None:
    device = DevicePeer()
    first = device.join()
    device.log(0, LINE + LINE[:5])
    restarted = DevicePeer(Gateway(device.gateway.checkpoint, seed=9))
    again = restarted.join(hello(boot_id=first.boot_id, uptime_ms=7000), end=3 * len(LINE))
    assert again.stored == len(LINE) + 5
    restarted.log(len(LINE) + 5, LINE[5:])
    assert restarted.gateway.lines() == [b"twelve bytes"]


def test_skip_is_a_gap_from_the_start_of_the_half_record() -> None:
    device = DevicePeer()
    device.join()
    device.log(0, LINE + LINE[:5])
    device.skip(1000, 40)
    device.log(1000, LINE)
    assert device.gateway.gaps() == [Gap(len(LINE), 1000, 40, GapReason.OVERWRITTEN)]
    assert len(device.gateway.lines()) == 2


def test_lost_acknowledgement_of_a_skip_makes_no_second_gap() -> None:
    device = DevicePeer()
    device.join()
    device.skip(1000, 40)
    device.take()
    device.skip(1000, 40)
    assert len(device.gateway.gaps()) == 1
    assert [frame[4] for frame in device.take_of(ACK, CH_LOG)] == [1000]


def test_jump_beyond_what_offsets_can_say_is_taken_from_ready() -> None:
    device = DevicePeer()
    first = device.join()
    device.log(0, LINE)
    far = 5 << 32
    device.join(hello(boot_id=first.boot_id, uptime_ms=7000), base=far, end=far + 100)
    device.log(far, LINE)
    assert device.gateway.gaps() == [Gap(len(LINE), far, None, GapReason.OVERWRITTEN)]
    assert device.gateway.checkpoint is not None
    assert device.gateway.checkpoint.expected == far + len(LINE)


def test_nothing_is_acknowledged_while_a_far_jump_is_not_stored() -> None:
    """The low half of stored would be read as an offset of today."""
    device = DevicePeer()
    first = device.join()
    device.gateway.auto_store = False
    device.take()
    far = (1 << 32) - 30
    device.join(hello(boot_id=first.boot_id, uptime_ms=7000), base=far, end=far + 100)
    device.log(far, LINE)
    assert device.take_of(ACK, CH_LOG) == []
    device.gateway.store(device.now)
    assert [frame[4] for frame in device.take_of(ACK, CH_LOG)] == [far]
    device.log(far, LINE)
    device.gateway.store(device.now)
    assert device.gateway.lines() == [b"twelve bytes"]


def test_acknowledges_only_what_is_stored() -> None:
    gateway = Gateway(auto_store=False)
    device = DevicePeer(gateway)
    device.join()
    device.take()
    for i in range(20):
        device.log(i * len(LINE), LINE)
    device.wait(0.1)
    assert device.take_of(ACK, CH_LOG) == []
    gateway.store(device.now)
    assert [frame[4] for frame in device.take_of(ACK, CH_LOG)] == [20 * len(LINE)]


def test_takes_no_more_than_the_credit_past_what_is_stored() -> None:
    gateway = Gateway(auto_store=False)
    device = DevicePeer(gateway)
    welcome = device.join(hello(mtu=1024, tx_ring=65535))
    record = encode_record(0, 0, RecordKind.STDOUT, b"x" * 189)
    sent = 0
    while sent < 2 * welcome.credit:
        device.log(sent, record)
        sent += len(record)
    taken = sum(len(record.data) for output in gateway.unstored for record in records_in(output.items))
    assert taken <= welcome.credit
    last = gateway.unstored[-1].checkpoint
    assert last.stored == welcome.credit


def test_small_growth_is_acknowledged_within_five_milliseconds_and_much_at_once() -> None:
    device = DevicePeer()
    device.join(hello(tx_ring=4096))
    device.take()
    device.log(0, LINE)
    assert device.take_of(ACK, CH_LOG) == []
    device.wait(0.005)
    assert [frame[4] for frame in device.take_of(ACK, CH_LOG)] == [len(LINE)]
    device.log(len(LINE), LINE * 10)
    assert [frame[4] for frame in device.take_of(ACK, CH_LOG)] == [len(LINE) * 11]


def test_small_ring_is_acknowledged_at_a_quarter() -> None:
    device = DevicePeer()
    device.join(hello(tx_ring=64))
    device.take()
    device.log(0, LINE)
    assert [frame[4] for frame in device.take_of(ACK, CH_LOG)] == [len(LINE)]


def test_rejects_once_and_only_after_everything_before_is_stored() -> None:
    gateway = Gateway(auto_store=False)
    device = DevicePeer(gateway)
    device.join()
    device.log(0, LINE)
    device.take()
    device.log(500, LINE)
    device.log(600, LINE)
    assert device.take_of(ACK, CH_LOG) == []
    gateway.store(device.now)
    rejects = device.take_of(ACK, CH_LOG)
    assert [(frame[1], frame[4]) for frame in rejects] == [(1, len(LINE))]
    device.log(700, LINE)
    assert device.take_of(ACK, CH_LOG) == []


@pytest.mark.parametrize("border", [1 << 31, 1 << 32])
def test_log_goes_on_over_a_wrap(border: int) -> None:
    device = DevicePeer()
    begin = border - 3 * len(LINE) - 4
    device.join(base=begin, end=begin)
    for i in range(8):
        device.log(begin + i * len(LINE), LINE)
    assert len(device.gateway.lines()) == 8
    assert device.gateway.checkpoint is not None
    assert device.gateway.checkpoint.expected == begin + 8 * len(LINE)
    assert len(device.gateway.gaps()) == 1


def test_offsets_half_a_ring_away_are_no_data() -> None:
    device = DevicePeer()
    device.join()
    for off in (HALF, HALF - 1, HALF + 1, 0xFFFFFFFF):
        device.log(off, LINE)
    assert device.gateway.lines() == []


def test_lossy_sender_is_never_asked_to_send_again() -> None:
    device = DevicePeer()
    device.join(hello(caps=0))
    device.take()
    device.log(0, LINE)
    device.log(5 * len(LINE), LINE)
    assert all(frame[1] == 0 for frame in device.take_of(ACK, CH_LOG))
    assert device.gateway.gaps() == [Gap(len(LINE), 5 * len(LINE), None, GapReason.LOSSY_SENDER)]
    assert len(device.gateway.lines()) == 2


def test_lost_tail_of_a_lossy_sender_is_told_by_pong() -> None:
    device = DevicePeer()
    device.join(hello(caps=0))
    device.log(0, LINE)
    device.wait(1.0)
    ping = next(m for m in device.take_dgrams() if isinstance(m, Ping))
    device.say_dgram(device.sid, Pong(ping.nonce, 5000, next=7 * len(LINE)))
    assert device.gateway.gaps() == [Gap(len(LINE), 7 * len(LINE), None, GapReason.LOSSY_SENDER)]


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

"""The device's end of a session, against a gateway that is played by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from transports.tests.wire_peer import T0, GatewayPeer
from transports.tests.wire_rig import CONFIG, Firmware
from transports.wire.datagrams import Ping, Pong, Ready, Solicit
from transports.wire.framing import ACK, DATA, DGRAM, RST, SKIP
from transports.wire.messages import ListRequest, Request, Start, Stop, decode_control, encode_control
from transports.wire.numbers import CH_CTRL, CH_LOG, Code, Method, RstCode
from transports.wire.send_stream import Overflow

SID = 7
SMALL = replace(CONFIG, mtu=64, max_msg=192)


def request(gateway: GatewayPeer, rid: int, method: int, body: dict[int, object], off: int) -> int:
    """Sends a request; returns the offset after it."""
    data = encode_control(Request(rid, method, body))
    for at in range(0, len(data), 64):
        piece = data[at : at + 64]
        gateway.say(DATA, SID, CH_CTRL, off + at, piece, flag=int(at + 64 >= len(data)))
    return off + len(data)


def lines(firmware: Firmware, count: int, now: float = T0) -> None:
    for i in range(count):
        firmware.log(b"line %04d of the story" % i, now)


# -- HELLO


def test_says_hello_at_once_and_then_ever_less_often() -> None:
    gateway = GatewayPeer()
    gateway.listen()
    gateway.wait(4.0)
    assert [h.uptime_ms - 400 for h in gateway.hellos()] == [0, 250, 750, 1750, 2750, 3750]


def test_any_good_frame_brings_a_hello_at_once_but_not_often() -> None:
    gateway = GatewayPeer()
    gateway.hellos()
    gateway.wait(0.15)
    for _ in range(10):
        gateway.say_dgram(0, Solicit())
    assert len(gateway.hellos()) == 1
    gateway.wait(0.11)
    gateway.say(RST, 99, payload=b"\1")
    assert len(gateway.hellos()) == 1


def test_each_hello_has_an_uptime_of_its_own() -> None:
    gateway = GatewayPeer()
    gateway.listen()
    for _ in range(500):
        gateway.wait(0.003)
        gateway.say_dgram(0, Solicit())
    uptimes = [h.uptime_ms for h in gateway.hellos()]
    assert len(uptimes) == len(set(uptimes)) > 10


def test_hello_says_what_the_device_is() -> None:
    gateway = GatewayPeer(replace(CONFIG, ring_bytes=100_000))
    hello = gateway.hellos()[0]
    assert (hello.boot_id, hello.log_epoch, hello.tx_ring, hello.reset_cause) == (0, None, 65535, 1)
    assert (hello.mtu, hello.max_msg, hello.device_id) == (CONFIG.mtu, CONFIG.max_msg, CONFIG.device_id)


# -- WELCOME


def test_takes_a_welcome_that_echoes_one_of_its_hellos() -> None:
    gateway = GatewayPeer()
    ready = gateway.join()
    assert (ready.base, ready.next, ready.boot_off) == (0, 0, 0)
    assert (gateway.firmware.session.boot_id, gateway.firmware.session.epoch) == (0x5EED, 0x5EED)
    assert gateway.firmware.joined == 1


@pytest.mark.parametrize("echo_ms", [0, 399, 2000, 0xFFFFFFFF])
def test_stale_and_future_welcomes_are_not_taken(echo_ms: int) -> None:
    gateway = GatewayPeer()
    gateway.hellos()
    gateway.wait(0.5)
    gateway.say_dgram(0, gateway.welcome(echo_ms))
    assert not gateway.firmware.session.in_session


def test_welcome_from_before_the_last_session_is_stale() -> None:
    gateway = GatewayPeer()
    gateway.join()
    gateway.wait(0.5)
    gateway.say(RST, SID, payload=b"\1")
    gateway.hellos()
    gateway.say_dgram(0, gateway.welcome(400, sid=9))
    assert not gateway.firmware.session.in_session


def test_crossing_hellos_and_welcomes_make_one_session() -> None:
    gateway = GatewayPeer()
    gateway.listen()
    gateway.wait(0.8)
    first, second, third = gateway.hellos()
    for hello in (first, second, third):
        gateway.say_dgram(0, gateway.welcome(hello.uptime_ms))
    readies = gateway.take_dgrams()
    assert len(set(readies)) == 1
    assert isinstance(readies[0], Ready)
    assert gateway.firmware.joined == 1


def test_welcome_of_another_session_is_ignored_in_session() -> None:
    gateway = GatewayPeer()
    gateway.join()
    gateway.say_dgram(0, gateway.welcome(400, sid=8, boot_id=99))
    assert gateway.take() == []
    gateway.say_dgram(SID, Ping(5))
    assert [type(m) for m in gateway.take_dgrams()] == [Pong]


def test_welcome_of_its_session_brings_the_same_ready_again() -> None:
    gateway = GatewayPeer()
    ready = gateway.join()
    lines(gateway.firmware, 3)
    gateway.wait(0.01)
    gateway.take()
    gateway.say_dgram(0, gateway.welcome(400))
    assert gateway.take_dgrams() == [ready]


def test_unknown_version_is_not_taken() -> None:
    gateway = GatewayPeer()
    gateway.hellos()
    gateway.say_dgram(0, gateway.welcome(400, version=2))
    assert not gateway.firmware.session.in_session


def test_ring_without_a_name_cannot_have_been_stored() -> None:
    """A WELCOME for an earlier boot at the same uptime, which had another ring."""
    gateway = GatewayPeer()
    gateway.hellos()
    gateway.say_dgram(0, gateway.welcome(400, stored=300))
    assert not gateway.firmware.session.in_session


@pytest.mark.parametrize("granted", [0xAAAA, 0xBBBB])
def test_id_of_a_boot_that_ended_is_not_taken(granted: int) -> None:
    """A WELCOME for the boot before, stuck in a stalled cable while the device reset: as that boot it would be believed to run still."""
    first = GatewayPeer()
    first.join(boot_id=0xAAAA)
    second = GatewayPeer(firmware=Firmware(CONFIG, T0, retained=first.firmware.session.retained(), uptime_ms=400))
    second.join(boot_id=0xBBBB)
    third = GatewayPeer(firmware=Firmware(CONFIG, T0, retained=second.firmware.session.retained(), uptime_ms=400))
    third.hellos()
    third.say_dgram(0, third.welcome(400, boot_id=granted, stored=0))
    assert third.firmware.joined == 0
    third.say_dgram(0, third.welcome(400, boot_id=0xCCCC, stored=0))
    assert third.firmware.joined == 1


def test_ready_goes_before_everything_else() -> None:
    gateway = GatewayPeer()
    lines(gateway.firmware, 20)
    echo = gateway.hellos()[-1].uptime_ms
    gateway.core.receive_data(b"", gateway.now)
    gateway.say_dgram(0, gateway.welcome(echo))
    frames = gateway.take()
    assert frames[0][:3] == (DGRAM, 0, SID)
    assert {frame[3] for frame in frames[1:]} == {CH_LOG}


def test_mtu_is_the_smaller_of_both() -> None:
    gateway = GatewayPeer(replace(CONFIG, mtu=243))
    lines(gateway.firmware, 20)
    gateway.hellos()
    gateway.say_dgram(0, gateway.welcome(400, mtu=100))
    assert max(len(frame[5]) for frame in gateway.take_of(DATA, CH_LOG)) == 100


# -- epochs


def test_warm_reset_keeps_the_ring_and_its_epoch() -> None:
    gateway = GatewayPeer()
    gateway.join(boot_id=0xAAAA)
    lines(gateway.firmware, 5)
    gateway.listen()
    warm = Firmware(CONFIG, gateway.now, retained=gateway.firmware.session.retained(), uptime_ms=30)
    again = GatewayPeer(firmware=warm)
    hello = again.hellos()[0]
    assert (hello.boot_id, hello.log_epoch, hello.reset_cause) == (0, 0xAAAA, 4)
    again.say_dgram(0, again.welcome(hello.uptime_ms, boot_id=0xBBBB, stored=40))
    ready = again.take_dgrams()[0]
    assert isinstance(ready, Ready)
    assert ready.boot_off == ready.next > 0
    assert warm.session.boot_id == 0xBBBB
    assert warm.session.epoch == 0xAAAA


def test_epoch_is_not_told_when_it_is_the_boot_id() -> None:
    gateway = GatewayPeer()
    gateway.join()
    gateway.wait(3.0)
    hello = gateway.hellos()[0]
    assert (hello.boot_id, hello.log_epoch) == (0x5EED, None)


def test_new_boot_id_for_a_ring_that_was_named_after_the_old_one_renames_it() -> None:
    """HELLO without key 10 means: the epoch is the boot_id of the WELCOME that answers."""
    gateway = GatewayPeer()
    gateway.join()
    gateway.wait(3.0)
    gateway.join(boot_id=0xCCCC)
    assert (gateway.firmware.session.boot_id, gateway.firmware.session.epoch) == (0xCCCC, 0xCCCC)


def test_forget_makes_the_device_nobody_with_a_ring() -> None:
    gateway = GatewayPeer()
    lines(gateway.firmware, 5)
    gateway.join()
    gateway.take()
    gateway.say(RST, SID, payload=bytes([RstCode.FORGET]))
    gateway.wait(0.2)
    hello = gateway.hellos()[0]
    assert (hello.boot_id, hello.log_epoch) == (0, None)
    gateway.say_dgram(0, gateway.welcome(hello.uptime_ms, boot_id=5))
    assert gateway.take_of(DATA, CH_LOG)[0][4] == 0


def test_another_reset_code_keeps_the_names() -> None:
    gateway = GatewayPeer()
    gateway.join()
    gateway.say(RST, SID, payload=bytes([RstCode.UNKNOWN_SESSION]))
    gateway.wait(0.2)
    assert gateway.hellos()[0].boot_id == 0x5EED
    assert gateway.firmware.lost == 0, "the gateway is there: nothing to be done about the loss of a link"


def test_reset_of_another_session_is_ignored() -> None:
    gateway = GatewayPeer()
    gateway.join()
    gateway.say(RST, SID + 1, payload=b"\1")
    assert gateway.firmware.session.in_session


# -- keepalive


def test_dead_man_leaves_after_three_keepalives_of_silence() -> None:
    gateway = GatewayPeer()
    gateway.join()
    gateway.wait(2.9)
    assert gateway.firmware.lost == 0
    gateway.wait(0.2)
    assert not gateway.firmware.session.in_session
    assert gateway.firmware.lost == 1
    assert len(gateway.hellos()) == 1


def test_good_frames_of_other_sessions_do_not_hold_the_dead_man() -> None:
    gateway = GatewayPeer()
    gateway.join()
    for _ in range(31):
        gateway.wait(0.1)
        gateway.say_dgram(SID + 1, Ping(1))
        gateway.say_dgram(0, gateway.welcome(400, sid=SID + 1))
    assert not gateway.firmware.session.in_session


def test_keepalive_zero_never_leaves() -> None:
    gateway = GatewayPeer()
    gateway.join(ka_ms=0)
    gateway.wait(10_000)
    assert gateway.firmware.session.in_session


def test_pong_answers_ping() -> None:
    gateway = GatewayPeer()
    gateway.join()
    gateway.firmware.session.log_dropped = 3
    gateway.wait(0.5)
    gateway.say_dgram(SID, Ping(0xABCD))
    pong = gateway.take_dgrams()[0]
    assert pong == Pong(0xABCD, 900, 0, 3, None)


# -- streams


def test_log_goes_on_at_what_is_stored() -> None:
    gateway = GatewayPeer()
    lines(gateway.firmware, 10)
    gateway.join(boot_id=0xAAAA)
    gateway.wait(3.0)
    gateway.say_dgram(0, gateway.welcome(gateway.hellos()[-1].uptime_ms, boot_id=0xAAAA, stored=100))
    assert gateway.take_of(DATA, CH_LOG)[0][4] == 100


def test_log_stops_at_the_credit_and_asks() -> None:
    gateway = GatewayPeer(SMALL)
    lines(gateway.firmware, 20)
    echo = gateway.hellos()[-1].uptime_ms
    gateway.say_dgram(0, gateway.welcome(echo, credit=100))
    assert sum(len(frame[5]) for frame in gateway.take_of(DATA, CH_LOG)) == 100
    gateway.say_ack(SID, CH_LOG, 100, 0)
    assert gateway.take_of(DATA, CH_LOG) == []
    gateway.wait(0.21)
    assert [(frame[4], frame[5]) for frame in gateway.take_of(DATA, CH_LOG)] == [(100, b"")]
    gateway.say_ack(SID, CH_LOG, 100, 50)
    assert [(frame[4], len(frame[5])) for frame in gateway.take_of(DATA, CH_LOG)] == [(100, 50)]


def test_lost_acknowledgement_is_made_up_by_the_time_out() -> None:
    gateway = GatewayPeer(SMALL)
    lines(gateway.firmware, 3)
    gateway.join()
    gateway.take()
    gateway.wait(0.21)
    assert gateway.take_of(DATA, CH_LOG)[0][4] == 0


def test_overwritten_ring_says_skip_until_it_is_acknowledged() -> None:
    config = replace(SMALL, ring_bytes=512, overflow=Overflow.OVERWRITE)
    gateway = GatewayPeer(config)
    lines(gateway.firmware, 5)
    gateway.join(credit=50)
    gateway.take()
    lines(gateway.firmware, 100)
    gateway.wait(0.001)
    (skip,) = gateway.take_of(SKIP, CH_LOG)
    gateway.wait(0.25)
    assert gateway.take_of(SKIP, CH_LOG) == [skip]
    gateway.say_ack(SID, CH_LOG, skip[4], 4000)
    assert gateway.take_of(DATA, CH_LOG)[0][4] == skip[4]


def test_full_ring_keeps_room_for_a_start_record() -> None:
    gateway = GatewayPeer(replace(CONFIG, ring_bytes=512))
    lines(gateway.firmware, 100)
    session = gateway.firmware.session
    assert not gateway.firmware.log(b"one more", T0)
    assert session.write_log(bytes(20), is_start=True)


def test_hostile_acknowledgements_change_nothing() -> None:
    gateway = GatewayPeer(SMALL)
    lines(gateway.firmware, 10)
    gateway.join(credit=100)
    gateway.take()
    for off in (101, 5000, 1 << 31, 0xFFFFFFFF, 0x80000000):
        gateway.say_ack(SID, CH_LOG, off, 60000)
        gateway.say_ack(SID, CH_LOG, off, 60000, rejects=True)
    assert gateway.take_of(DATA, CH_LOG) == []
    assert gateway.firmware.session.log.stray_acks == 10


# -- CTRL


def test_answers_in_order_with_one_answer_buffer() -> None:
    """The next request stays unacknowledged until the longest answer has room."""
    config = replace(SMALL, answer_bytes=300, max_answer_bytes=200)
    gateway = GatewayPeer(config)
    gateway.join(credit=0)
    gateway.take()
    off, ends = 0, []
    for rid in range(1, 4):
        off = request(gateway, rid, Method.START, Start(rid, 1, "p", tag=b"x" * 24).to_map(), off)
        ends.append(off)
    assert len(gateway.firmware.calls) == 3
    acks = [frame[4] for frame in gateway.take_of(ACK, CH_CTRL)]
    assert acks[-1] == ends[-1]


def test_request_waits_while_the_answer_buffer_is_full() -> None:
    config = replace(SMALL, answer_bytes=230, max_answer_bytes=200)
    gateway = GatewayPeer(config)
    gateway.join(credit=0)
    gateway.take()
    off = first = request(gateway, 1, Method.START, Start(1, 1, "p", tag=b"x" * 24).to_map(), 0)
    off = request(gateway, 2, Method.START, Start(2, 1, "p", tag=b"x" * 24).to_map(), off)
    assert len(gateway.firmware.calls) == 1
    assert max(frame[4] for frame in gateway.take_of(ACK, CH_CTRL)) == first
    gateway.say_ack(SID, CH_CTRL, 0, 4000)
    answers = gateway.take_of(DATA, CH_CTRL)
    gateway.say_ack(SID, CH_CTRL, sum(len(frame[5]) for frame in answers), 4000)
    assert len(gateway.firmware.calls) == 2
    assert max(frame[4] for frame in gateway.take_of(ACK, CH_CTRL)) == off


def test_wrong_body_is_invalid_and_unknown_method_unsupported() -> None:
    gateway = GatewayPeer()
    gateway.join()
    gateway.take()
    off = request(gateway, 1, Method.STOP, {1: "no number"}, 0)
    request(gateway, 2, 0x77, {}, off)
    answers = [decode_control(frame[5]) for frame in gateway.take_of(DATA, CH_CTRL)]
    assert [answer.code for answer in answers] == [Code.INVALID, Code.UNSUPPORTED]  # type: ignore[union-attr]  # both are answers


def test_request_longer_than_the_buffer_is_a_protocol_error() -> None:
    gateway = GatewayPeer(SMALL)
    gateway.join()
    gateway.take()
    for off in range(0, 256, 64):
        gateway.say(DATA, SID, CH_CTRL, off, bytes(64))
        gateway.listen()
    assert gateway.take_resets() == [(SID, RstCode.PROTOCOL_ERROR)]
    assert not gateway.firmware.session.in_session


def test_only_the_newest_state_of_a_slot_is_told() -> None:
    gateway = GatewayPeer()
    gateway.join()
    gateway.take()
    session = gateway.firmware.session
    session.notify(0, Method.STARTED, {1: 1})
    session.notify(0, Method.EXITED, {1: 1})
    session.notify(1, Method.STARTED, {1: 2})
    told = [decode_control(frame[5]) for frame in gateway.take_of(DATA, CH_CTRL)]
    assert [message.method for message in told] == [Method.EXITED, Method.STARTED]  # type: ignore[union-attr]  # both are notifications


def test_notifications_of_a_session_die_with_it() -> None:
    gateway = GatewayPeer()
    gateway.join(credit=0)
    session = gateway.firmware.session
    session.notify(0, Method.EXITED, {1: 1})
    gateway.say(RST, SID, payload=b"\1")
    session.notify(0, Method.EXITED, {1: 1})
    gateway.wait(0.2)
    gateway.join()
    assert gateway.take_of(DATA, CH_CTRL) == []


def test_control_goes_before_log() -> None:
    gateway = GatewayPeer(SMALL)
    gateway.join()
    gateway.take()
    lines(gateway.firmware, 30)
    gateway.core.receive_data(b"", gateway.now)
    first = gateway.core.data_to_send(gateway.now)
    assert first
    request(gateway, 1, Method.LIST, ListRequest().to_map(), 0)
    channels = [frame[3] for frame in gateway.take()]
    assert channels[0] == CH_CTRL


def test_answer_that_nobody_acknowledges_ends_the_session() -> None:
    gateway = GatewayPeer()
    gateway.join()
    request(gateway, 1, Method.STOP, Stop(1, 1, 0).to_map(), 0)
    for _ in range(60):
        gateway.wait(0.1)
        gateway.say_dgram(SID, Ping(1))
    assert not gateway.firmware.session.in_session
    assert gateway.firmware.lost == 0


# -- AWAY


def test_goes_when_its_away_is_acknowledged() -> None:
    gateway = GatewayPeer()
    gateway.join()
    gateway.take()
    gateway.firmware.session.go_away(1, 5000, gateway.now)
    (frame,) = gateway.take_of(DATA, CH_CTRL)
    assert gateway.firmware.was_gone == 0
    gateway.say_ack(SID, CH_CTRL, len(frame[5]))
    assert gateway.firmware.was_gone == 1
    assert gateway.firmware.session.gone


def test_goes_without_the_acknowledgement_after_a_while() -> None:
    gateway = GatewayPeer()
    gateway.join()
    gateway.firmware.session.go_away(1, 5000, gateway.now)
    gateway.wait(0.19)
    assert gateway.firmware.was_gone == 0
    gateway.wait(0.02)
    assert gateway.firmware.was_gone == 1


def test_says_nothing_else_while_it_waits_to_go() -> None:
    gateway = GatewayPeer()
    gateway.join()
    gateway.take()
    gateway.firmware.session.go_away(1, 5000, gateway.now)
    lines(gateway.firmware, 10)
    gateway.wait(0.15)
    assert {frame[3] for frame in gateway.take()} == {CH_CTRL}


def test_comes_back_with_a_pong_in_the_same_session() -> None:
    gateway = GatewayPeer()
    gateway.join()
    gateway.firmware.session.go_away(1, 5000, gateway.now)
    gateway.wait(60)
    gateway.take()
    gateway.firmware.session.back(gateway.now)
    pongs = [m for m in gateway.take_dgrams() if isinstance(m, Pong)]
    assert [pong.nonce for pong in pongs] == [0]
    gateway.wait(2.9)
    assert gateway.firmware.session.in_session


def test_away_out_of_session_goes_at_once() -> None:
    gateway = GatewayPeer()
    gateway.hellos()
    gateway.firmware.session.go_away(1, 5000, gateway.now)
    assert gateway.firmware.was_gone == 1
    gateway.wait(10)
    assert gateway.hellos() == []
    gateway.firmware.session.back(gateway.now)
    assert len(gateway.hellos()) == 1


# -- text


def test_text_beside_frames_is_the_application_s() -> None:
    gateway = GatewayPeer()
    assert gateway.core.receive_data(b"help\r\n", gateway.now) == b"help\r\n"


def test_text_does_not_spoil_the_frame_after_it() -> None:
    gateway = GatewayPeer()
    gateway.join()
    gateway.take()
    gateway.firmware.session.write_text(b"panic: no more stack\n")
    gateway.say_dgram(SID, Ping(9))
    assert isinstance(gateway.take_dgrams()[0], Pong)
    assert b"panic: no more stack\n" in gateway.raw


def test_lossy_device_tells_its_end_in_pong() -> None:
    gateway = GatewayPeer(replace(CONFIG, caps=0))
    gateway.join()
    lines(gateway.firmware, 3)
    gateway.listen()
    end = gateway.firmware.session.log.next
    gateway.say_dgram(SID, Ping(9))
    pong = next(m for m in gateway.take_dgrams() if isinstance(m, Pong))
    assert pong.next == end
    assert gateway.firmware.session.log.room_bytes() == CONFIG.ring_bytes

"""The gateway's end of a session, against a device that is played by hand: how sessions begin, and which device it is."""

from __future__ import annotations

import itertools

import pytest

from transports.protocol import Checkpoint, Problem
from transports.tests.session_rig import LINE, joined, left, listed_device
from transports.tests.wire_peer import DevicePeer, hello
from transports.tests.wire_rig import Gateway
from transports.wire.datagrams import Ping, Pong, Ready, Welcome
from transports.wire.framing import RST, encode_frame
from transports.wire.numbers import RstCode

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
    (told,) = (event for event in device.gateway.events if isinstance(event, Problem))
    assert told.message == f"it must forget its boot and its log: its log ends at 3, and {len(LINE)} bytes of it came"


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

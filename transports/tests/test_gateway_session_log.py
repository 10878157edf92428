"""The gateway's end of the log, against a device that is played by hand: what is taken, stored, acknowledged and named as a gap."""

from __future__ import annotations

import pytest

from transports.protocol import Gap, GapReason, RecordKind
from transports.tests.session_rig import LINE
from transports.tests.taken_apart import records_in
from transports.tests.wire_peer import DevicePeer, hello
from transports.tests.wire_rig import Gateway
from transports.wire.datagrams import Ping, Pong
from transports.wire.framing import ACK
from transports.wire.numbers import CH_LOG
from transports.wire.offsets import HALF
from transports.wire.records import encode_record


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

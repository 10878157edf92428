"""What a person sends into a run: the size of a terminal, what is typed, and what is refused before a byte is sent."""

from __future__ import annotations

import pytest

from transports.errors import DeviceError, LocalProtocolError
from transports.link import TerminalSize
from transports.protocol import Answered, RequestLost
from transports.tests.talk_rig import RUN, TALKING, TalkRig, read
from transports.tests.wire_rig import CONFIG
from transports.wire.framing import DATA
from transports.wire.messages import Request, decode_control
from transports.wire.numbers import CH_CTRL, Code, Method

# -- a terminal


def test_of_many_sizes_the_newest_arrives() -> None:
    rig = TalkRig()
    command, talk = rig.command(terminal=TerminalSize(80, 24))
    assert (talk.is_tty, talk.size) == (True, (80, 24))
    for columns in range(81, 131):
        command.resize(TerminalSize(columns, 30))
    rig.until(lambda: talk.size == (130, 30))
    assert len([method for method, _ in rig.firmware.calls if method == Method.WINCH]) == 0  # the session's own business
    winches = [message for message in heard_requests(rig) if message.method == Method.WINCH]
    assert [message.body[7] for message in winches] == [81, 130]


def test_without_a_terminal_there_is_no_size() -> None:
    rig = TalkRig()
    command, talk = rig.command()
    command.resize(TerminalSize(1, 2))
    rig.run(0.2)
    assert talk.size is None
    assert all(message.method != Method.WINCH for message in heard_requests(rig))


def heard_requests(rig: TalkRig) -> list[Request]:
    found = (decode_control(frame[5]) for frame in rig.frames_to_device(DATA, CH_CTRL) if frame[1] and frame[5])
    return [message for message in found if isinstance(message, Request)]


# -- what is typed


def test_typed_bytes_are_answered_when_the_device_has_them() -> None:
    rig = TalkRig()
    first, second = rig.type(b"a" * 400), rig.type(b"b", is_end=True)
    rig.run(1)
    assert rig.outcome(first) is None  # its buffer holds 256
    (talk,) = rig.firmware.talks
    heard = bytearray()
    rig.until(lambda: read(talk, heard))
    assert bytes(heard) == b"a" * 400 + b"b"
    assert rig.end_of(first) == Answered(first, Code.OK)
    assert rig.end_of(second) == Answered(second, Code.OK)


def test_typists_come_and_go_and_the_input_stays_open() -> None:
    rig = TalkRig()
    rig.end_of(rig.type(b"one"))
    rig.gateway.core.typist_left(*RUN)
    rig.run(0.1)
    first = rig.firmware.talks[0]
    assert first.is_over
    assert not first.has_input_ended
    assert first.read(9) == b"one"  # what was acknowledged is the program's
    rig.end_of(rig.type(b"two"))
    assert len(rig.firmware.talks) == 2
    assert rig.firmware.talks[1].read(9) == b"two"


def test_what_a_program_reads_no_more_is_dropped() -> None:
    rig = TalkRig()
    rig.end_of(rig.type(b"x"))
    rig.firmware.talks[0].give_up()
    waiting = rig.type(b"y" * 1000)
    assert rig.end_of(waiting) == Answered(waiting, Code.OK)
    later = rig.type(b"z")
    assert rig.end_of(later) == Answered(later, Code.OK)
    assert len(rig.firmware.talks) == 1


def test_a_refused_typist_hears_why_and_may_try_again() -> None:
    rig = TalkRig()
    for _ in range(2):
        refused = rig.type(b"x", run=(7, 99))
        assert rig.end_of(refused) == Answered(refused, Code.BAD_STATE, None, "its input has ended")


def test_typed_bytes_that_no_device_has_acknowledged_are_told_lost() -> None:
    rig = TalkRig()
    rig.end_of(rig.type(b"arrived"))
    waiting = rig.type(b"q" * 1000)
    rig.run(0.5)
    rig.cut()
    assert rig.end_of(waiting) == RequestLost(waiting)
    (talk,) = rig.firmware.talks
    assert talk.read(4096) == b"arrived" + b"q" * (TALKING.talk_bytes - 7)
    rig.plug()
    rig.join()
    rig.run(1)
    assert len(rig.firmware.talks) == 1


# -- what is refused before a byte is sent


def test_a_device_without_the_capabilities_is_asked_for_nothing() -> None:
    rig = TalkRig(CONFIG)
    with pytest.raises(DeviceError, match="capability exec"):
        rig.ask()
    with pytest.raises(DeviceError, match="capability stdin"):
        rig.type(b"x")
    rig.run(0.1)
    assert {method for method, _ in rig.firmware.calls} == {Method.LIST, Method.INVENTORY}


def test_a_command_that_cannot_fit_is_refused_with_both_sizes() -> None:
    rig = TalkRig()
    with pytest.raises(LocalProtocolError, match=r"EXEC of \d+ bytes exceeds the device's 1024"):
        rig.ask("x" * 1024)
    with pytest.raises(LocalProtocolError, match="65 words exceeds the 64"):
        rig.ask(*["w"] * 65)

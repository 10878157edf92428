"""How conversations end, and what is free afterwards: by the device, by whoever leaves, and with the session. On the bench of talk_rig."""

from __future__ import annotations

import pytest

from transports.errors import DeviceError, SessionLost
from transports.protocols.conversations import MAX_TALKS
from transports.tests.talk_rig import Reader, TalkRig
from transports.wire.numbers import FIRST_CHANNEL, LAST_CHANNEL, Code, Method

# -- how it ends


def test_who_leaves_ends_the_command_and_its_numbers_are_free() -> None:
    rig = TalkRig()
    command, talk = rig.command()
    talk.write(b"nobody reads this")
    command.leave()
    command.leave()
    rig.until(lambda: talk.is_over)
    rig.run(0.1)
    assert not rig.gateway.core.talk_channels()
    assert rig.ask().has_begun is False
    rig.run(0.1)
    assert rig.firmware.talks[-1].number == talk.number + 2  # free, and not taken again soon


def test_who_leaves_before_the_answer_ends_the_command_too() -> None:
    rig = TalkRig()
    command = rig.ask()
    command.leave()
    rig.until(lambda: bool(rig.firmware.talks) and rig.firmware.talks[0].is_over)
    rig.run(0.1)
    assert not rig.gateway.core.talk_channels()


def test_an_end_that_crosses_the_leaving_frees_the_numbers_once() -> None:
    rig = TalkRig()
    command, talk = rig.command()
    talk.end(0)
    rig.firmware.session.data_to_send(rig.now)  # on its way; then it is lost, and said again later
    command.leave()
    rig.until(lambda: talk.is_over)
    rig.run(2)
    for _ in range(MAX_TALKS):
        rig.command()


def test_a_device_that_gives_up_says_why() -> None:
    rig = TalkRig()
    command, talk = rig.command()
    person = Reader(command)
    talk.write(b"so far")
    rig.until(lambda: person.look() or person.out)
    talk.give_up(Code.NO_SPACE, "the heap is full")
    with pytest.raises(DeviceError, match="the heap is full"):
        rig.until(lambda: person.look() is not None)
    assert not rig.gateway.core.talk_channels()


def test_a_refused_command_is_no_conversation() -> None:
    rig = TalkRig()
    command = rig.ask("absent")
    with pytest.raises(DeviceError, match="no command 'absent'"):
        rig.until(lambda: command.has_begun)
    for _ in range(MAX_TALKS):
        rig.command()


def test_no_more_conversations_than_the_table_holds() -> None:
    rig = TalkRig()
    commands = [rig.command()[0] for _ in range(MAX_TALKS)]
    with pytest.raises(DeviceError, match=f"{MAX_TALKS} conversations"):
        rig.ask()
    with pytest.raises(DeviceError, match=f"{MAX_TALKS} conversations"):
        rig.type(b"x")
    commands[0].leave()
    rig.run(0.1)
    rig.command()


def test_numbers_come_in_turn() -> None:
    rig = TalkRig()
    for _ in range(150):
        command, talk = rig.command()
        talk.end(0)
        person = Reader(command)
        rig.until(lambda: person.look() is not None)  # noqa: B023 - until is over before the next one
    numbers = [body[4] for method, body in rig.firmware.calls if method == Method.EXEC]
    assert numbers[:112] == list(range(FIRST_CHANNEL, LAST_CHANNEL, 2))
    assert numbers[112:] == numbers[: 150 - 112]


# -- the session


@pytest.mark.parametrize("accident", ["cable", "reset", "kill"])
def test_a_session_that_ends_ends_its_conversations_at_both_ends(accident: str) -> None:
    rig = TalkRig()
    command, talk = rig.command()
    command.write(b"what arrives arrives once")
    talk.write(b"before")
    person = Reader(command)
    rig.until(lambda: person.look() or person.out)
    match accident:
        case "cable":
            rig.cut()
            rig.run(4)
            rig.plug()
        case "reset":
            rig.reset()
        case "kill":
            rig.kill_gateway()
    rig.join()
    if accident != "reset":
        assert talk.is_over
    if accident != "kill":
        with pytest.raises(SessionLost, match="ended in the middle of the command"):
            person.look()
        assert person.out == b"before"
    fresh, heard = rig.command()
    rig.run(5)
    assert heard.unread_bytes() == 0  # nothing of the old one is said again
    fresh.leave()


def test_output_that_came_before_the_end_of_the_session_is_still_read() -> None:
    rig = TalkRig()
    command, talk = rig.command()
    talk.write(b"last words")
    rig.run(0.1)
    rig.cut()
    person = Reader(command)
    with pytest.raises(SessionLost, match="the link was lost"):
        person.look()
    assert person.out == b"last words"
    assert command.write(b"x" * 99_999) == 99_999  # nobody waits for somebody who is gone


def test_a_device_that_is_away_is_not_asked_again_and_again() -> None:
    rig = TalkRig()
    command, talk = rig.command()
    rig.firmware.session.go_away(1, 3000, rig.now)
    rig.until(lambda: rig.firmware.was_gone == 1)
    command.write(b"later")
    mark = len(rig.heard_by_device)
    rig.run(2.5)
    assert [frame for frame in rig.heard_by_device[mark:] if frame[3] == talk.number] == []
    rig.firmware.session.back(rig.now)
    rig.until(lambda: talk.unread_bytes() == 5)

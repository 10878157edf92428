"""A command beside a run, rule by rule: both cores, a cable that can lose frames, and a clock that only moves when told."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

from transports.link import CommandEnd, CommandOutput
from transports.protocol import Answered, RemoveWorkload
from transports.protocols.conversations import RECEIVE_BYTES, SEND_BYTES
from transports.tests.talk_rig import RUN, TALKING, Reader, TalkRig, read, written
from transports.tests.wire_rig import Gateway
from transports.wire.framing import ACK, DATA
from transports.wire.numbers import CH_LOG, Method


def every(nth: int) -> Callable[[bytes], bytes | None]:
    """A cable that loses every nth frame."""
    numbers = itertools.count(1)
    return lambda data: None if next(numbers) % nth == 0 else data


def test_a_command_has_input_two_outputs_and_an_exit_code() -> None:
    rig = TalkRig()
    command, talk = rig.command("cat", "-v")
    person, heard = Reader(command), bytearray()
    assert command.write(b"for you") == 7
    command.end_input()
    rig.until(lambda: read(talk, heard))
    assert heard == b"for you"
    talk.write(b"out")
    talk.write(b"err", is_error=True)
    talk.end(3, signal=15)
    rig.until(lambda: person.look() is not None)
    assert (person.out, person.err, person.end) == (b"out", b"err", CommandEnd(3, "TERM"))
    method, body = rig.firmware.calls[-1]
    assert (method, body[1], body[2], body[9]) == (Method.EXEC, RUN[0], ["cat", "-v"], RUN[1])
    rig.until(lambda: talk.is_over)
    assert not rig.gateway.core.talk_channels()


def test_everything_that_comes_is_told() -> None:
    rig = TalkRig()
    command, talk = rig.command()
    for number in range(1, 4):
        before = rig.moves
        talk.write(b"as long as the one before")
        rig.until(lambda: rig.moves > before)  # noqa: B023 - until is over before the next one
        assert command.read() == CommandOutput(b"as long as the one before", False), number
        assert command.read() is None


def test_nothing_is_lost_twice_or_out_of_order_on_a_bad_cable() -> None:
    rig = TalkRig()
    command, talk = rig.command()
    rig.from_device_filter, rig.from_gateway_filter = every(4), every(5)
    person, heard = Reader(command), bytearray()
    spoken, answered = bytes(range(256)) * 20, bytes(reversed(range(256))) * 20
    said = [spoken]
    write_out, write_err = written(talk, answered), written(talk, spoken, is_error=True)

    def moved() -> bool:
        said[0] = said[0][command.write(said[0]) :]
        if not said[0]:
            command.end_input()
        has_input_ended = read(talk, heard)
        if all([write_out(), write_err(), has_input_ended]):
            talk.end(0)
        return person.look() is not None

    rig.until(moved, limit_s=600)
    assert bytes(heard) == spoken
    assert (person.out, person.err, person.end) == (answered, spoken, CommandEnd(0))


def test_whoever_reads_slowly_holds_up_one_output_and_nothing_else() -> None:
    rig = TalkRig()
    command, talk = rig.command()
    other, other_talk = rig.command()
    flood = written(talk, b"x" * 100_000)
    for _ in range(100):
        flood()
        rig.run(0.1)
    sent = RECEIVE_BYTES + TALKING.talk_bytes
    assert talk.room_bytes() == 0
    channels = rig.gateway.core.talk_channels()
    assert channels is not None
    assert channels.unread_bytes() == RECEIVE_BYTES
    again = [f for f in rig.frames_to_gateway(DATA, talk.number) if f[5]]
    assert sum(len(frame[5]) for frame in again) == RECEIVE_BYTES  # and not again and again
    assert rig.firmware.log(b"a line", rig.now)
    rig.until(lambda: b"a line" in rig.gateway.lines())
    other_talk.write(b"quick")
    person = Reader(other)
    rig.until(lambda: person.look() or person.out == b"quick")
    slow = Reader(command)
    rig.until(lambda: bool(flood()) | bool(slow.look()) or len(slow.out) > sent + 1000)


def test_a_command_that_does_not_read_holds_up_its_own_input_only() -> None:
    rig = TalkRig()
    command, talk = rig.command()
    taken = 0
    for _ in range(50):
        taken += command.write(b"y" * 1000)
        rig.run(0.1)
    assert taken == SEND_BYTES + TALKING.talk_bytes
    assert talk.unread_bytes() == TALKING.talk_bytes
    answer = rig.gateway.core.request(RemoveWorkload(1, 1), rig.now)
    assert isinstance(rig.end_of(answer), Answered)
    heard = bytearray()
    rig.until(lambda: read(talk, heard) or len(heard) == taken)


def test_a_lost_word_of_new_room_is_asked_for() -> None:
    rig = TalkRig()
    command, talk = rig.command()
    command.write(b"z" * 1000)
    rig.until(lambda: talk.unread_bytes() == TALKING.talk_bytes)
    rig.run(0.02)
    rig.from_device_filter = lambda data: None
    heard = bytearray(talk.read(4096))
    rig.run(0.05)
    rig.from_device_filter = lambda data: data
    rig.until(lambda: read(talk, heard) or len(heard) == 1000, limit_s=6)


def test_credit_says_what_room_there_is_and_never_takes_any_back() -> None:
    rig = TalkRig()
    command, talk = rig.command()
    heard, sizes = bytearray(), itertools.cycle((1,) * 50 + (100, 37, 256))

    def moved() -> bool:
        command.write(b"w" * 50)
        heard.extend(talk.read(next(sizes)))
        return len(heard) > 10_000

    rig.until(moved)
    acks = [(f[4], int.from_bytes(f[5], "little")) for f in rig.frames_to_gateway(ACK, talk.number)]
    edges = [off + credit for off, credit in acks]
    assert edges == sorted(edges)
    assert max(credit for _, credit in acks) <= TALKING.talk_bytes
    assert len(acks) < len(heard) / 16  # not for every byte that is read


def test_conversations_take_turns_and_the_log_has_its_own() -> None:
    rig = TalkRig(replace(TALKING, talk_bytes=4096, ring_bytes=16384))
    (_, first), (_, second) = rig.command(), rig.command()
    mark = len(rig.heard_by_gateway)
    for _ in range(40):
        rig.firmware.log(b"l" * 200, rig.now)
    first.write(b"1" * 4096)
    second.write(b"2" * 4096)
    rig.run(1)
    order = [frame[3] for frame in rig.heard_by_gateway[mark:] if frame[0] == DATA and frame[5]]
    busy = order[: order.index(CH_LOG) + 4 * 8]
    logs = [place for place, number in enumerate(busy) if number == CH_LOG]
    assert [later - earlier for earlier, later in itertools.pairwise(logs)] == [4] * (len(logs) - 1)
    talking = [number for number in busy if number != CH_LOG]
    assert talking == list(itertools.islice(itertools.cycle(talking[:2]), len(talking)))


def test_while_somebody_talks_the_line_is_read_at_once() -> None:
    rig = TalkRig(gateway=Gateway(line_bytes_per_s=11520))
    assert rig.gateway.core.read_pause_s > 0
    command, _ = rig.command()
    assert rig.gateway.core.read_pause_s == 0
    command.leave()
    rig.run(0.1)
    assert rig.gateway.core.read_pause_s > 0

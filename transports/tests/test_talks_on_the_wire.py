"""Conversations on the wire, rule by rule: both cores, a cable that can lose frames, and a clock that only moves when told."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from transports.conversing import CoreCommand
from transports.errors import DeviceError, LocalProtocolError, SessionLost
from transports.link import CommandEnd, CommandOutput, TerminalSize
from transports.protocol import Answered, Problem, RemoveWorkload, RequestLost, SendInput
from transports.protocols.conversations import MAX_TALKS, RECEIVE_BYTES, SEND_BYTES
from transports.tests.talk_rig import RUN, TALKING, Reader, TalkRig, read, written
from transports.tests.wire_peer import DevicePeer, GatewayPeer, hello
from transports.tests.wire_rig import CONFIG, Gateway
from transports.wire import messages
from transports.wire.conversation_messages import Attach, Close, CreditAnswer, Exec, Winch
from transports.wire.framing import ACK, DATA
from transports.wire.messages import Answer, Notification, Request, decode_control
from transports.wire.numbers import CH_CTRL, CH_LOG, FIRST_CHANNEL, LAST_CHANNEL, Caps, Code, Method, RstCode


def every(nth: int) -> Callable[[bytes], bytes | None]:
    """A cable that loses every nth frame."""
    numbers = itertools.count(1)
    return lambda data: None if next(numbers) % nth == 0 else data


# -- a command


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


# -- what a device does not say, or says wrong


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


def talking_device() -> tuple[DevicePeer, Request, CoreCommand]:
    """A device played by hand, the EXEC that it was asked, and who waits for it."""
    device = DevicePeer()
    device.join(hello(caps=int(Caps.RLOG | Caps.EXEC | Caps.STDIN), max_msg=1024, mtu=243))
    device.control(Answer(1, Code.OK, messages.ListAnswer().to_map()))
    device.control(Answer(2, Code.OK, messages.InventoryAnswer().to_map()))
    device.take()
    command = device.gateway.core.begin_command(RUN, ["x"], None, lambda: None, device.now)
    (frame,) = device.take_of(DATA, CH_CTRL)
    request = decode_control(frame[5])
    assert isinstance(request, Request)
    return device, request, command


def test_nothing_is_taken_on_a_channel_before_the_answer() -> None:
    device, request, _ = talking_device()
    number = request.body[4]
    assert isinstance(number, int)
    device.say(DATA, device.sid, number, 0, b"left over from somebody else")
    assert device.take_of(ACK, number) == []
    device.control(Answer(request.rid, Code.OK, CreditAnswer(64).to_map()))
    device.say(DATA, device.sid, number, 0, b"hello")
    device.wait(0.01)
    assert [frame[4] for frame in device.take_of(ACK, number)] == [5]


@pytest.mark.parametrize(
    ("close", "end"),
    [
        (Close(FIRST_CHANNEL, 4, exit_code=3), CommandEnd(3)),
        (Close(FIRST_CHANNEL, 4), CommandEnd(0)),
        (Close(FIRST_CHANNEL, 4, signal=9), CommandEnd(137, "KILL")),
        (Close(FIRST_CHANNEL, 4, signal=60, exit_code=1), CommandEnd(1, "60")),
    ],
)
def test_a_device_with_one_buffer_puts_both_outputs_on_one_channel(close: Close, end: CommandEnd) -> None:
    device, request, command = talking_device()
    device.control(Answer(request.rid, Code.OK, CreditAnswer(64).to_map()))
    error_ch = request.body[5]
    assert isinstance(error_ch, int)
    device.control(Notification(Method.CLOSE, Close(error_ch, 0).to_map()))
    device.control(Notification(Method.CLOSE, close.to_map()))
    person = Reader(command)
    assert person.look() is None  # its end is known, and not all of its output
    device.say(DATA, device.sid, FIRST_CHANNEL, 0, b"both")
    assert person.look() == end
    assert (person.out, person.err) == (b"both", b"")


@pytest.mark.parametrize(
    "wrong",
    [Notification(Method.CLOSE, {2: 1}), Notification(Method.CLOSE, {1: 5}), Notification(Method.CLOSE, Close(FIRST_CHANNEL, 0).to_map())],
    ids=["no channel", "a channel of another kind", "not opened yet"],
)
def test_a_device_that_closes_what_it_must_not_loses_its_session(wrong: Notification) -> None:
    device, _, _ = talking_device()
    device.control(wrong)
    assert device.take_resets() == [(device.sid, RstCode.PROTOCOL_ERROR)]
    assert [event.reason for event in device.gateway.of(Problem) if isinstance(event, Problem)] == ["MalformedMessage"]


def test_an_input_that_is_closed_before_it_was_opened_ends_the_session() -> None:
    device, _, _ = talking_device()
    device.gateway.core.request(SendInput(*RUN, b"x"), device.now)
    (frame,) = device.take_of(DATA, CH_CTRL)
    number = decode_control(frame[5]).body[4]
    assert isinstance(number, int)
    device.control(Notification(Method.CLOSE, Close(number).to_map()))
    assert device.take_resets() == [(device.sid, RstCode.PROTOCOL_ERROR)]


def test_closing_what_is_not_open_means_nothing() -> None:
    device, _, _ = talking_device()
    device.control(Notification(Method.CLOSE, Close(200, 7).to_map()))
    device.say(DATA, device.sid, 200, 0, b"nobody asked")
    device.say_ack(device.sid, 201, 5)
    assert device.take() == [] or all(frame[3] == CH_CTRL for frame in device.take())
    assert device.gateway.core.talk_channels() is not None


# -- the device's end, against a gateway played by hand


class Asker(GatewayPeer):
    def __init__(self) -> None:
        super().__init__(TALKING)
        self.join(mtu=243)
        self.sid, self.off, self.rid = 7, 0, 0

    def ask(self, method: Method, body: dict[int, object]) -> Answer:
        self.rid += 1
        self.control(Request(self.rid, method, body))
        frames = [frame for frame in self.take() if frame[0] == DATA and frame[3] == CH_CTRL]
        answers = [decode_control(frame[5]) for frame in frames]
        (answer,) = [message for message in answers if isinstance(message, Answer)]
        for frame in frames:
            self.say_ack(self.sid, CH_CTRL, frame[4] + len(frame[5]))
        return answer

    def control(self, message: Request | Notification) -> None:
        data = messages.encode_control(message)
        self.say(DATA, self.sid, CH_CTRL, self.off, data, flag=1)
        self.off += len(data)


@pytest.mark.parametrize(
    "body",
    [
        Exec(1, 1, ("x",), 16, 10).to_map() | {4: 15},
        Exec(1, 1, ("x",), 16, 10).to_map() | {4: 240},
        Exec(1, 1, ("x",), 16, 10, error_ch=16).to_map(),
        Exec(1, 1, ("x",), 16, 10, is_tty=True, error_ch=17).to_map(),
        Exec(1, 1, (), 16, 10).to_map(),
    ],
    ids=["below", "above", "twice", "a terminal with two outputs", "no command"],
)
def test_a_device_refuses_numbers_that_cannot_be(body: dict[int, object]) -> None:
    asker = Asker()
    assert asker.ask(Method.EXEC, body).code == Code.INVALID
    assert asker.firmware.talks == []


def test_a_device_refuses_a_number_that_is_in_use() -> None:
    asker = Asker()
    assert asker.ask(Method.EXEC, Exec(1, 1, ("x",), 16, 10, error_ch=17).to_map()) == Answer(1, Code.OK, {6: TALKING.talk_bytes})
    assert asker.ask(Method.EXEC, Exec(1, 1, ("x",), 17, 10).to_map()).code == Code.INVALID
    assert asker.ask(Method.ATTACH, Attach(1, 1, 16).to_map()).code == Code.INVALID
    assert len(asker.firmware.talks) == 1


def test_a_device_keeps_its_output_until_the_gateway_says_that_it_has_all() -> None:
    asker = Asker()
    asker.ask(Method.EXEC, Exec(1, 1, ("x",), 16, 100).to_map())
    (talk,) = asker.firmware.talks
    talk.write(b"out")
    talk.end(0)
    asker.control(Notification(Method.CLOSE, Close(16, 0).to_map()))  # the end of the input, which crosses the end of the command
    asker.wait(0.5)
    assert len([frame for frame in asker.take_of(DATA, 16) if frame[5] == b"out"]) > 1
    asker.control(Notification(Method.CLOSE, Close(16).to_map()))
    asker.wait(1.5)
    asker.take()
    assert talk.is_over
    asker.wait(1.4)
    assert asker.take_of(DATA, 16) == []
    assert asker.ask(Method.EXEC, Exec(1, 1, ("x",), 16, 100).to_map()).code == Code.OK


def test_a_device_takes_no_more_than_its_buffer_whatever_comes() -> None:
    asker = Asker()
    asker.ask(Method.EXEC, Exec(1, 1, ("x",), 16, 100).to_map())
    (talk,) = asker.firmware.talks
    for off in range(0, 640, 64):
        asker.say(DATA, 7, 16, off, b"f" * 64)
    assert talk.unread_bytes() == TALKING.talk_bytes
    assert asker.take_of(ACK, 16)[-1][5] == b"\0\0"


def test_room_is_told_when_half_of_the_buffer_is_free_again() -> None:
    asker = Asker()
    asker.ask(Method.EXEC, Exec(1, 1, ("x",), 16, 100).to_map())
    (talk,) = asker.firmware.talks
    asker.say(DATA, 7, 16, 0, b"f" * 200)
    asker.say(DATA, 7, 16, 200, b"f" * (TALKING.talk_bytes - 200))
    asker.wait(0.1)
    asker.take()
    talk.read(TALKING.talk_bytes // 2 - 1)
    assert asker.take_of(ACK, 16) == []
    talk.read(1)
    (ack,) = asker.take_of(ACK, 16)
    assert (ack[4], int.from_bytes(ack[5], "little")) == (TALKING.talk_bytes, TALKING.talk_bytes // 2)


def test_a_device_does_not_understand_a_gateway_that_closes_wrong() -> None:
    asker = Asker()
    asker.control(Notification(Method.CLOSE, {1: 3}))
    assert asker.take_resets() == [(7, RstCode.PROTOCOL_ERROR)]


def test_winch_of_what_is_over_is_fine() -> None:
    assert Asker().ask(Method.WINCH, Winch(16, 80, 24).to_map()) == Answer(1, Code.OK, {})

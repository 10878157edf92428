"""What breaks the rules of conversations: each core against a peer played by hand, frame by frame."""

from __future__ import annotations

import pytest

from transports.conversing import CoreCommand
from transports.errors import SessionLost
from transports.link import CommandEnd
from transports.protocol import Problem, SendInput
from transports.tests.talk_rig import RUN, TALKING, Reader
from transports.tests.wire_peer import DevicePeer, GatewayPeer, hello
from transports.wire import messages
from transports.wire.conversation_messages import Attach, Close, CreditAnswer, Exec, Winch
from transports.wire.framing import ACK, DATA
from transports.wire.messages import Answer, Notification, Request, decode_control
from transports.wire.numbers import CH_CTRL, FIRST_CHANNEL, Caps, Code, Method, RstCode

# -- the gateway's end, against a device


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


def test_a_command_that_ends_before_its_standard_error_loses_its_session() -> None:
    """Nobody would ever hear of the end: who reads waits for all of both."""
    device, request, command = talking_device()
    device.control(Answer(request.rid, Code.OK, CreditAnswer(64).to_map()))
    device.control(Notification(Method.CLOSE, Close(FIRST_CHANNEL, 0, exit_code=3).to_map()))
    assert device.take_resets() == [(device.sid, RstCode.PROTOCOL_ERROR)]
    with pytest.raises(SessionLost, match="before that of its standard error"):
        command.read()


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


# -- the device's end, against a gateway


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


def test_a_device_drops_a_close_that_it_must_understand_and_does_not() -> None:
    asker = Asker()
    asker.ask(Method.EXEC, Exec(1, 1, ("x",), 16, 100).to_map())
    asker.control(Notification(Method.CLOSE, {-1: 0, 1: 16}))
    assert asker.firmware.session.in_session
    assert not asker.firmware.talks[0].is_over

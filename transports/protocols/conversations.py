"""What is said to one device besides requests: commands, and input of its runs, on channels of their own (SPEC.md, conversations). Pure.

Here the gateway chooses numbers and keeps them until both ends are done; a conversation is a CommandTalk or an InputTalk. Nothing of it
survives a session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from transports.errors import DeviceError, SessionLost
from transports.link import TerminalSize
from transports.protocol import RequestId, SendInput
from transports.protocols.command_talk import CommandTalk
from transports.protocols.input_talk import InputTalk
from transports.wire.channels import Channel, Channels
from transports.wire.conversation_messages import Close
from transports.wire.messages import Answer
from transports.wire.numbers import FIRST_CHANNEL, LAST_CHANNEL, Body, Code, Method
from transports.wire.timers import MeasuredRto

MAX_TALKS: Final = 16
"""With one device at a time: more people than ever look at one board. It bounds memory, and how soon a number comes again."""
RECEIVE_BYTES: Final = 16384
"""The credit of each output: a fast line is kept busy, and little is held for somebody who does not read."""
SEND_BYTES: Final = 8192
"""Of input: more than one SendInput."""


class Talk(Protocol):
    """A conversation, as the table has it."""

    numbers: tuple[int, ...]

    def answered(self, answer: Answer) -> None: ...

    def closed(self, close: Close) -> None: ...

    def lost(self, why: str) -> None: ...

    def look(self) -> None:
        """Something came in."""
        ...


class TalkHost(Protocol):
    """The core that the conversations belong to."""

    def talk_channels(self) -> Channels | None: ...

    def ask_for_talk(self, method: Method, body: Body) -> RequestId:
        """Queue a request; its answer comes to answered()."""
        ...

    def tell_close(self, body: Body) -> None:
        """Queue a CLOSE behind the requests that wait."""
        ...

    def input_taken(self, request_id: RequestId, code: int, text: str) -> None:
        """The answer to a SendInput."""
        ...

    def input_lost(self, request_id: RequestId) -> None: ...


class Conversations:
    """Those with one device."""

    def __init__(self, host: TalkHost) -> None:
        self._host = host
        self._talks: dict[int, Talk] = {}
        """Number -> whose it is, until it is free at both ends."""
        self._inputs: dict[tuple[int, int], InputTalk] = {}
        """Who types to which run."""
        self._asked: dict[RequestId, Callable[[Answer], None]] = {}
        self._last_number = LAST_CHANNEL

    def __bool__(self) -> bool:
        return bool(self._talks)

    # -- what people want

    def begin_command(
        self, beside: tuple[int, int], argv: Sequence[str], terminal: TerminalSize | None, moved: Callable[[], None]
    ) -> CommandTalk:
        """Raises DeviceError when there are too many."""
        talk = CommandTalk(self, self._take_numbers(1 if terminal is not None else 2), moved)
        self._enlist(talk, Method.EXEC, talk.request(beside, argv, terminal, RECEIVE_BYTES))
        return talk

    def type(self, request: SendInput, request_id: RequestId) -> None:
        """Answered when the device has all of it. Raises DeviceError when there are too many."""
        key = request.wid, request.gen
        talk = self._inputs.get(key)
        if talk is None or talk.is_refused:
            talk = InputTalk(self, self._take_numbers(1), key, self._host.input_taken, self._host.input_lost)
            self._inputs[key] = talk
            self._enlist(talk, Method.ATTACH, talk.request())
        talk.type(request_id, request.data, is_end=request.is_end)

    def typist_left(self, run: tuple[int, int]) -> None:
        talk = self._inputs.pop(run, None)
        if talk is not None:
            talk.leave()

    def _enlist(self, talk: Talk, method: Method, body: Body) -> None:
        for number in talk.numbers:
            self._talks[number] = talk
        self.ask(method, body, talk.answered)

    def _take_numbers(self, count: int) -> tuple[int, ...]:
        """In turn, so that none comes again soon."""
        if len(self._each()) >= MAX_TALKS:
            raise DeviceError(Code.BUSY, f"{MAX_TALKS} conversations with it are open already")
        found: list[int] = []
        while len(found) < count:
            self._last_number = FIRST_CHANNEL if self._last_number == LAST_CHANNEL else self._last_number + 1
            if self._last_number not in self._talks:
                found.append(self._last_number)
        return tuple(found)

    def _each(self) -> list[Talk]:
        return list({id(talk): talk for talk in self._talks.values()}.values())

    # -- what the device says

    def owns(self, request_id: RequestId) -> bool:
        return request_id in self._asked

    def answered(self, request_id: RequestId, answer: Answer) -> None:
        self._asked.pop(request_id)(answer)

    def closed(self, body: object) -> None:
        """Raises RemoteProtocolError."""
        close = Close.from_map(body)
        if (talk := self._talks.get(close.ch)) is not None:
            talk.closed(close)

    def look(self) -> None:
        """After bytes came in."""
        for talk in self._each():
            talk.look()

    def lost(self, why: str) -> None:
        """The session has ended."""
        talks = {id(talk): talk for talk in (*self._talks.values(), *self._inputs.values())}
        self._talks.clear()
        self._inputs.clear()
        self._asked.clear()
        for talk in talks.values():
            talk.lost(why)

    # -- TalkLine

    def open(self, number: int, credit: int) -> Channel:
        channels = self._host.talk_channels()
        if channels is None:
            raise SessionLost("there is no session with the device")
        channel = Channel(number, receive_bytes=RECEIVE_BYTES, send_bytes=SEND_BYTES, peer_credit=credit, rto=MeasuredRto())
        channels.open(channel)
        return channel

    def tell(self, close: Close) -> None:
        self._host.tell_close(close.to_map())

    def ask(self, method: Method, body: Body, answered: Callable[[Answer], None]) -> None:
        self._asked[self._host.ask_for_talk(method, body)] = answered

    def drop(self, numbers: tuple[int, ...]) -> None:
        if (channels := self._host.talk_channels()) is not None:
            for number in numbers:
                channels.close(number)

    def free(self, numbers: tuple[int, ...]) -> None:
        for number in numbers:
            self._talks.pop(number, None)

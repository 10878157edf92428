"""Who types to one run: an ATTACH that is made with the first input and held until the typist leaves. Pure.

An input is answered when the device has acknowledged all of it, so a session that ends leaves nobody in doubt about more than what waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from transports.errors import RemoteProtocolError
from transports.protocol import RequestId
from transports.protocols.talk_line import TalkLine
from transports.wire.channels import Channel
from transports.wire.conversation_messages import Attach, Close, CreditAnswer
from transports.wire.messages import Answer
from transports.wire.numbers import Body, Code


@dataclass(slots=True)
class _Piece:
    """Of input. rest was not written to the channel yet; when it is empty, upto is where the piece ends there."""

    request_id: RequestId
    rest: bytes
    is_end: bool
    upto: int | None = None


class InputTalk:
    """answer ends an input with a code and a text; lose ends it with the session."""

    def __init__(
        self,
        line: TalkLine,
        numbers: tuple[int, ...],
        run: tuple[int, int],
        answer: Callable[[RequestId, int, str], None],
        lose: Callable[[RequestId], None],
    ) -> None:
        self.numbers = numbers
        self._line = line
        self._run = run
        self._answer = answer
        self._lose = lose
        self._channel: Channel | None = None
        self._pieces: deque[_Piece] = deque()
        self._is_over = False
        """The run reads no more: the rest is dropped, as the log's end will tell."""
        self._refusal: tuple[int, str] | None = None
        self._has_left = False

    def request(self) -> Body:
        return Attach(*self._run, self.numbers[0]).to_map()

    def type(self, request_id: RequestId, data: bytes, *, is_end: bool) -> None:
        self._pieces.append(_Piece(request_id, data, is_end))
        self.look()

    def leave(self) -> None:
        """What waits is not sent any more."""
        self._has_left = True
        self._end_all(Code.OK, "")
        if not self._is_over and self._refusal is None:
            self._line.drop(self.numbers)
            self._line.tell(Close(self.numbers[0]))

    def answered(self, answer: Answer) -> None:
        if answer.code != Code.OK:
            self._refusal = (answer.code, answer.text)
            self._line.free(self.numbers)
        elif not self._has_left:
            self._channel = self._line.open(self.numbers[0], CreditAnswer.from_map(answer.body).credit)
        self.look()

    def closed(self, close: Close) -> None:
        if close.off is not None:
            return  # the direction that is not used
        if self._channel is None and not self._has_left:
            raise RemoteProtocolError(f"CLOSE of channel {close.ch} before it was opened")
        self._line.drop(self.numbers)
        self._line.free(self.numbers)
        self._is_over = close.code == Code.OK
        self._refusal = None if self._is_over else (close.code, close.text)
        self.look()

    def lost(self, why: str) -> None:
        for piece in self._pieces:
            self._lose(piece.request_id)
        self._pieces.clear()

    def look(self) -> None:
        """Write what there is room for, and answer what has arrived."""
        if self._is_over:
            self._end_all(Code.OK, "")
        elif self._refusal is not None:
            self._end_all(*self._refusal)
        elif self._channel is not None and not self._has_left:
            self._move(self._channel)

    def _move(self, channel: Channel) -> None:
        for piece in self._pieces:
            if piece.upto is None:
                piece.rest = piece.rest[channel.write(piece.rest) :]
                if piece.rest:
                    break
                piece.upto = channel.outlet.next
                if piece.is_end:
                    self._line.tell(Close(self.numbers[0], piece.upto))
        while self._pieces and (upto := self._pieces[0].upto) is not None and channel.outlet.una >= upto:
            self._answer(self._pieces.popleft().request_id, Code.OK, "")

    def _end_all(self, code: int, text: str) -> None:
        while self._pieces:
            self._answer(self._pieces.popleft().request_id, code, text)

    @property
    def is_refused(self) -> bool:
        """Another attempt may end otherwise."""
        return self._refusal is not None

"""One command beside a device's workloads, from EXEC to the last CLOSE, at the gateway's end: transports.conversing.CoreCommand. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from transports.errors import DeviceError, RemoteProtocolError, SessionLost, TransportError
from transports.link import CommandEnd, CommandOutput, TerminalSize
from transports.protocols.talk_line import TalkLine
from transports.wire.channels import Channel, Inlet
from transports.wire.conversation_messages import Close, CreditAnswer, Exec, Winch
from transports.wire.messages import Answer
from transports.wire.numbers import LAST_CHANNEL, Body, Code, Method
from transports.wire.receive_stream import MAX_CREDIT_BYTES

PIECE_BYTES: Final = 32768
SIGNALS: Final = {1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL", 11: "SEGV", 13: "PIPE", 15: "TERM"}
"""By the numbers of POSIX, as the wire has them."""
LOST: Final = "the session with the device ended in the middle of the command, which is ended there: {}"


class CommandTalk:
    """numbers: its channel, and that of standard error if it is apart. moved is called when there may be something to read or room."""

    def __init__(self, line: TalkLine, numbers: tuple[int, ...], moved: Callable[[], None]) -> None:
        self.numbers = numbers
        self._line = line
        self._moved = moved
        self._channel: Channel | None = None
        self._outputs: list[Inlet] = []
        self._error: TransportError | None = None
        self._end: CommandEnd | None = None
        """The device has said it; output may still be under way."""
        self._has_all = False
        self._has_left = False
        self._is_input_ended = False
        self._size: TerminalSize | None = None
        self._told_size: TerminalSize | None = None
        """The newest that is on its way, or there."""
        self._is_resizing = False
        self._seen: tuple[int, ...] = ()
        """How much had come, and was acknowledged, when moved was called last."""

    def request(self, beside: tuple[int, int], argv: Sequence[str], terminal: TerminalSize | None, credit: int) -> Body:
        self._size = self._told_size = terminal
        error_ch = self.numbers[1] if len(self.numbers) > 1 else None
        return Exec(*beside, tuple(argv), self.numbers[0], credit, terminal is not None, error_ch, terminal).to_map()

    # -- transports.conversing.CoreCommand

    @property
    def has_begun(self) -> bool:
        if self._error is not None and self._channel is None:
            raise self._error
        return self._channel is not None

    def read(self) -> CommandOutput | CommandEnd | None:
        for number, inlet in enumerate(self._outputs):
            if len(inlet):
                return CommandOutput(inlet.take(PIECE_BYTES), number > 0)
        if self._error is not None:
            raise self._error
        return self._end if self._has_all else None

    def write(self, data: bytes) -> int:
        if self._channel is None or self._end is not None or self._error is not None or self._is_input_ended:
            return len(data)
        return self._channel.write(data)

    def end_input(self) -> None:
        if self._channel is not None and not self._is_input_ended and self._end is None and self._error is None:
            self._is_input_ended = True
            self._line.tell(Close(self.numbers[0], self._channel.outlet.next))

    def resize(self, size: TerminalSize) -> None:
        if self._size is not None:
            self._size = size
            self._tell_size()

    def _tell_size(self) -> None:
        """One at a time: of a window that is drawn larger only the newest size matters."""
        is_over = self._end is not None or self._error is not None or self._has_left
        if self._size is None or self._size == self._told_size or self._is_resizing or is_over:
            return
        self._told_size, self._is_resizing = self._size, True
        self._line.ask(Method.WINCH, Winch(self.numbers[0], *self._size).to_map(), self._resized)

    def _resized(self, answer: Answer) -> None:
        self._is_resizing = False
        self._tell_size()

    def leave(self) -> None:
        if self._has_left or self._has_all or self._error is not None:
            return
        self._has_left = True
        self._say_over()

    def _say_over(self) -> None:
        """With the device's end known, the numbers are free."""
        self._line.drop(self.numbers)
        self._line.tell(Close(self.numbers[0]))
        if self._end is not None:
            self._line.free(self.numbers)

    # -- what comes in

    def answered(self, answer: Answer) -> None:
        if answer.code != Code.OK:
            self._fail(DeviceError(answer.code, answer.text or f"the device answered with code {answer.code}"))
            self._line.free(self.numbers)
            return
        credit = CreditAnswer.from_map(answer.body).credit
        if self._has_left:
            return
        channels = [self._line.open(self.numbers[0], credit), *(self._line.open(number, 0) for number in self.numbers[1:])]
        self._channel = channels[0]
        self._outputs = [channel.inlet for channel in channels]
        self._moved()

    def closed(self, close: Close) -> None:
        if self._has_left:
            if close.off is None or close.ch == self.numbers[0]:
                self._line.free(self.numbers)
        elif self._channel is None:
            raise RemoteProtocolError(f"CLOSE of channel {close.ch} before it was opened")
        elif close.off is None:
            self._line.drop(self.numbers)
            self._line.free(self.numbers)
            self._fail(DeviceError(close.code, close.text or "the device ended the command"))
        elif close.ch == self.numbers[0]:
            if any(inlet.end is None for inlet in self._outputs[1:]):
                raise RemoteProtocolError(f"CLOSE of channel {close.ch} before that of its standard error")
            self._end = _end_told_by(close)
            self._outputs[0].end = close.off
            self.look()
        else:
            self._outputs[1].end = close.off

    def _fail(self, error: TransportError) -> None:
        self._error = self._error or error
        self._moved()

    def lost(self, why: str) -> None:
        if not self._has_all and not self._has_left:
            self._fail(SessionLost(LOST.format(why)))

    def look(self) -> None:
        """Whether all has come, and whether somebody wants to know."""
        if self._channel is None or self._has_left:
            return
        if self._end is not None and not self._has_all and all(inlet.has_all for inlet in self._outputs):
            self._has_all = True
            self._say_over()
        seen = (*(inlet.received for inlet in self._outputs), self._channel.outlet.una, self._has_all)
        if seen != self._seen:
            self._seen = seen
            self._moved()


def longest_exec(beside: tuple[int, int], argv: Sequence[str]) -> Exec:
    """As long as the request may become, whatever numbers it gets."""
    return Exec(*beside, tuple(argv), LAST_CHANNEL, MAX_CREDIT_BYTES, error_ch=LAST_CHANNEL, is_tty=True, size=(MAX_CREDIT_BYTES,) * 2)


def _end_told_by(close: Close) -> CommandEnd:
    code, signal = close.exit_code, close.signal
    if signal is None:
        return CommandEnd(code or 0)
    return CommandEnd(128 + signal if code is None else code, SIGNALS.get(signal, str(signal)))

"""A device that talks and a gateway that listens, on the bench of wire_rig: a test speaks for the command and for the person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from transports.conversing import CoreCommand
from transports.link import CommandEnd, CommandOutput, TerminalSize
from transports.protocol import Answered, Event, Joined, Listed, RequestId, RequestLost, SendInput
from transports.tests.wire_rig import CONFIG, Gateway, Rig
from transports.wire.device_session import DeviceConfig
from transports.wire.device_talks import DeviceTalk
from transports.wire.numbers import Caps

TALKING = replace(CONFIG, caps=int(Caps.RLOG | Caps.EXEC | Caps.STDIN), talk_bytes=256)
RUN = (7, 2)


class TalkRig(Rig):
    """In session from the beginning."""

    def __init__(self, config: DeviceConfig = TALKING, gateway: Gateway | None = None) -> None:
        super().__init__(config=config, gateway=gateway)
        self.moves = 0
        self.join()

    def join(self) -> None:
        count = len(self.gateway.of(Listed))
        self.until(lambda: len(self.gateway.of(Listed)) > count)
        assert self.gateway.of(Joined)

    def moved(self) -> None:
        self.moves += 1

    def ask(self, *argv: str, terminal: TerminalSize | None = None) -> CoreCommand:
        return self.gateway.core.begin_command(RUN, argv or ("run",), terminal, self.moved, self.now)

    def command(self, *argv: str, terminal: TerminalSize | None = None) -> tuple[CoreCommand, DeviceTalk]:
        """Both ends of one that has begun."""
        asked = self.ask(*argv, terminal=terminal)
        self.until(lambda: asked.has_begun)
        return asked, self.firmware.talks[-1]

    def type(self, data: bytes, *, is_end: bool = False, run: tuple[int, int] = RUN) -> RequestId:
        return self.gateway.core.request(SendInput(*run, data, is_end), self.now)

    def outcome(self, request_id: RequestId) -> Event | None:
        ends = [e for e in self.gateway.events if isinstance(e, Answered | RequestLost) and e.request_id == request_id]
        assert len(ends) <= 1
        return ends[0] if ends else None

    def end_of(self, request_id: RequestId) -> Event:
        self.until(lambda: self.outcome(request_id) is not None)
        found = self.outcome(request_id)
        assert found is not None
        return found


class Reader:
    """What a person sees of a command, for as long as they look."""

    def __init__(self, command: CoreCommand) -> None:
        self._command = command
        self.out = self.err = b""
        self.end: CommandEnd | None = None

    def look(self) -> CommandEnd | None:
        while (told := self._command.read()) is not None:
            if isinstance(told, CommandOutput):
                self.out += b"" if told.is_error else told.data
                self.err += told.data if told.is_error else b""
                continue
            self.end = told
            break
        return self.end


def written(talk: DeviceTalk, data: bytes, *, is_error: bool = False) -> Callable[[], bool]:
    """A step that writes as much of it as there is room for; true when all is written."""
    rest = [data]

    def step() -> bool:
        rest[0] = rest[0][talk.write(rest[0], is_error=is_error) :]
        return not rest[0]

    return step


def read(talk: DeviceTalk, into: bytearray) -> bool:
    """True when the input has ended."""
    into += talk.read(4096)
    return talk.has_input_ended

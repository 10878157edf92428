"""Conversations in the model: commands and typed input on the device, people at the gateway, and the laws that hold between them.

Laws: what a command reads is what was written to it, in order and once, up to where its session ended; what a person reads is
the same of its outputs, and all of it before an exit code; every command ends with a code or a known reason; typed input that was
answered has reached the run, in order and once.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from transports.conversing import CoreCommand
from transports.errors import DeviceError, SessionLost
from transports.link import CommandEnd, CommandOutput
from transports.wire.device_talks import DeviceTalk
from transports.wire.numbers import Code

MAX_DEVICE_TALKS = 3
ITEM = re.compile(rb"<(\d{6})>")


@dataclass(slots=True)
class Told:
    """One command, as nobody but the test can see it."""

    read: bytearray = field(default_factory=bytearray)
    """By the command."""
    exit_code: int | None = None


@dataclass(slots=True)
class TalkWitness:
    """What really happened, across all boots and gateways."""

    commands: dict[str, Told] = field(default_factory=dict)
    typed: dict[tuple[int, int, int], bytearray] = field(default_factory=dict)
    """(boot, wid, gen) -> what the run read."""
    over: set[tuple[int, int]] = field(default_factory=set)
    """Runs that read no more."""


class DeviceSide:
    """The commands of one boot: each copies its input to both outputs, as there is room, and ends with it."""

    def __init__(self, boot: int, witness: TalkWitness, rng: random.Random) -> None:
        self._boot = boot
        self._witness = witness
        self._rng = rng
        self._commands: list[tuple[DeviceTalk, Told, list[bytes]]] = []
        self._inputs: dict[tuple[int, int], DeviceTalk] = {}

    def is_full(self) -> bool:
        return sum(not talk.is_over for talk in self.talks()) >= MAX_DEVICE_TALKS

    def talks(self) -> list[DeviceTalk]:
        return [*(talk for talk, _, _ in self._commands), *self._inputs.values()]

    def has_writer(self, run: tuple[int, int]) -> bool:
        return run in self._inputs and not self._inputs[run].is_over

    def begin(self, name: str, talk: DeviceTalk) -> None:
        assert name not in self._witness.commands, f"{name} was begun twice"
        told = self._witness.commands[name] = Told()
        self._commands.append((talk, told, [b"", b""]))

    def attach(self, run: tuple[int, int], talk: DeviceTalk) -> None:
        self._inputs[run] = talk

    def end_input(self, run: tuple[int, int]) -> None:
        """The run has ended."""
        self._witness.over.add(run)
        if (talk := self._inputs.get(run)) is not None:
            talk.give_up()

    def act(self) -> None:
        for talk, told, rests in self._commands:
            self._copy(talk, told, rests)
        for (wid, gen), talk in self._inputs.items():
            self._witness.typed.setdefault((self._boot, wid, gen), bytearray()).extend(talk.read(65536))
        self._commands = [each for each in self._commands if not each[0].is_over]

    def _copy(self, talk: DeviceTalk, told: Told, rests: list[bytes]) -> None:
        if talk.is_over or talk.is_closed:
            return
        if not any(rests):
            piece = talk.read(self._rng.randint(1, 60))
            told.read += piece
            rests[:] = [piece, piece]
        rests[0] = rests[0][talk.write(rests[0]) :]
        rests[1] = rests[1][talk.write(rests[1], is_error=True) :]
        if talk.has_input_ended and not any(rests):
            told.exit_code = len(told.read) % 200
            talk.end(told.exit_code)


@dataclass(slots=True)
class Person:
    """Who runs a command. Outlives their gateway, as a test does."""

    name: str
    command: CoreCommand
    saying: bytes
    said_bytes: int = 0
    out: bytearray = field(default_factory=bytearray)
    err: bytearray = field(default_factory=bytearray)
    end: CommandEnd | None = None
    reason: str = ""
    """Why there is no exit code."""
    is_slow: bool = False

    @property
    def is_done(self) -> bool:
        return self.end is not None or bool(self.reason)

    def leave(self) -> None:
        self.command.leave()
        self.reason = "left"

    def act(self, rng: random.Random) -> None:
        try:
            if self.command.has_begun:
                self._say(rng)
                self._look(rng)
        except SessionLost:
            self.reason = "session"
        except DeviceError as error:
            if error.code not in (Code.BUSY, Code.BAD_STATE):
                raise
            self.reason = "refused"

    def _say(self, rng: random.Random) -> None:
        if self.said_bytes < len(self.saying):
            self.said_bytes += self.command.write(self.saying[self.said_bytes : self.said_bytes + rng.randint(1, 200)])
        if self.said_bytes == len(self.saying):
            self.command.end_input()

    def _look(self, rng: random.Random) -> None:
        if self.is_slow and rng.random() < 0.8:
            return
        told = self.command.read()
        if isinstance(told, CommandOutput):
            (self.err if told.is_error else self.out).extend(told.data)
        else:
            self.end = told


def check_command(person: Person, told: Told | None) -> None:
    """told is None when it never began."""
    read = bytes(told.read) if told is not None else b""
    assert person.saying.startswith(read), f"{person.name} read what was not said"
    assert read.startswith(bytes(person.out)), f"{person.name} did not write that"
    assert read.startswith(bytes(person.err)), f"{person.name} did not write that to its other output"
    if person.end is not None:
        assert told is not None
        assert person.end.exit_code == told.exit_code
        assert bytes(person.out) == bytes(person.err) == read == person.saying, f"{person.name} ended before all had come"
    else:
        assert person.reason, f"{person.name} has no end"


def check_typed(witness: TalkWitness) -> None:
    for (boot, wid, gen), stream in witness.typed.items():
        numbers = [int(number) for number in ITEM.findall(bytes(stream))]
        assert numbers == sorted(set(numbers)), f"boot {boot}, run {wid}-{gen}: typed input out of order or twice: {numbers}"


def has_typed(witness: TalkWitness, run: tuple[int, int], number: int) -> bool:
    item = b"<%06d>" % number
    return run in witness.over or any(item in stream for (_, *key), stream in witness.typed.items() if tuple(key) == run)

"""What the machine and the agent in the guest say to each other: pickled values, each behind its length.

Both ends are this checkout and trust each other, so whatever pickles may travel: functions by name, dataclasses, exceptions.
"""

from __future__ import annotations

import enum
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

CHANNEL: Final = "org.wirelet.agent"
"""Name of the virtio port."""
_LENGTH: Final = struct.Struct(">I")


class Kind(enum.Enum):
    """What to run; Python is forked from the agent, whose imports are done already."""

    PROGRAM = enum.auto()
    """argv, from the file system."""
    MODULE = enum.auto()
    """As `python -m` argv."""
    CALLS = enum.auto()
    """Answer what comes as Call, one after another, until the input ends."""


@dataclass(frozen=True, slots=True)
class Start:
    """Run argv in a process of its own."""

    process: int
    kind: Kind
    argv: tuple[str, ...]
    env: Mapping[str, str]
    """Added to the agent's own."""
    user: str
    """By name; empty for root. It is in its own group and those below, and in no other."""
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Input:
    """Bytes for its stdin; empty for the end."""

    process: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Signal:
    """To the process and all its children."""

    process: int
    number: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The first message of the agent, when it has imported what was asked for; and its answer to the same."""


@dataclass(frozen=True, slots=True)
class Output:
    """A piece from stdout and stderr together."""

    process: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """A piece of what a process that serves calls wrote back."""

    process: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The last word of a process; -N when signal N ended it."""

    process: int
    exit_code: int


@dataclass(frozen=True, slots=True)
class Call:
    """Within the stdin of a process that serves calls. A function that is text is a method of what an earlier call kept."""

    function: Callable[..., Any] | str
    args: tuple[Any, ...] = ()
    keeps: bool = False
    """What the function returns stays in the process, as the object whose methods are called from now on."""


@dataclass(frozen=True, slots=True)
class Returned:
    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    error: BaseException | None
    """None when it cannot be pickled."""
    trace: str


def encode(message: object) -> bytes:
    body = pickle.dumps(message)
    return _LENGTH.pack(len(body)) + body


class Decoder:
    """Bytes in, messages out; borders of reads mean nothing."""

    def __init__(self) -> None:
        self._received = bytearray()

    def receive_data(self, data: bytes) -> Iterator[Any]:
        self._received += data
        while len(self._received) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._received)
            end = _LENGTH.size + length
            if len(self._received) < end:
                return
            body = bytes(self._received[_LENGTH.size : end])
            del self._received[:end]
            yield pickle.loads(body)

"""What a console's core remembers across a kill of the gateway, as the tail of its checkpoint. Pure.

A device would remember its run and how earlier ones ended; a console cannot. The unfinished line is here too, so that it is stored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from transports.protocol import Checkpoint, ExitReason, WorkloadState, WorkloadStatus

MAX_EXITS: Final = 3
"""Ends of runs that nobody has let go yet. More are not needed: a new run begins only when somebody has looked at the one before."""
MAX_MESSAGE_CHARACTERS: Final = 80
"""Of a line that ended a run: all of them together must fit the checkpoint."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the lines of this boot have said so far, for a run whose log begins with the boot."""

    is_ready: bool = False
    exit_code: int | None = None
    """None: neither `ok` nor `fail` was seen."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    run: WorkloadStatus | None = None
    profile: str = ""
    """The profile's state."""
    exits: tuple[WorkloadStatus, ...] = ()
    boot_off: int = 0
    """Where in the log this boot began."""
    verdict: Verdict = Verdict()

    def pack(self, name: str, half: bytes) -> bytes:
        """For a profile of that name."""
        verdict = self.verdict
        document = [
            None if self.run is None else _written(self.run),
            self.profile,
            [_written(status) for status in self.exits],
            self.boot_off,
            [verdict.is_ready, verdict.exit_code, verdict.message],
        ]
        return _mark(name) + json.dumps(document, separators=(",", ":")).encode() + b"\n" + half

    def with_exit(self, status: WorkloadStatus) -> Memory:
        """The run has ended so; the oldest end is forgotten when there are too many."""
        return replace(self, run=None, profile="", exits=(*self.without_exit(status.wid).exits, status)[-MAX_EXITS:])

    def without_exit(self, wid: int) -> Memory:
        return replace(self, exits=tuple(status for status in self.exits if status.wid != wid))


def unpack(checkpoint: Checkpoint | None, name: str) -> tuple[Memory, bytes] | None:
    """(memory, unfinished line), or None: nobody remembers, or another protocol or profile had the device before."""
    if checkpoint is None or not checkpoint.tail.startswith(_mark(name)):
        return None
    document, _, half = checkpoint.tail.removeprefix(_mark(name)).partition(b"\n")
    try:
        run, profile, exits, boot_off, (is_ready, exit_code, message) = json.loads(document)
        read = tuple(_read(status) for status in exits)
        return Memory(None if run is None else _read(run), profile, read, boot_off, Verdict(is_ready, exit_code, message)), half
    except (ValueError, TypeError):
        return None


def short(text: bytes | str) -> str:
    """A line as a message: printable ASCII, and not too long."""
    characters = text.decode("ascii", "replace") if isinstance(text, bytes) else text
    plain = "".join(character if " " <= character <= "~" and character not in '"\\' else "?" for character in characters.strip())
    return plain if len(plain) <= MAX_MESSAGE_CHARACTERS else f"{plain[: MAX_MESSAGE_CHARACTERS - 3]}..."


def _mark(name: str) -> bytes:
    return f"console1 {name} ".encode()


def _written(status: WorkloadStatus) -> list[Any]:
    reason = None if status.reason is None else int(status.reason)
    tag = status.tag.hex()
    return [status.wid, status.gen, tag, status.start_off, status.end_off, status.exit_code, reason, status.ready, status.message]


def _read(written: list[Any]) -> WorkloadStatus:
    wid, gen, tag, start_off, end_off, exit_code, reason, ready, message = written
    return WorkloadStatus(
        wid=wid,
        gen=gen,
        slot=0,
        state=WorkloadState.RUNNING if reason is None else WorkloadState.EXITED,
        start_off=start_off,
        end_off=end_off,
        exit_code=exit_code,
        reason=None if reason is None else ExitReason(reason),
        tag=bytes.fromhex(tag),
        ready=ready,
        message=message,
    )

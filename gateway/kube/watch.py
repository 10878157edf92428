"""What the API server's bytes mean: lines of a watch, events, objects. Pure.

A line that never ends is refused instead of filling the memory; what is no object is Unavailable, for something between us and the
server cut or replaced it.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from typing import Final

from gateway.kube.errors import Unavailable, error_from_status
from gateway.pods.seams import JsonObject

MAX_LINE_BYTES: Final = 8 * 1024 * 1024
"""An object is at most 1.5 MiB in etcd; JSON escapes and the event around it stay well below this."""


class LineTooLong(Exception):
    """More bytes without a line end than any object has."""


class LineSplitter:
    """Feed chunks in, take whole lines out; every byte is searched once."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._head: list[bytes] = []
        self._head_bytes = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that end in this chunk, without their line ends. Raises LineTooLong."""
        *ended, rest = chunk.split(b"\n")
        lines = []
        for part in ended:
            line = b"".join((*self._head, part)) if self._head else part
            self._head.clear()
            self._head_bytes = 0
            lines.append(line)
        if rest:
            self._head.append(rest)
            self._head_bytes += len(rest)
        if self._head_bytes > self._max_line_bytes:
            raise LineTooLong(f"a line of the watch exceeds {self._max_line_bytes} bytes")
        return [line for line in lines if line]


class WatchKind(enum.Enum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch. A bookmark's object holds nothing but its resource version."""

    kind: WatchKind
    object: JsonObject


def watch_event(line: bytes) -> WatchEvent:
    """Raises what an ERROR event says (Gone among others), and Unavailable for what is no event."""
    event = json_object(line)
    content = event.get("object")
    if not isinstance(content, dict):
        raise Unavailable("a line of the watch is no event")
    if event.get("type") == "ERROR":
        raise error_from_status(content)
    try:
        return WatchEvent(WatchKind(event.get("type")), content)
    except ValueError:
        raise Unavailable(f"the watch sent an unknown kind of event: {event.get('type')!r}") from None


def json_object(data: bytes) -> JsonObject:
    """Raises Unavailable."""
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unavailable(f"the answer is not JSON: {error}") from error
    if not isinstance(answer, dict):
        raise Unavailable("the answer is not an object")
    return answer

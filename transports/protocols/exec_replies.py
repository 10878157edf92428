"""Answers of the wrapper on the target: where one ends and what it says. Pure.

An answer is a body of any bytes, a newline, and `. NONCE CODE SECONDS TEXT` with a newline. Nobody but the wrapper knows the nonce, so no
output of a job can look like the end of an answer. Whatever a login shell says before the first is skipped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from transports.errors import RemoteProtocolError

MAX_ANSWER_BYTES: Final = 1 << 20
"""A piece of the log is an eighth of it, and so is the list of all slots."""
MAX_LAST_LINE_BYTES: Final = 1024

_LAST: Final = re.compile(rb"(\d{1,3}) (\d{1,12})\.(\d{2}) ?(.*)")


@dataclass(frozen=True, slots=True)
class Reply:
    code: int
    uptime_ms: int
    text: str
    body: bytes


class ReplyReader:
    """Cuts what comes from one connection into answers."""

    def __init__(self, nonce: str) -> None:
        self._mark = b"\n. " + nonce.encode() + b" "
        self._data = bytearray(b"\n")  # the mark of the first answer may be the first thing of all
        self._looked = 0

    def feed(self, data: bytes) -> list[Reply]:
        """Whole answers. Raises RemoteProtocolError for one that is too long, or whose last line is none."""
        self._data += data
        replies: list[Reply] = []
        while (reply := self._next()) is not None:
            replies.append(reply)
        if len(self._data) > MAX_ANSWER_BYTES:
            raise RemoteProtocolError(f"an answer of the target exceeds {MAX_ANSWER_BYTES} bytes")
        return replies

    def _next(self) -> Reply | None:
        begin = self._data.find(self._mark, self._looked)
        if begin < 0:
            self._looked = max(0, len(self._data) - len(self._mark))
            return None
        end = self._data.find(b"\n", begin + len(self._mark))
        if end < 0:
            self._looked = begin
            if len(self._data) - begin > MAX_LAST_LINE_BYTES:
                raise RemoteProtocolError("the last line of an answer does not end")
            return None
        last = _LAST.fullmatch(bytes(self._data[begin + len(self._mark) : end]))
        if last is None:
            raise RemoteProtocolError("the last line of an answer has no code and no time")
        body = bytes(self._data[:begin])
        del self._data[: end + 1]
        self._looked = 0
        uptime_ms = int(last[2]) * 1000 + int(last[3]) * 10
        return Reply(int(last[1]), uptime_ms, last[4].decode("utf-8", "replace"), body)

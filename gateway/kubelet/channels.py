"""The channels of exec and attach in one WebSocket: v4.channel.k8s.io and v5 (k8s.io/apimachinery, pkg/util/remotecommand). Pure.

A message is the number of its channel and then its bytes. v5 adds the end of an input; the result comes last, on ERROR.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from typing import Any, Final

PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
"""What we speak, the best first."""
MAX_TERMINAL: Final = 10_000
"""Columns or rows: no screen has more, and a pty takes 16 bits."""


class Channel(enum.IntEnum):
    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    RESIZE = 4
    CLOSE = 255


@dataclass(frozen=True, slots=True)
class Input:
    data: bytes


@dataclass(frozen=True, slots=True)
class InputEnd:
    pass


@dataclass(frozen=True, slots=True)
class Resize:
    columns: int
    rows: int


class ChannelError(Exception):
    """The client sent what no client sends."""


def choose(offered: str) -> str | None:
    """Of Sec-WebSocket-Protocol, the best that we speak."""
    wanted = {word.strip() for word in offered.split(",")}
    return next((protocol for protocol in PROTOCOLS if protocol in wanted), None)


def decode(message: bytes) -> Input | InputEnd | Resize | None:
    """What a client means; None for nothing. Raises ChannelError."""
    if not message:
        raise ChannelError("a message without a channel")
    number, data = message[0], message[1:]
    match number:
        case Channel.STDIN:
            return Input(data) if data else None
        case Channel.CLOSE:
            return InputEnd() if data == bytes([Channel.STDIN]) else None
        case Channel.RESIZE:
            return _resize(data)
        case _:
            raise ChannelError(f"nothing comes on channel {number}")


def _resize(data: bytes) -> Resize:
    try:
        told: Any = json.loads(data)
        columns, rows = told["Width"], told["Height"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ChannelError("no size of a terminal") from error
    if not all(type(each) is int and 0 <= each <= MAX_TERMINAL for each in (columns, rows)):
        raise ChannelError("no size of a terminal")
    return Resize(columns, rows)


def encode(channel: Channel, data: bytes) -> bytes:
    return bytes([channel]) + data


def input_end() -> bytes:
    return bytes([Channel.CLOSE, Channel.STDIN])


def success() -> bytes:
    return encode(Channel.ERROR, json.dumps({"metadata": {}, "status": "Success"}).encode())


def exited(exit_code: int) -> bytes:
    """The result of a command, in the words that kubectl takes its exit code from (k8s.io/client-go/tools/remotecommand/v4.go)."""
    if exit_code == 0:
        return success()
    cause = {"reason": "ExitCode", "message": str(exit_code)}
    text = f"command terminated with non-zero exit code: exit status {exit_code}"
    return _failure({"reason": "NonZeroExitCode", "message": text, "details": {"causes": [cause]}})


def failed(text: str) -> bytes:
    """No command ended: the text says why."""
    return _failure({"reason": "InternalError", "message": text, "code": 500})


def _failure(fields: dict[str, Any]) -> bytes:
    return encode(Channel.ERROR, json.dumps({"metadata": {}, "status": "Failure", **fields}).encode())


def result(data: bytes) -> tuple[int, str]:
    """(exit code, text) of what came on ERROR, for a client."""
    try:
        status: Any = json.loads(data)
        if status["status"] == "Success":
            return 0, ""
        for cause in status.get("details", {}).get("causes", []):
            if cause.get("reason") == "ExitCode":
                return int(cause["message"]), ""
        return 1, str(status.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return 1, data.decode("utf-8", "replace")

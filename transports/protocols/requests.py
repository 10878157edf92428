"""Requests to a device as messages, and which answer belongs to which (SPEC.md, messages).

A request that the device could never take is refused here, before a byte is sent, with both sizes and what made it so large.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, assert_never

from transports.errors import LocalProtocolError
from transports.protocol import ReadStats, Reboot, RemoveWorkload, Request, RequestId, SendInput, StartWorkload, StopWorkload
from transports.wire import messages
from transports.wire.numbers import Body, Method, StartFlag
from transports.wire.profile import MAX_DEVICE_ITEMS, pack

MAX_OPEN_REQUESTS: Final = 256
"""Waiting and unanswered, per device; a caller with more has lost its head."""
LARGEST_KEYS: Final = 3
_RID_FOR_SIZE: Final = 0xFFFFFFFF
"""Sizes are checked with the longest request id: a session may last for months."""
_MAX_MS: Final = 0xFFFFFFFF
"""Times are u32 on the wire."""

_START_KEYS: Final = {3: "program", 4: "args", 5: "env", 6: "tag", 8: "flags"}


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """One request on its way. id is None for those that the protocol makes itself."""

    id: RequestId | None
    method: Method
    body: Body
    is_answered: bool = True
    """False: a notification, which has its place among the requests."""


class RequestTable:
    """Requests of one session: waiting, then open under a request id, then answered."""

    def __init__(self) -> None:
        self._waiting: deque[OpenRequest] = deque()
        self._open: dict[int, OpenRequest] = {}
        self._next_rid = 1

    def __len__(self) -> int:
        return len(self._waiting) + len(self._open)

    def add(self, request: OpenRequest, *, first: bool = False) -> None:
        """first: before all that wait (LIST and INVENTORY)."""
        if first:
            self._waiting.appendleft(request)
        else:
            self._waiting.append(request)

    def encode_next(self, *, only_own: bool) -> bytes | None:
        """The next message to send; call sent() when it was taken. only_own: callers' requests still wait for LIST."""
        if not self._waiting or (only_own and self._waiting[0].id is not None):
            return None
        request = self._waiting[0]
        if not request.is_answered:
            return messages.encode_control(messages.Notification(request.method, request.body))
        return messages.encode_control(messages.Request(self._next_rid, request.method, request.body))

    @property
    def has_waiting(self) -> bool:
        """There are some that were not sent yet."""
        return bool(self._waiting)

    def sent(self) -> None:
        request = self._waiting.popleft()
        if request.is_answered:
            self._open[self._next_rid] = request
            self._next_rid += 1

    def answered(self, rid: int) -> OpenRequest | None:
        return self._open.pop(rid, None)

    def close(self) -> list[RequestId]:
        """The session ended: the callers' requests without an answer, oldest first."""
        lost = [*self._open.values(), *self._waiting]
        self._open.clear()
        self._waiting.clear()
        self._next_rid = 1
        return [request.id for request in lost if request.id is not None]


def to_message(request: Request, *, has_directories: bool) -> tuple[Method, Body]:
    """Raises LocalProtocolError for what the device cannot be asked."""
    match request:
        case StartWorkload(working_dir=directory) if directory and not has_directories:
            raise LocalProtocolError(f"workingDir {directory}: a device that speaks frames has no directories")
        case StartWorkload():
            for name, words in (("args", request.args), ("env", request.env)):
                if len(words) > MAX_DEVICE_ITEMS:
                    raise LocalProtocolError(f"START: {len(words)} {name} exceed the {MAX_DEVICE_ITEMS} that a device takes")
            flags = (StartFlag.TTY if request.tty else 0) | (StartFlag.STDIN if request.stdin else 0)
            start = messages.Start(
                request.wid,
                request.gen,
                request.program,
                request.args,
                request.env,
                tag=request.tag,
                cwd=request.working_dir,
                flags=int(flags),
            )
            return Method.START, start.to_map()
        case StopWorkload():
            return Method.STOP, messages.Stop(request.wid, request.gen, min(request.grace_ms, _MAX_MS), request.signal).to_map()
        case RemoveWorkload():
            return Method.REMOVE, messages.Remove(request.wid, request.gen).to_map()
        case ReadStats():
            return Method.STATS, {}
        case Reboot():
            return Method.REBOOT, messages.RebootRequest(request.mode, request.delay_ms).to_map()
        case SendInput():
            raise LocalProtocolError("input goes over a channel of its own")
        case _:
            assert_never(request)


def check_size(method: Method, body: Body, max_msg: int) -> None:
    """Raises LocalProtocolError when the device's buffer cannot hold the request."""
    size = len(messages.encode_control(messages.Request(_RID_FOR_SIZE, method, body)))
    if size <= max_msg:
        return
    names = _START_KEYS if method is Method.START else {}
    sizes = sorted(((len(pack(value)), names.get(key, f"key {key}")) for key, value in body.items()), reverse=True)
    largest = ", ".join(f"{name} {key_bytes}" for key_bytes, name in sizes[:LARGEST_KEYS])
    raise LocalProtocolError(f"{method.name} of {size} bytes exceeds the device's {max_msg} (largest: {largest})")

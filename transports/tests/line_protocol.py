"""The smallest honest DeviceProtocol: lines of text. It has sessions, stored offsets, requests and a timer, and nothing else.

Device to gateway: `hello BOOT`, `log TEXT`, `ok RID`, `no RID CODE TEXT`. Gateway to device: `who?`, `ack OFFSET`, `do RID NAME`, `ping`.
"""

from __future__ import annotations

from transports.errors import LocalProtocolError, SessionLost
from transports.protocol import (
    Answered,
    Checkpoint,
    ClockSample,
    Counters,
    Event,
    Joined,
    Left,
    Listed,
    Output,
    Problem,
    Record,
    RecordKind,
    Request,
    RequestId,
    RequestLost,
    StartWorkload,
    WorkloadState,
    WorkloadStatus,
)

MAX_LINE_BYTES = 4096


class LineProtocol:
    def __init__(self, *, ping_s: float | None = None) -> None:
        self.counters = Counters()
        self._ping_s = ping_s
        self._ping_at: float | None = None
        self._half_line = b""
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self._boot_id: int | None = None
        self._offset = 0
        self._requests: dict[int, Request] = {}
        self._last_request_id = 0

    def link_up(self, now: float) -> None:
        self._half_line = b""
        self._out = [b"who?\n"]

    def link_down(self, now: float) -> None:
        self._out.clear()
        self._ping_at = None
        if self._boot_id is None:
            return
        self._boot_id = None
        self._events += [RequestLost(RequestId(number)) for number in self._requests]
        self._events.append(Left("link lost"))
        self._requests.clear()

    def receive_data(self, data: bytes, now: float) -> None:
        *lines, self._half_line = (self._half_line + data).split(b"\n")
        for line in lines:
            self.counters.rx_frames += 1
            word, _, rest = line.partition(b" ")
            self._receive_line(word, rest, now)

    def _receive_line(self, word: bytes, rest: bytes, now: float) -> None:
        match word:
            case b"hello":
                self._boot_id = int(rest)
                self._ping_at = now + self._ping_s if self._ping_s else None
                self._events += [Joined(b"line", self._boot_id, self._boot_id, False, 0, 0, 0, ClockSample(0, now)), Listed(())]
            case b"log":
                start, self._offset = self._offset, self._offset + len(rest)
                record = Record(start, self._offset, 0, 0, RecordKind.STDOUT, rest)
                self._events.append(Output(1, (record,), Checkpoint(1, 1, self._offset), ClockSample(0, now)))
            case b"ok":
                request = self._requests.pop(int(rest))
                status = WorkloadStatus(request.wid, request.gen, 0, WorkloadState.RUNNING) if isinstance(request, StartWorkload) else None
                self._events.append(Answered(RequestId(int(rest)), 0, status))
            case b"no":
                number, code, text = rest.split(b" ", 2)
                del self._requests[int(number)]
                self._events.append(Answered(RequestId(int(number)), int(code), text=text.decode()))
            case _:
                self._events.append(Problem("Garbage", repr(word)))

    @property
    def is_drained(self) -> bool:
        return not self._out

    def data_to_send(self, now: float) -> bytes:
        return self._out.pop(0) if self._out else b""

    def events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def stored(self, checkpoint: Checkpoint, now: float) -> None:
        if self._boot_id is not None:
            self._out.append(b"ack %d\n" % checkpoint.stored)

    def request(self, request: Request, now: float) -> RequestId:
        if self._boot_id is None:
            raise SessionLost("there is no session")
        line = b"do %d %s\n" % (self._last_request_id + 1, repr(request).encode())
        if len(line) > MAX_LINE_BYTES:
            raise LocalProtocolError(f"line of {len(line)} bytes exceeds {MAX_LINE_BYTES}")
        self._last_request_id += 1
        self._requests[self._last_request_id] = request
        self._out.append(line)
        return RequestId(self._last_request_id)

    def next_deadline(self) -> float | None:
        return self._ping_at

    def handle_deadline(self, now: float) -> None:
        if self._ping_s is not None:
            self._ping_at = now + self._ping_s
            self._out.append(b"ping\n")

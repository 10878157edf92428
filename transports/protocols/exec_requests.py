"""Requests to a target as lines for the wrapper, its slots, and what its answers mean. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, assert_never

from transports.errors import LocalProtocolError, RemoteProtocolError
from transports.protocol import (
    Answered,
    ExitReason,
    ReadStats,
    Reboot,
    RemoveWorkload,
    Request,
    RequestId,
    RequestLost,
    SendInput,
    StartWorkload,
    StopWorkload,
    WorkloadState,
    WorkloadStatus,
)
from transports.protocols.exec_command import job_script
from transports.protocols.exec_replies import Reply
from transports.protocols.exec_spool import MAX_U32, RunEnded, read_offset
from transports.wire.numbers import Code

MAX_OPEN_REQUESTS: Final = 256
"""Waiting and unanswered; a caller with more has lost its head."""
MAX_GRACE_S: Final = 1 << 31
SIGNALED: Final = 128
"""A shell's exit code for a program that signal n ended is 128 + n."""
LAST_SIGNAL: Final = 64
NO_TTY: Final = "tty: a job that outlives its connection has no terminal; leave it out, and have one beside it: wirelet exec -it POD -- sh"
_KILL: Final = 9

_ROW: Final = re.compile(rb"(\d{1,10}) (\d{1,10}) (\d{1,2}) (\d{1,16}) (-|\d{1,3}) (-|(?:[0-9a-f]{2}){1,32})")
_Run = tuple[int, int]


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """line is what to send; refusal is the answer, code, status and text, where nothing is to be sent."""

    id: RequestId
    request: Request
    line: bytes = b""
    refusal: tuple[int, None, str] | None = None


class ExecRequests:
    """Requests of one session after another, and who has which slot."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._open: dict[RequestId, OpenRequest] = {}
        self._slot_of: dict[_Run, int] = {}
        self._start_of: dict[_Run, int] = {}
        """Where its output begins in the log."""
        self._live: set[_Run] = set()
        self._last_id = 0

    @property
    def has_live(self) -> bool:
        """Something runs, or is being started."""
        return bool(self._live)

    def open(self, request: Request) -> OpenRequest:
        """Raises LocalProtocolError for what can never be."""
        if len(self._open) >= MAX_OPEN_REQUESTS:
            raise LocalProtocolError(f"{MAX_OPEN_REQUESTS} requests to one target are open")
        line, refusal = self._line(request)
        self._last_id += 1
        opened = OpenRequest(RequestId(self._last_id), request, line, refusal)
        if refusal is None:
            self._open[opened.id] = opened
        return opened

    def close(self) -> list[RequestId]:
        """The session ended: these had no answer."""
        lost = list(self._open)
        self._open.clear()
        return lost

    def forget_slots(self) -> None:
        self._slot_of.clear()
        self._start_of.clear()
        self._live.clear()

    def listed(self, statuses: tuple[WorkloadStatus, ...]) -> None:
        for status in statuses:
            run = status.wid, status.gen
            self._slot_of[run], self._start_of[run] = status.slot, status.start_off
            if status.state is not WorkloadState.EXITED:
                self._live.add(run)

    def ended(self, ended: RunEnded) -> WorkloadStatus:
        """The log told the end of a run."""
        run = ended.wid, ended.gen
        self._live.discard(run)
        start_off = self._start_of.get(run, 0)
        return _exited(*run, ended.slot, ended.exit_code, start_off=start_off, end_off=max(start_off, ended.offset))

    def answered(self, opened: OpenRequest, reply: Reply) -> Answered | RequestLost | None:
        """What to tell the caller; None when it was told that its request is lost. Raises RemoteProtocolError: then it is open on."""
        if opened.id not in self._open:
            return None
        statuses: tuple[WorkloadStatus, ...] = ()
        if isinstance(opened.request, StartWorkload) and reply.code == Code.OK:
            statuses = statuses_of_list(reply.body, read_offset(reply.text))
            if len(statuses) > 1:
                raise RemoteProtocolError(f"one start is answered with {len(statuses)} runs")
        del self._open[opened.id]
        status: WorkloadStatus | None = None
        match opened.request:
            case StartWorkload(wid=wid, gen=gen):
                if reply.code == Code.OK:
                    (status,) = statuses or (None,)
                    if status is None:
                        return RequestLost(opened.id)
                    self._start_of[wid, gen] = status.start_off
                else:
                    self._slot_of.pop((wid, gen), None)
                    self._live.discard((wid, gen))
            case RemoveWorkload(wid=wid, gen=gen):
                if reply.code in (Code.OK, Code.NOT_FOUND):
                    self._slot_of.pop((wid, gen), None)
                    self._start_of.pop((wid, gen), None)
            case _:
                pass
        return Answered(opened.id, reply.code, status, reply.text if reply.code != Code.OK else "")

    def _line(self, request: Request) -> tuple[bytes, tuple[int, None, str] | None]:
        match request:
            case StartWorkload():
                return self._start_line(request)
            case StopWorkload():
                is_kill = request.grace_ms == 0 or request.signal == _KILL
                grace_s = min(MAX_GRACE_S, math.ceil(request.grace_ms / 1000))
                signal = b"KILL" if is_kill else b"%d" % request.signal
                return b"stop %d %d %s %d\n" % (request.wid, request.gen, signal, grace_s), None
            case RemoveWorkload():
                return b"remove %d %d\n" % (request.wid, request.gen), None
            case Reboot():
                return b"", (Code.UNSUPPORTED, None, "a machine behind ssh is rebooted by a hook of its class")
            case ReadStats():
                return b"", (Code.UNSUPPORTED, None, "")
            case SendInput():
                return b"", (Code.UNSUPPORTED, None, "standard input: a job that outlives its connection reads /dev/null; use exec")
            case _:
                assert_never(request)

    def _start_line(self, request: StartWorkload) -> tuple[bytes, tuple[int, None, str] | None]:
        if request.tty:
            return b"", (Code.UNSUPPORTED, None, NO_TTY)
        script = job_script(request)
        run = request.wid, request.gen
        slot = self._slot_of.get(run)
        if slot is None:
            taken = set(self._slot_of.values())
            slot = next((each for each in range(self._slots) if each not in taken), None)
        if slot is None:
            return b"", (Code.BUSY, None, f"all {self._slots} slots are taken")
        self._slot_of[run] = slot
        self._live.add(run)
        tag = request.tag.hex().encode() or b"-"
        return b"start %d %d %d %s %d\n" % (*run, slot, tag, script.count(b"\n")) + script, None


def statuses_of_list(body: bytes, end: int) -> tuple[WorkloadStatus, ...]:
    """Rows of `list`, or the one of `start`. Everything that ended runs said lies before end. Raises RemoteProtocolError."""
    statuses = []
    for row in body.splitlines():
        match = _ROW.fullmatch(row)
        if match is None:
            raise RemoteProtocolError(f"no run: {row[:80]!r}")
        wid, gen, slot, start_off = (int(match[number]) for number in range(1, 5))
        if max(wid, gen) > MAX_U32:
            raise RemoteProtocolError(f"no run: {row[:80]!r}")
        tag = b"" if match[6] == b"-" else bytes.fromhex(match[6].decode())
        if match[5] == b"-":
            statuses.append(WorkloadStatus(wid, gen, slot, WorkloadState.RUNNING, start_off, tag=tag))
        else:
            code = int(match[5])
            statuses.append(_exited(wid, gen, slot, code, start_off=start_off, end_off=max(end, start_off), tag=tag))
    return tuple(statuses)


def _exited(wid: int, gen: int, slot: int, code: int, *, start_off: int, end_off: int, tag: bytes = b"") -> WorkloadStatus:
    signal = code - SIGNALED if SIGNALED < code <= SIGNALED + LAST_SIGNAL else None
    reason = ExitReason.ERROR if code else ExitReason.COMPLETED
    return WorkloadStatus(wid, gen, slot, WorkloadState.EXITED, start_off, end_off, code, signal, reason, tag=tag)

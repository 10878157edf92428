"""The protocol of machines without an agent, over a pipe to their shell: DeviceProtocol through the wrapper of exec_wrapper.sh.

In each connection it sends the wrapper if the target has not got it, says how far it has the log, asks for the list of runs, and from
then on for more of the log at its own pace; requests go in between. Answers come in the order of the questions. It decides nothing about
runs: what is lost with the connection goes on there, and the next list tells.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from transports.errors import RemoteProtocolError, SessionLost
from transports.protocol import (
    ANOTHER_DEVICE,
    GARBAGE,
    Answered,
    Checkpoint,
    Counters,
    Event,
    Gap,
    GapReason,
    Inventoried,
    Inventory,
    Item,
    Joined,
    Left,
    LinkSpent,
    Listed,
    Output,
    Problem,
    ProgramInfo,
    Request,
    RequestId,
    RequestLost,
    WorkloadChanged,
)
from transports.protocols.clock_filter import ClockFilter
from transports.protocols.exec_command import command_line
from transports.protocols.exec_pace import Pace
from transports.protocols.exec_replies import Reply, ReplyReader
from transports.protocols.exec_requests import ExecRequests, OpenRequest, statuses_of_list
from transports.protocols.exec_spool import MAX_U32, SpoolReader, read_offset
from transports.protocols.problem_filter import ProblemFilter

ANSWER_DEADLINE_S: Final = 20.0
"""A target that is busy writing to a slow card may take seconds for an answer."""
REFUSED_AGAIN_S: Final = 5.0
"""How often a stranger is looked at again."""
ANY_PROGRAM: Final = "*"
TARGET_PROBLEM: Final = "TargetProblem"
"""Reason of a Problem: the wrapper on the target cannot work."""

_HELLO: Final = re.compile(rb"\s*([0-9a-f]{8}) ([0-9a-f]{8}) (\d{1,16}) (\S{1,64})\s*")


_Taker = Callable[[Reply, float], None]
"""Who takes an answer."""


class ExecProtocol:
    """See transports.protocol.DeviceProtocol for the contract of each method.

    wrapper is the script for the target. directory is where it keeps what it must, a word for the target's shell; spool_bytes bounds the
    log there. refuses says why a machine must not have a session.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        *,
        wrapper: bytes,
        directory: str,
        slots: int,
        spool_bytes: int,
        rng: random.Random,
        refuses: Callable[[bytes], str | None] = lambda device_id: None,
    ) -> None:
        self._wrapper = wrapper
        self._directory = directory
        self._slots = slots
        self._spool_bytes = spool_bytes
        self._rng = rng
        self._refuses = refuses
        self._epoch = checkpoint.epoch if checkpoint else 0
        self._boot_id = checkpoint.boot_id if checkpoint else 0
        self._uptime_ms = 0
        self._spool = SpoolReader(checkpoint.expected if checkpoint else 0)
        self._stored = self._spool.expected
        self._requests = ExecRequests(slots)
        self._clock = ClockFilter()
        self._problems = ProblemFilter()
        self._pace = Pace()
        self._counters = Counters()
        self._replies = ReplyReader("")
        self._questions: deque[_Taker] = deque()
        self._out: deque[bytes] = deque()
        self._events: list[Event] = []
        self._is_joined = self._is_listed = False
        self._stranger_at: float | None = None
        self._answer_by: float | None = None
        self._has_given_up = False
        """Whatever comes on this link is not listened to: it may be without end."""

    # -- DeviceProtocol

    @property
    def counters(self) -> Counters:
        return self._counters

    def link_up(self, now: float) -> None:
        nonce = f"{self._rng.getrandbits(64):016x}"
        self._replies = ReplyReader(nonce)
        self._spool.rewind()
        self._questions.clear()
        self._out.clear()
        self._stranger_at = None
        self._has_given_up = False
        self._ask(self._boot_line(nonce), self._booted, now)

    def link_down(self, now: float) -> None:
        self._leave("the link was lost")
        self._questions.clear()
        self._out.clear()
        self._answer_by = self._stranger_at = None

    def receive_data(self, data: bytes, now: float) -> None:
        if self._has_given_up:
            return
        try:
            for reply in self._replies.feed(data):
                self._take(reply, now)
        except RemoteProtocolError as error:
            self._counters.rx_bad += 1
            self._tell(GARBAGE, str(error), now)
            self._give_up("the target does not answer as it should")

    @property
    def is_drained(self) -> bool:
        return not self._out

    def data_to_send(self, now: float) -> bytes:
        return self._out.popleft() if self._out else b""

    def events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def stored(self, checkpoint: Checkpoint, now: float) -> None:
        if checkpoint.epoch == self._epoch:
            self._stored = max(self._stored, checkpoint.stored)

    def request(self, request: Request, now: float) -> RequestId:
        if not self._is_listed:
            raise SessionLost("there is no session with the target")
        opened = self._requests.open(request)
        if opened.refusal is not None:
            self._events.append(Answered(opened.id, *opened.refusal))
        else:
            self._ask(opened.line, lambda reply, at: self._answered(opened, reply, at), now)
            self._pace.hurry(now)
        return opened.id

    def command_line(self, argv: Sequence[str], env: Sequence[str], working_dir: str) -> str:
        """See transports.protocol.CommandProtocol."""
        return command_line(argv, env, working_dir)

    def next_deadline(self) -> float | None:
        deadlines = [self._answer_by, self._stranger_at, self._pace.at if self._is_listed and not self._questions else None]
        return min((each for each in deadlines if each is not None), default=None)

    def handle_deadline(self, now: float) -> None:
        if self._answer_by is not None and now >= self._answer_by:
            self._answer_by = None
            self._tell(TARGET_PROBLEM, f"the target does not answer within {ANSWER_DEADLINE_S:g} s", now)
            self._give_up("the target does not answer")
        elif self._stranger_at is not None and now >= self._stranger_at:
            self._stranger_at = None
            self._say_hello(now)
        elif self._is_listed and not self._questions and self._pace.at is not None and now >= self._pace.at:
            if self._pace.is_check_due(now):
                self._ask(b"check\n", self._checked, now)
            else:
                self._ask_log(now)

    # -- questions

    def _ask(self, line: bytes, take: _Taker, now: float) -> None:
        self._out.append(line)
        self._questions.append(take)
        self._counters.tx_frames += 1
        if self._answer_by is None:
            self._answer_by = now + ANSWER_DEADLINE_S

    def _take(self, reply: Reply, now: float) -> None:
        if not self._questions:
            raise RemoteProtocolError("an answer without a question")
        take = self._questions.popleft()
        self._counters.rx_frames += 1
        self._answer_by = now + ANSWER_DEADLINE_S if self._questions else None
        self._uptime_ms = reply.uptime_ms & MAX_U32
        self._clock.add(self._uptime_ms, now)
        take(reply, now)

    def _give_up(self, why: str) -> None:
        """The wrapper is asked to end, and another connection begins anew."""
        self._leave(why)
        self._has_given_up = True
        self._replies = ReplyReader("")
        self._questions.clear()
        self._out.append(b"exit\n")
        self._events.append(LinkSpent(why))
        self._answer_by = self._stranger_at = None

    def _leave(self, why: str) -> None:
        if self._is_joined:
            self._events += [RequestLost(request_id) for request_id in self._requests.close()]
            self._events.append(Left(why))
        self._is_joined = self._is_listed = False

    # -- a session begins

    def _boot_line(self, nonce: str) -> bytes:
        """One line for any shell: the wrapper is sent only to whom has not got this version. What a shell reads ahead of its line would be
        lost for the wrapper, so nothing follows before the answer."""
        version = hashlib.sha256(self._wrapper).hexdigest()[:12]
        answer = f"printf '\\n. {nonce} %s 0.00 %s\\n'"
        return (
            f"d={self._directory}; w=$d/wrapper-{version}; "
            f'if (umask 077; mkdir -p "$d" && {{ [ -s "$w" ] || {{ {answer} 0 send; '
            'while IFS= read -r l && [ "$l" != \'#end\' ]; do printf \'%s\\n\' "$l"; done >"$w.$$"; '
            f'[ "$(($(wc -c <"$w.$$")))" -eq {len(self._wrapper) - len(b"#end") - 1} ] && mv -f "$w.$$" "$w"; }}; }}); '
            f'then exec sh "$w" serve "$d" {nonce}; else {answer} 5 "cannot write to $d"; exit 1; fi\n'
        ).encode("utf-8", "surrogateescape")

    def _booted(self, reply: Reply, now: float) -> None:
        if reply.code == 0 and reply.text == "send":
            self._ask(self._wrapper, self._booted, now)
        elif reply.code == 0:
            self._clock.clear()
            self._say_hello(now)
        else:
            self._tell(TARGET_PROBLEM, reply.text, now)

    def _say_hello(self, now: float) -> None:
        self._ask(b"hello %08x %d %d\n" % (self._epoch, self._spool.expected, self._spool_bytes), self._met, now)

    def _met(self, reply: Reply, now: float) -> None:
        if reply.code != 0:
            self._tell(TARGET_PROBLEM, reply.text, now)
            self._stranger_at = now + REFUSED_AGAIN_S
            return
        told = _HELLO.fullmatch(reply.body)
        if told is None:
            raise RemoteProtocolError("the target says nothing of itself that makes sense")
        epoch, boot_id, boot_off, machine = int(told[1], 16), int(told[2], 16), int(told[3]), told[4]
        device_id = bytes.fromhex(machine.decode()) if re.fullmatch(rb"[0-9a-f]{32}", machine) else epoch.to_bytes(4, "big")
        why = self._refuses(device_id)
        if why is not None:
            self._tell(ANOTHER_DEVICE, why, now)
            self._stranger_at = now + REFUSED_AGAIN_S
            return
        self._join(device_id, epoch, boot_id, boot_off, now)
        self._ask(b"list\n", self._listed, now)

    def _join(self, device_id: bytes, epoch: int, boot_id: int, boot_off: int, now: float) -> None:
        if epoch != self._epoch:
            self._begin_epoch(epoch, boot_id, now)
        is_new_boot = boot_id != self._boot_id
        self._boot_id = boot_id
        self._counters.sessions += 1
        self._is_joined = True
        self._requests.forget_slots()
        self._events.append(Joined(device_id, boot_id, epoch, is_new_boot, 0, 0, boot_off, self._clock.best(now)))
        self._put([], now)

    def _begin_epoch(self, epoch: int, boot_id: int, now: float) -> None:
        """Another directory than before, or an emptied one: the old log's end was never seen, which its last gap says."""
        old_epoch, old_end = self._epoch, self._spool.expected
        self._epoch, self._spool, self._stored = epoch, SpoolReader(0), 0
        if old_epoch:
            gap = Gap(old_end, None, None, GapReason.UNKNOWN)
            self._events.append(Output(old_epoch, (gap,), Checkpoint(boot_id, epoch, 0), self._clock.best(now)))

    def _listed(self, reply: Reply, now: float) -> None:
        if reply.code != 0:
            self._tell(TARGET_PROBLEM, reply.text, now)
            self._leave(reply.text)
            self._stranger_at = now + REFUSED_AGAIN_S
            return
        statuses = statuses_of_list(reply.body, read_offset(reply.text))
        self._requests.listed(statuses)
        self._is_listed = True
        self._events.append(Listed(statuses))
        self._events.append(Inventoried(Inventory((ProgramInfo(ANY_PROGRAM),), self._slots)))
        self._pace.begin(now)

    # -- the log

    def _ask_log(self, now: float) -> None:
        self._ask(b"read %d %d\n" % (self._spool.position, self._stored), self._read, now)

    def _read(self, reply: Reply, now: float) -> None:
        if not self._is_listed:
            return
        if reply.text.startswith("gap "):
            end = read_offset(reply.text[4:])
            if end <= self._spool.position:
                raise RemoteProtocolError(f"the log goes on at {end}, before {self._spool.position}")
            self._put(self._spool.skip(end), now)
            self._pace.heard(1, self._requests.has_live, now)
            return
        items, ends, bad = self._spool.feed(reply.body)
        if bad:
            self._counters.rx_bad += bad
            self._tell(GARBAGE, f"{bad} lines of the log on the target are none", now)
        if reply.body:
            self._put(items, now)
        for ended in ends:
            self._events.append(WorkloadChanged(self._requests.ended(ended)))
        self._pace.heard(len(reply.body), self._requests.has_live, now)

    def _put(self, items: list[Item], now: float) -> None:
        checkpoint = Checkpoint(self._boot_id, self._epoch, self._spool.expected, b"", 0, self._uptime_ms)
        self._events.append(Output(self._epoch, tuple(items), checkpoint, self._clock.best(now)))

    def _checked(self, reply: Reply, now: float) -> None:
        self._pace.checked(now)
        if reply.text != "ok":
            self._leave("a process of the wrapper on the target was killed")
            self._say_hello(now)

    # -- requests

    def _answered(self, opened: OpenRequest, reply: Reply, now: float) -> None:
        answer = self._requests.answered(opened, reply)
        if answer is not None:
            self._events.append(answer)

    def _tell(self, reason: str, message: str, now: float) -> None:
        if self._problems.is_news(f"{reason}: {message}", now):
            self._events.append(Problem(reason, message))

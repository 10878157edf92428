"""A machine with Python as a device that speaks frames: DeviceProtocol over a pipe to its shell.

Before the first frame the agent is put there, if it is not there in this version, and started; then everything is FramedProtocol's. Pure.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Final

from transports.protocol import GARBAGE, Checkpoint, Counters, Event, LinkSpent, Problem, Request, RequestId
from transports.protocols.exec_command import command_line, quoted
from transports.protocols.framed import FramedProtocol
from transports.protocols.problem_filter import ProblemFilter

BOOT_DEADLINE_S: Final = 20.0
"""For each answer: a small target that reads Python from a slow card takes seconds."""
PUT_DEADLINE_S: Final = 120.0
"""For its file: 80 KB at the 10 kbit/s of a bad radio link."""
MAX_NOISE_BYTES: Final = 65536
"""What a login may print before."""
PIECE_BYTES: Final = 8192
TARGET_PROBLEM: Final = "TargetProblem"
"""Reason of a Problem: nobody answers there. Why the agent cannot be put or started is said by the end of the link."""


class AgentProtocol:
    """See transports.protocol.DeviceProtocol for the contract of each method.

    put is the program that python runs on the target to get the agent's source, with arguments.
    """

    def __init__(
        self, framed: FramedProtocol, *, agent: bytes, put: str, python: str, arguments: Sequence[str], rng: random.Random
    ) -> None:
        self._framed = framed
        self._agent = agent
        self._put = put
        self._python = python
        self._arguments = arguments
        self._rng = rng
        self._problems = ProblemFilter()
        self._events: list[Event] = []
        self._out = b""
        self._heard = b""
        self._mark = b""
        """How each answer begins; no login can know it."""
        self._is_framed = False
        self._answer_by: float | None = None
        self._patience_s = BOOT_DEADLINE_S

    # -- before the first frame

    def _command(self, nonce: str) -> bytes:
        """One line for any shell. What a shell reads ahead of it would be lost for the agent, so nothing follows before an answer."""
        digest = hashlib.sha256(self._agent).hexdigest()
        words = [self._python, "-I", "-c", self._put, nonce, digest, str(len(self._agent)), *self._arguments]
        return f"exec {' '.join(map(quoted, words))}\n".encode("utf-8", "surrogateescape")

    def _hear(self, data: bytes, now: float) -> None:
        self._heard += data
        begin = self._heard.find(self._mark)
        end = self._heard.find(b"\n", begin + len(self._mark))
        if begin < 0 or end < 0:
            if len(self._heard) > MAX_NOISE_BYTES:
                self._give_up(GARBAGE, f"{MAX_NOISE_BYTES} bytes came before the agent said anything", now)
            return
        told = self._heard[begin + len(self._mark) : end].decode("utf-8", "replace")
        rest, self._heard = self._heard[end + 1 :], b""
        if told == "send":
            self._out = self._agent
            self._answer_in(PUT_DEADLINE_S, now)
        elif told == "ok":
            self._is_framed, self._answer_by = True, None
            self._framed.link_up(now)
            self._framed.receive_data(rest, now)
        else:
            self._give_up(GARBAGE, f"the target says {told[:80]!r}", now)

    def _answer_in(self, patience_s: float, now: float) -> None:
        self._patience_s, self._answer_by = patience_s, now + patience_s

    def _give_up(self, reason: str, message: str, now: float) -> None:
        """Whatever is there is asked to end, and another link begins anew."""
        self._answer_by = None
        self._heard, self._out = b"", b"\nexit\n"
        if self._problems.is_news(f"{reason}: {message}", now):
            self._events.append(Problem(reason, message))
        self._events.append(LinkSpent(message))

    # -- DeviceProtocol

    @property
    def counters(self) -> Counters:
        return self._framed.counters

    @property
    def read_pause_s(self) -> float:
        return self._framed.read_pause_s

    def link_up(self, now: float) -> None:
        nonce = f"{self._rng.getrandbits(64):016x}"
        self._mark = f"\n. {nonce} ".encode()
        self._is_framed, self._heard = False, b""
        self._out = self._command(nonce)
        self._answer_in(BOOT_DEADLINE_S, now)

    def link_down(self, now: float) -> None:
        self._out, self._answer_by = b"", None
        if self._is_framed:
            self._is_framed = False
            self._framed.link_down(now)

    def receive_data(self, data: bytes, now: float) -> None:
        if self._is_framed:
            self._framed.receive_data(data, now)
        else:
            self._hear(data, now)

    @property
    def is_drained(self) -> bool:
        return self._framed.is_drained if self._is_framed else not self._out

    def data_to_send(self, now: float) -> bytes:
        if self._is_framed:
            return self._framed.data_to_send(now)
        data, self._out = self._out[:PIECE_BYTES], self._out[PIECE_BYTES:]
        return data

    def events(self) -> list[Event]:
        events, self._events = self._events, []
        return events + self._framed.events()

    def stored(self, checkpoint: Checkpoint, now: float) -> None:
        self._framed.stored(checkpoint, now)

    def request(self, request: Request, now: float) -> RequestId:
        return self._framed.request(request, now)

    def command_line(self, argv: Sequence[str], env: Sequence[str], working_dir: str) -> str:
        """See transports.protocol.CommandProtocol: another command needs no agent."""
        return command_line(argv, env, working_dir)

    def next_deadline(self) -> float | None:
        return self._framed.next_deadline() if self._is_framed else self._answer_by

    def handle_deadline(self, now: float) -> None:
        if self._is_framed:
            self._framed.handle_deadline(now)
        elif self._answer_by is not None and now >= self._answer_by:
            self._give_up(TARGET_PROBLEM, f"the target does not answer within {self._patience_s:g} s", now)

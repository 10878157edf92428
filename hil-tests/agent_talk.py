"""A gateway's core that talks to a real agent over two pipes: no sshd, no pods, every answer of the protocol to be seen."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from transports.agent import wirelet_agent
from transports.protocol import Answered, Checkpoint, Event, Listed, Output, Record, Request, StartWorkload, WorkloadChanged, WorkloadStatus
from transports.protocols.framed import FramedProtocol
from transports.tests.taken_apart import taken_apart
from transports.wire.messages import Request as WireRequest
from transports.wire.messages import encode_control
from transports.wire.numbers import Body, Method

WAIT_S: Final = 20.0
READ_BYTES: Final = 65536
RAW_RID: Final = 60000
"""Of requests that no caller of a gateway can make; no test makes so many others."""


class AgentTalk:
    """connect() begins, and begins anew after hang_up() or kill(). What was stored stays.

    before: words of what starts the agent. keepalive_s: 0 for none.
    """

    keepalive_s = 1.0

    def __init__(self, directory: Path, *options: str, python: str = sys.executable, before: Sequence[str | bytes] = ()) -> None:
        self._argv: list[str | bytes] = [*before, python, wirelet_agent.__file__, "--directory", str(directory), *options]
        self._directory = directory
        self._front: subprocess.Popen[bytes] | None = None
        self._core: FramedProtocol
        self.checkpoint: Checkpoint | None = None
        self.events: list[Event] = []
        self.records: list[Record] = []

    @property
    def server(self) -> int:
        return int((self._directory / "agent.lock").read_text())

    def connect(self) -> tuple[WorkloadStatus, ...]:
        """What the agent lists."""
        self._front = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._core = FramedProtocol(self.checkpoint, gateway_id=1, keepalive_s=self.keepalive_s, rng=random.Random(), has_directories=True)
        self._core.link_up(time.monotonic())
        self.events = []
        listed = self.until(lambda: next((event for event in self.events if isinstance(event, Listed)), None))
        return tuple(listed.workloads)

    def try_to_connect(self) -> str:
        """Why it cannot be."""
        tried = subprocess.run(self._argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=WAIT_S, check=False)
        assert (tried.returncode, tried.stdout) == (1, "")
        return tried.stderr

    def hang_up(self) -> None:
        """The connection is gone."""
        assert self._front is not None
        self._front.kill()
        self._front.communicate()

    def close(self) -> None:
        """With the server."""
        if self._front is not None:
            self.hang_up()
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(self.server, signal.SIGTERM)

    def until(self, met: Callable[[], Any], what: str = "it") -> Any:
        """Talk until it is met."""
        deadline = time.monotonic() + WAIT_S
        while not (value := met()):
            assert time.monotonic() < deadline, f"{what}: not within {WAIT_S:g} s; {self.events[-5:]}"
            self._talk()
        return value

    def _talk(self) -> None:
        assert self._front is not None
        assert self._front.stdin is not None
        assert self._front.stdout is not None
        core = self._core
        while data := core.data_to_send(time.monotonic()):
            self._front.stdin.write(data)
            self._front.stdin.flush()
        if select.select([self._front.stdout], [], [], 0.02)[0]:
            core.receive_data(os.read(self._front.stdout.fileno(), READ_BYTES), time.monotonic())
        now = time.monotonic()
        if (at := core.next_deadline()) is not None and at <= now:
            core.handle_deadline(now)
        for event in core.events():
            self.events.append(event)
            if isinstance(event, Output):
                self.records += [item for item in taken_apart(event.items) if isinstance(item, Record)]
                self.checkpoint = event.checkpoint
                core.stored(event.checkpoint, now)

    def ask(self, request: Request) -> Answered:
        request_id = self._core.request(request, time.monotonic())

        def found() -> Answered | None:
            return next((event for event in self.events if isinstance(event, Answered) and event.request_id == request_id), None)

        answer: Answered = self.until(found, str(request))
        return answer

    def start(self, *argv: str, wid: int = 1, gen: int = 1, env: Sequence[str] = (), **more: Any) -> Answered:
        return self.ask(StartWorkload(wid, gen, "host", argv, tuple(env), **more))

    def ask_raw(self, method: Method, body: Body) -> None:
        """What a gateway does not ask yet; nobody waits for the answer."""
        assert self._core._session.send(encode_control(WireRequest(RAW_RID, method, body)))

    def ended(self, wid: int = 1) -> WorkloadStatus:
        def found() -> WorkloadStatus | None:
            told = (event.status for event in self.events if isinstance(event, WorkloadChanged))
            return next((status for status in told if status.wid == wid and status.end_off is not None), None)

        status: WorkloadStatus = self.until(found, "the end")
        return status

    def said(self, slot: int = 0) -> list[bytes]:
        return [record.data for record in self.records if record.slot == slot and record.start is None]

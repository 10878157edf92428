"""A target without sshd: a real shell behind two pipes, and an ExecProtocol at their other end.

What the shell starts outlives it as it would there. `Target` is the machine, `Session` a gateway with its connection. Time is real, and
every wait has a deadline.
"""

from __future__ import annotations

import os
import random
import selectors
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final, TypeVar

import remembered

from transports.protocol import (
    Answered,
    Checkpoint,
    Event,
    Gap,
    Joined,
    Listed,
    Output,
    Record,
    RecordKind,
    Request,
    RequestLost,
    StartWorkload,
    WorkloadChanged,
    WorkloadState,
    WorkloadStatus,
)
from transports.protocols.exec_command import quoted
from transports.protocols.exec_protocol import ExecProtocol

SHELLS: Final = ("dash", "busybox")
WRAPPER: Final = resources.files("transports.protocols").joinpath("exec_wrapper.sh").read_bytes()
DEADLINE_S: Final = 20.0
APPLETS: Final = (
    *("sh", "cat", "dd", "echo", "env", "false", "grep", "head", "kill", "mkdir", "mkfifo", "mv", "printf", "rm", "seq"),
    *("setsid", "sleep", "tail", "tr", "true", "wc", "yes"),
)
"""All that jobs and wrapper find on the busybox target: nothing of this machine's own."""

E = TypeVar("E")


class Target:
    """One machine with a shell of that kind; its wrapper keeps things in directory."""

    def __init__(self, folder: Path, shell: str, *, spool_bytes: int = 16 << 20, slots: int = 4) -> None:
        self.directory = folder / "state" / "dev"
        self.spool_bytes = spool_bytes
        self.slots = slots
        self.path = os.environ["PATH"]
        if shell == "busybox":
            busybox = shutil.which("busybox")
            assert busybox is not None
            applets = folder / "bin"
            applets.mkdir()
            for name in APPLETS:
                (applets / name).symlink_to(busybox)
            self.path = str(applets)
        self.shell = [shutil.which("sh", path=self.path) or "sh"]
        self.home = folder / "home"
        self.home.mkdir()

    def protocol(self, checkpoint: Checkpoint | None = None, seed: int = 1) -> ExecProtocol:
        return ExecProtocol(
            checkpoint,
            wrapper=WRAPPER,
            directory=quoted(str(self.directory)),
            slots=self.slots,
            spool_bytes=self.spool_bytes,
            rng=random.Random(seed),
        )

    def reboot(self) -> None:
        """Every process is gone; files stay, and so does the kernel here: that it is another boot is told by what the wrapper remembers."""
        self.clear()
        (self.directory / "boot").write_text("00000000 0\n")

    def clear(self) -> None:
        """End all of it. A tagger is in its supervisor's group."""
        remembered.end(self.directory)


@dataclass
class Session:
    """A gateway's side: core, connection and store. Stored output is acknowledged, as a supervisor does."""

    target: Target
    core: ExecProtocol
    events: list[Event] = field(default_factory=list)
    checkpoint: Checkpoint | None = None
    items: list[Record | Gap] = field(default_factory=list)
    stores: bool = True
    shell: subprocess.Popen[bytes] | None = None

    def connect(self) -> None:
        self.shell = subprocess.Popen(
            self.target.shell,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": self.target.path, "HOME": str(self.target.home), "LANG": "C.UTF-8"},
            start_new_session=True,
        )
        assert self.shell.stdout is not None
        os.set_blocking(self.shell.stdout.fileno(), False)
        self.core.link_up(time.monotonic())

    def drop(self) -> None:
        """The connection is gone, and with it the shell at its end; nothing else on the target."""
        assert self.shell is not None
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        self.shell.kill()
        self.shell.wait()
        self.shell.stdin.close()
        self.shell.stdout.close()
        self.shell = None
        self.core.link_down(time.monotonic())
        self._take_events()

    def wait(self, met: Callable[[], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
        """Move bytes and time until met."""
        give_up_at = time.monotonic() + deadline_s
        while not met():
            assert time.monotonic() < give_up_at, f"{what}: not within {deadline_s:g} s; {self.events[-5:]}"
            self._turn()

    def wait_for(self, kind: type[E], met: Callable[[E], bool] = lambda event: True) -> E:
        """The first such event from now on or of before; it is taken out."""
        found: list[E] = []

        def look() -> bool:
            for event in self.events:
                if isinstance(event, kind) and met(event):
                    found.append(event)
                    self.events.remove(event)
                    return True
            return False

        self.wait(look, str(kind))
        return found[0]

    def join(self) -> Listed:
        self.connect()
        self.wait_for(Joined)
        return self.wait_for(Listed)

    def request(self, request: Request) -> Answered:
        request_id = self.core.request(request, time.monotonic())
        answer = self.wait_for(Answered | RequestLost, lambda event: event.request_id == request_id)  # type: ignore[arg-type]  # a union
        assert isinstance(answer, Answered), answer
        return answer

    def start(self, *argv: str, wid: int = 7, gen: int = 1, **more: object) -> WorkloadStatus:
        request = StartWorkload(wid, gen, "program", argv, **{"tag": b"\x01\x02", **more})  # type: ignore[arg-type]  # fields by name
        answer = self.request(request)
        assert answer.status is not None, answer
        return answer.status

    def end_of(self, wid: int = 7) -> WorkloadStatus:
        is_end = lambda event: event.status.wid == wid and event.status.state is WorkloadState.EXITED  # noqa: E731 - one line
        return self.wait_for(WorkloadChanged, is_end).status

    def lines(self, slot: int | None = None, kind: RecordKind = RecordKind.STDOUT) -> list[bytes]:
        """Of what is stored."""
        records = [item for item in self.items if isinstance(item, Record)]
        return [record.data for record in records if record.kind == kind and slot in (None, record.slot)]

    def _turn(self) -> None:
        assert self.shell is not None
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        now = time.monotonic()
        deadline = self.core.next_deadline()
        if deadline is not None and deadline <= now:
            self.core.handle_deadline(now)
        while data := self.core.data_to_send(now):
            with suppress(BrokenPipeError):
                self.shell.stdin.write(data)
                self.shell.stdin.flush()
        wait_s = 0.1 if deadline is None else max(0.0, min(0.1, deadline - now))
        with selectors.DefaultSelector() as selector:
            selector.register(self.shell.stdout, selectors.EVENT_READ)
            if selector.select(wait_s) and (data := self.shell.stdout.read(65536)):
                self.core.receive_data(data, time.monotonic())
        self._take_events()

    def _take_events(self) -> None:
        for event in self.core.events():
            if not isinstance(event, Output):
                self.events.append(event)
            elif self.stores:
                self.items += [item for item in event.items if isinstance(item, Record | Gap)]
                self.checkpoint = event.checkpoint
                self.core.stored(event.checkpoint, time.monotonic())


@contextmanager
def target(folder: Path, shell: str, **options: int) -> Iterator[Target]:
    made = Target(folder, shell, **options)
    try:
        yield made
    finally:
        made.clear()


@contextmanager
def session(of: Target, checkpoint: Checkpoint | None = None, seed: int = 1) -> Iterator[Session]:
    made = Session(of, of.protocol(checkpoint, seed))
    try:
        yield made
    finally:
        if made.shell is not None:
            made.drop()

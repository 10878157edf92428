"""Who may type to a run, for how long, and what becomes of it when the device says no."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from gateway.devices.board import Board
from gateway.devices.ledger import Entry
from gateway.devices.output import DeviceOutput
from gateway.devices.runs import Runs
from gateway.devices.talks import Ended, Piece, TalkRefused, Talks
from gateway.logs.checkpoint import CheckpointFile, checkpoint_path
from gateway.logs.store import LogStore
from gateway.pods.seams import AttemptState, Program
from transports.errors import DeviceError, LinkLost, SessionLost, TransportError
from transports.link import CommandEnd, CommandOutput, TerminalSize
from transports.protocol import MAX_INPUT_BYTES, Request, SendInput, WorkloadStatus
from transports.wire.numbers import Code

RUN = Entry("uid", "main", 2, "default", "hello", "dev", 7, AttemptState.RUNNING.value)
PROGRAM = Program("image", ("run",), (("V", "1"),), working_dir="/srv")


class FakeTalker:
    """A supervisor of a device that takes input and runs commands, until it is told to say no."""

    def __init__(self) -> None:
        self.asked: list[SendInput] = []
        self.commands: list[tuple[object, ...]] = []
        self.watchers = 0
        self.typed_to: list[tuple[int, int]] = []
        self.says_no: TransportError | None = None
        self.tells: list[CommandOutput | CommandEnd | LinkLost] = []
        self.is_closed = False
        self.has_ended_input = False

    async def request(self, request: Request) -> WorkloadStatus | None:
        assert isinstance(request, SendInput)
        if self.says_no is not None:
            raise self.says_no
        self.asked.append(request)
        return None

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        self.watchers += 1
        yield
        self.watchers -= 1

    @contextlib.contextmanager
    def typing(self, wid: int, gen: int) -> Iterator[None]:
        self.typed_to.append((wid, gen))
        yield
        self.typed_to.remove((wid, gen))

    async def run_command(
        self,
        beside: tuple[int, int],
        argv: Sequence[str],
        env: Sequence[str],
        working_dir: str,
        terminal: tuple[str, TerminalSize] | None,
    ) -> FakeTalker:
        if self.says_no is not None:
            raise self.says_no
        self.commands.append((beside, argv, env, working_dir, terminal))
        return self

    async def receive(self) -> CommandOutput | CommandEnd:
        told = self.tells.pop(0)
        if isinstance(told, LinkLost):
            raise told
        return told

    async def send(self, data: bytes) -> None:
        self.commands.append((data,))

    def end_input(self) -> None:
        self.has_ended_input = True

    def resize(self, size: TerminalSize) -> None:
        self.commands.append((size,))

    async def aclose(self) -> None:
        self.is_closed = True


class Table:
    def __init__(self, folder: Path, entry: Entry = RUN) -> None:
        self.device = FakeTalker()
        runs = Runs([entry])
        self._logs = LogStore(folder / "logs", budget_bytes=1 << 20)
        self._checkpoint = CheckpointFile(checkpoint_path(folder, "dev"))
        output = DeviceOutput("dev", self._logs, self._checkpoint, runs)
        self.board = Board("dev", "c", 1, True, 30.0, "link", self.device, output)
        self.talks = Talks({"dev": self.board}, {"dev": self.device}, runs)

    def close(self) -> None:
        self._logs.close()
        self._checkpoint.close()


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    with contextlib.closing(Table(tmp_path)) as made:
        yield made


async def test_what_is_typed_goes_to_the_run_in_pieces_that_fit(table: Table) -> None:
    with table.talks.typing("uid", "main", "alice") as typist:
        await typist.send(b"x" * MAX_INPUT_BYTES + b"y", is_end=True)
        await typist.send(b"", is_end=True)
    assert [(asked.wid, asked.gen, len(asked.data), asked.is_end) for asked in table.device.asked] == [
        (7, 2, MAX_INPUT_BYTES, False),
        (7, 2, 1, True),
        (7, 2, 0, True),
    ]


def test_one_types_at_a_time_and_everybody_sees_who(table: Table) -> None:
    with table.talks.typing("uid", "main", "alice\x1b[2J" + "x" * 500):
        assert list(table.board.typists.values()) == ["alice?[2J" + "x" * 111]
        assert table.device.typed_to == [(7, 2)]
        with (
            pytest.raises(TalkRefused, match=r"alice.* types to container main on dev; look on without -i"),
            table.talks.typing("uid", "main", "bob"),
        ):
            pass
        with table.talks.watching("uid", "main"), table.talks.watching("uid", "main"):
            assert table.device.watchers == 2
    assert table.board.typists == {}
    assert table.device.typed_to == []
    assert table.device.watchers == 0
    with table.talks.typing("uid", "main", "bob"):
        pass


@pytest.mark.parametrize(
    ("no", "text"),
    [
        (DeviceError(Code.BUSY, "the console is busy"), "device dev takes no input: the console is busy"),
        (SessionLost("the session ended"), "device dev: the session ended; what was typed last may not have arrived"),
        (LinkLost("pulled"), "device dev: pulled"),
    ],
)
async def test_a_device_that_says_no_is_heard(table: Table, no: TransportError, text: str) -> None:
    table.device.says_no = no
    with table.talks.typing("uid", "main", "alice") as typist, pytest.raises(TalkRefused, match=text):
        await typist.send(b"x")


@pytest.mark.parametrize("changes", [{"state": AttemptState.EXITED.value}, {"device": "gone"}, {"container": "other"}])
def test_what_does_not_run_hears_nobody(tmp_path: Path, changes: dict[str, str]) -> None:
    entry = Entry(
        **{**{name: getattr(RUN, name) for name in ("uid", "container", "gen", "namespace", "pod", "device", "wid", "state")}, **changes}
    )
    with contextlib.closing(Table(tmp_path, entry)) as table:
        with pytest.raises(TalkRefused, match="container main is not running"), table.talks.typing("uid", "main", "alice"):
            pass
        with pytest.raises(TalkRefused, match="container main is not running"), table.talks.watching("uid", "main"):
            pass


async def test_a_command_has_the_environment_of_the_container(table: Table) -> None:
    table.device.tells = [CommandOutput(b"out", False), CommandEnd(3), LinkLost("pulled")]
    async with table.talks.command("uid", "main", PROGRAM, ["ls"], ("xterm", 80, 24)) as command:
        assert [await command.receive(), await command.receive()] == [Piece(b"out", False), Ended(3, "")]
        await command.send(b"in", is_end=True)
        command.resize(1, 2)
        with pytest.raises(TalkRefused, match="pulled"):
            await command.receive()
    size = TerminalSize(80, 24)
    assert table.device.commands == [((7, 2), ["ls"], ["V=1"], "/srv", ("xterm", size)), (b"in",), (TerminalSize(1, 2),)]
    assert table.device.has_ended_input
    assert table.device.is_closed


@pytest.mark.parametrize("no", [DeviceError(Code.UNSUPPORTED, "nothing but its workloads"), LinkLost("pulled")])
async def test_a_command_that_cannot_be_is_refused(table: Table, no: TransportError) -> None:
    table.device.says_no = no
    with pytest.raises(TalkRefused, match=r"exec on device dev: (nothing but its workloads|pulled)"):
        async with table.talks.command("uid", "main", PROGRAM, ["ls"], None):
            pass

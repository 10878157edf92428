"""What a supervisor does for one device, seen from its sink and from the device's end of a real pty."""

from __future__ import annotations

import fcntl
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

from transports import baud_watch, line_watch
from transports.cable import ABSENT_DELAY_S
from transports.delivery import MAX_UNHANDLED_BYTES
from transports.device import Device
from transports.errors import DeviceError, LinkBusy, LinkError, LinkLost, LinkNotFound, LinkTimeout, LocalProtocolError, SessionLost
from transports.link import MAX_READ_BYTES, LineErrors, Link, LinkOpener
from transports.protocol import Event, Joined, Left, Listed, Output, Problem, RemoveWorkload, StartWorkload, WorkloadState
from transports.pump import BUSY_READ_BYTES
from transports.serial import SerialLink, SerialLinkOpener
from transports.tests.line_protocol import LineProtocol
from transports.tests.pty_end import PtyEnd
from transports.tests.taken_apart import records_in

START = StartWorkload(wid=7, gen=1, program="hello")
DEADLINE_S = 8
"""Never reached when things work."""


class Board:
    """The device: a pty behind a stable path, and the lines it gets."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ends: list[PtyEnd] = []
        self._half_line = b""
        self._lines: list[str] = []

    @property
    def end(self) -> PtyEnd:
        return self.ends[-1]

    def plug(self) -> None:
        self.ends.append(PtyEnd())
        self._half_line, self._lines = b"", []
        self.path.symlink_to(self.end.path)

    def unplug(self) -> None:
        self.path.unlink()
        self.end.close()

    async def say(self, *lines: str) -> None:
        await self.end.send("".join(f"{line}\n" for line in lines).encode())

    async def next_line(self) -> str:
        while not self._lines:
            *lines, self._half_line = (self._half_line + await self.end.receive()).split(b"\n")
            self._lines += [line.decode() for line in lines]
        return self._lines.pop(0)

    async def expect(self, beginning: str) -> str:
        line = await self.next_line()
        assert line.startswith(beginning)
        return line

    async def join(self, boot: int = 1) -> None:
        await self.expect("who?")
        await self.say(f"hello {boot}")


@dataclass
class Notes:
    """A DeviceSink that writes everything down; with a `gate` it settles slowly what follows from what is stored."""

    heard: list[object] = field(default_factory=list)
    gate: anyio.Event | None = None
    changed: anyio.Event = field(default_factory=anyio.Event)
    calls_at_once: int = 0

    def store(self, device: str, output: Output) -> bool:
        assert self.calls_at_once == 0
        self._note(output)
        return self.gate is not None

    async def settle(self, device: str) -> None:
        async with self._alone():
            if self.gate is not None:
                await self.gate.wait()

    async def happened(self, device: str, event: Event) -> None:
        async with self._alone():
            self._note(event)

    async def link_changed(self, device: str, error: Exception | None) -> None:
        async with self._alone():
            self._note(error)

    async def until(self, kind: type | None, count: int = 1) -> None:
        """The sink heard that many of this kind; None is an open link."""
        with anyio.fail_after(DEADLINE_S):
            while len([note for note in self.heard if (note is None if kind is None else isinstance(note, kind))]) < count:
                self.changed = anyio.Event()
                await self.changed.wait()

    def lines(self) -> list[bytes]:
        return [record.data for note in self.heard if isinstance(note, Output) for record in records_in(note.items)]

    def of(self, *kinds: type) -> list[type]:
        return [type(note) for note in self.heard if isinstance(note, kinds)]

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        self.calls_at_once += 1
        assert self.calls_at_once == 1
        await anyio.lowlevel.checkpoint()
        yield
        self.calls_at_once -= 1

    def _note(self, note: object) -> None:
        self.heard.append(note)
        self.changed.set()


@dataclass
class Bench:
    board: Board
    notes: Notes
    device: Device
    stop: Callable[[], None]
    stopped: anyio.Event


async def eventually(holds: Callable[[], bool]) -> None:
    """For what no event tells of, because the sink is held up."""
    while not holds():  # noqa: ASYNC110 - see above
        await anyio.sleep(0.001)


@asynccontextmanager
async def bench(
    folder: Path,
    *,
    ping_s: float | None = None,
    protocol: LineProtocol | None = None,
    opener: LinkOpener | None = None,
    plugged: bool = True,
    request_deadline_s: float = 30,
    read_pause_s: float = 0,
) -> AsyncIterator[Bench]:
    board, notes = Board(folder / "board"), Notes()
    if plugged:
        board.plug()
    device = Device(
        "board-a",
        opener or SerialLinkOpener(str(board.path)),
        protocol or LineProtocol(ping_s=ping_s),
        notes,
        rng=random.Random(1),
        open_deadline_s=0.05 if opener else 5,
        request_deadline_s=request_deadline_s,
        read_pause_s=lambda: read_pause_s,
    )
    life, stopped = anyio.CancelScope(), anyio.Event()

    async def live() -> None:
        with life:
            await device.run()
        stopped.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(live)
        try:
            yield Bench(board, notes, device, life.cancel, stopped)
        finally:
            life.cancel()
    for end in board.ends:
        end.close()


# -- sessions and requests


async def test_a_plugged_device_joins_and_answers(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, anyio.create_task_group() as tasks:
        ready = [b.device.is_ready]
        await b.board.join()
        await b.notes.until(Listed)
        ready.append(b.device.is_ready)
        assert ready == [False, True]
        assert b.device.link_error is None

        async def answer() -> None:
            assert "hello" in await b.board.expect("do 1 StartWorkload")
            await b.board.say("ok 1")

        tasks.start_soon(answer)
        status = await b.device.request(START)
        assert status is not None
        assert (status.wid, status.gen, status.state) == (7, 1, WorkloadState.RUNNING)
        assert b.notes.of(type(None), Joined, Listed) == [type(None), Joined, Listed]


async def test_a_no_of_the_device_is_raised_with_its_code_and_text(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.board.join()
        await b.notes.until(Listed)
        await b.board.say("no 1 4 slot is busy")
        async with anyio.create_task_group() as tasks:

            async def answer() -> None:
                await b.board.expect("do 1")

            tasks.start_soon(answer)
            with pytest.raises(DeviceError, match="slot is busy") as refused:
                await b.device.request(START)
        assert refused.value.code == 4


async def test_requests_may_overlap_and_each_gets_its_own_answer(tmp_path: Path) -> None:
    answers: dict[int, object] = {}
    async with bench(tmp_path) as b:
        await b.board.join()
        await b.notes.until(Listed)
        async with anyio.create_task_group() as tasks:

            async def ask(wid: int) -> None:
                status = await b.device.request(StartWorkload(wid=wid, gen=1, program="p"))
                answers[wid] = status and status.wid

            for wid in (11, 12, 13):
                tasks.start_soon(ask, wid)
            for _ in range(3):
                await b.board.expect("do")
            await b.board.say("ok 3", "ok 1", "ok 2")
    assert answers == {11: 11, 12: 12, 13: 13}


async def test_without_a_session_a_request_is_refused_at_once(tmp_path: Path) -> None:
    async with bench(tmp_path, plugged=False) as b:
        with pytest.raises(SessionLost):
            await b.device.request(START)


async def test_a_request_that_cannot_fit_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.board.join()
        await b.notes.until(Listed)
        with pytest.raises(LocalProtocolError, match="exceeds 4096"):
            await b.device.request(StartWorkload(wid=1, gen=1, program="x" * 5000))


async def test_an_answer_that_never_comes_ends_at_the_deadline(tmp_path: Path) -> None:
    async with bench(tmp_path, request_deadline_s=0.05) as b:
        await b.board.join()
        await b.notes.until(Listed)
        with pytest.raises(SessionLost, match=r"no answer to RemoveWorkload within 0\.05 s"):
            await b.device.request(RemoveWorkload(1, 1))
        await b.board.say("ok 1", "log the late answer disturbed nothing")
        await b.notes.until(Output)


# -- the cable


async def test_a_lent_port_is_closed_and_opened_again_afterwards(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.board.join()
        await b.notes.until(Listed)
        async with b.device.lent("me: esptool") as address:
            assert address == str(b.board.path)
            assert str(b.device.link_error).endswith("lent to me: esptool")
            fd = os.open(address, os.O_RDWR | os.O_NOCTTY)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody else has it
            os.close(fd)
            with pytest.raises(LinkBusy, match="lent to me: esptool"):
                async with b.device.lent("you"):
                    pass
            assert not b.device.is_ready
        await b.board.join()
        await b.notes.until(Listed, 2)
        assert b.device.is_ready


async def test_a_link_that_no_other_program_could_use_is_not_lent(tmp_path: Path) -> None:
    async with bench(tmp_path, opener=HeardOpener(str(tmp_path / "board"))) as b:
        with pytest.raises(LinkError, match="has no port that another program could use"):
            async with b.device.lent("me"):
                pass


async def test_pulling_the_cable_ends_the_session_and_its_requests_and_a_replug_starts_a_new_one(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.board.join()
        await b.notes.until(Listed)
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                with pytest.raises(SessionLost, match="before the answer to StartWorkload"):
                    await b.device.request(START)

            tasks.start_soon(ask)
            await b.board.expect("do 1")
            b.board.unplug()
            await b.notes.until(Left)
        ready = [b.device.is_ready]
        await b.notes.until(LinkNotFound)
        assert isinstance(b.device.link_error, LinkNotFound)

        b.board.plug()
        await b.board.join(boot=1)
        await b.notes.until(Listed, 2)
        ready.append(b.device.is_ready)
        assert ready == [False, True]
        assert b.notes.of(type(None), Joined, Left, LinkLost, LinkNotFound) in (
            [type(None), Joined, LinkLost, Left, LinkNotFound, type(None), Joined],
            [type(None), Joined, Left, LinkLost, LinkNotFound, type(None), Joined],
        )


async def test_an_absent_port_is_told_once_and_opened_when_it_comes(tmp_path: Path) -> None:
    async with bench(tmp_path, plugged=False) as b:
        await b.notes.until(LinkNotFound)
        await anyio.sleep(0.3)  # several attempts go by
        assert b.notes.of(LinkNotFound, type(None)) == [LinkNotFound]
        b.board.plug()
        await b.board.join()
        await b.notes.until(Listed)
        assert b.notes.of(LinkNotFound, type(None)) == [LinkNotFound, type(None)]


async def test_what_was_said_before_the_cable_came_out_is_stored_although_the_sink_is_slow(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.board.join()
        await b.notes.until(Listed)
        b.notes.gate = anyio.Event()
        await b.board.say("log first", "log last words")
        await eventually(lambda: b.device.counters.rx_frames == 3)
        b.board.unplug()
        await eventually(lambda: b.device.link_error is not None)
        b.notes.gate.set()
        await b.notes.until(Left)
        assert b.notes.lines() == [b"first", b"last words"]


class NeverOpens:
    name = "stuck-port"

    async def open(self) -> Link:
        await anyio.sleep_forever()
        raise AssertionError


async def test_a_port_that_never_opens_is_a_time_out_and_tried_again(tmp_path: Path) -> None:
    async with bench(tmp_path, opener=NeverOpens(), plugged=False) as b:
        await b.notes.until(LinkTimeout)
        assert "stuck-port: not open within 0.05 s" in str(b.device.link_error)


async def test_a_cancelled_supervisor_leaves_the_port_free_and_its_requests_ended(tmp_path: Path) -> None:
    async with bench(tmp_path) as b, anyio.create_task_group() as tasks:
        await b.board.join()
        await b.notes.until(Listed)

        async def ask() -> None:
            with pytest.raises(SessionLost):
                await b.device.request(START)

        tasks.start_soon(ask)
        await b.board.expect("do 1")
        b.stop()
        await b.stopped.wait()
        assert not b.device.is_ready
        link = await SerialLinkOpener(b.board.end.path).open()
        await link.aclose()


class HeardOpener:
    """Counts its attempts; a test says when the port comes and goes."""

    def __init__(self, path: str) -> None:
        self.name = path
        self.attempts = 0
        self.came, self.went = anyio.Event(), anyio.Event()
        self.is_waiting = anyio.Event()

    async def open(self) -> SerialLink:
        self.attempts += 1
        return await SerialLinkOpener(self.name).open()

    async def appeared(self) -> None:
        self.is_waiting.set()
        await self.came.wait()

    async def vanished(self) -> str:
        await self.went.wait()
        return "unplugged"


async def test_a_port_whose_plugs_are_heard_is_not_looked_for(tmp_path: Path) -> None:
    opener = HeardOpener(str(tmp_path / "board"))
    async with bench(tmp_path, opener=opener, plugged=False) as b:
        await opener.is_waiting.wait()
        await anyio.sleep(3 * ABSENT_DELAY_S)  # long enough for who looks
        assert opener.attempts == 1
        b.board.plug()
        opener.came.set()
        await b.board.join()
        assert opener.attempts == 2


async def test_a_port_that_goes_unnoticed_by_reading_ends_the_link_when_it_is_told(tmp_path: Path) -> None:
    opener = HeardOpener(str(tmp_path / "board"))
    async with bench(tmp_path, opener=opener) as b:
        await b.board.join()
        await b.notes.until(Listed)
        opener.went.set()  # the pty stays
        with anyio.fail_after(5):
            await b.notes.until(LinkLost)
        assert str(next(note for note in b.notes.heard if isinstance(note, LinkLost))).endswith(": unplugged")


# -- output, acknowledgements and time


class TimedProtocol(LineProtocol):
    """Remembers when its time came, and when it was asked for what it sends then."""

    def __init__(self, ping_s: float) -> None:
        super().__init__(ping_s=ping_s)
        self.came: list[float] = []
        self.sent: list[float] = []

    def handle_deadline(self, now: float) -> None:
        self.came.append(now)
        super().handle_deadline(now)

    def data_to_send(self, now: float) -> bytes:
        data = super().data_to_send(now)
        if data == b"ping\n":
            self.sent.append(now)
        return data


async def test_what_a_deadline_sends_is_sent_at_its_time(tmp_path: Path) -> None:
    """A wait that begins with it would end twice, once for each of the two times: that is every other wake-up of an idle gateway."""
    protocol = TimedProtocol(0.02)
    async with bench(tmp_path, protocol=protocol) as b:
        await b.board.join()
        for _ in range(3):
            await b.board.expect("ping")
    assert protocol.sent == protocol.came[: len(protocol.sent)]


async def test_output_is_acknowledged_only_after_it_is_stored(tmp_path: Path) -> None:
    async with bench(tmp_path, ping_s=0.02) as b:
        await b.board.join()
        await b.notes.until(Listed)
        b.notes.gate = anyio.Event()
        await b.board.say("log one", "log two")
        heard = [await b.board.next_line() for _ in range(4)]
        assert sorted(heard) == ["ack 3", "ping", "ping", "ping"]  # time and writing go on while the sink is slow
        assert b.notes.lines() == [b"one"]
        b.notes.gate.set()
        while (line := await b.board.next_line()) == "ping":
            pass
        assert line == "ack 6"
        assert b.notes.lines() == [b"one", b"two"]


async def test_a_flood_is_held_back_while_the_sink_is_slow_and_nothing_is_lost(tmp_path: Path) -> None:
    lines = [f"log {number:06} {'x' * 990}" for number in range(4 * MAX_UNHANDLED_BYTES // 1000)]
    async with bench(tmp_path) as b:
        await b.board.join()
        await b.notes.until(Listed)
        b.notes.gate = anyio.Event()
        said = anyio.Event()
        async with anyio.create_task_group() as tasks:

            async def flood() -> None:
                await b.board.say(*lines)
                said.set()

            async def hear_acks() -> None:
                while True:
                    await b.board.next_line()

            tasks.start_soon(flood)
            tasks.start_soon(hear_acks)
            await anyio.sleep(0.2)
            b.notes.gate.set()
            await said.wait()
            await b.notes.until(Output, len(lines))
            tasks.cancel_scope.cancel()
    assert [int(line[:6]) for line in b.notes.lines()] == list(range(len(lines)))


async def test_silence_costs_nothing_but_the_timer_comes(tmp_path: Path) -> None:
    async with bench(tmp_path, ping_s=0.02) as b:
        await b.board.join()
        for _ in range(5):
            assert await b.board.next_line() == "ping"


# -- the line


class CountedLink:
    """A serial link whose UART counts, as ptys do not."""

    def __init__(self, link: SerialLink) -> None:
        self.line_error_count = 0
        self.resets = 0
        self._link = link
        self.name = link.name
        self.receive, self.send, self.aclose = link.receive, link.send, link.aclose

    def line_errors(self) -> LineErrors:
        return LineErrors(framing=self.line_error_count)

    async def reset(self) -> None:
        self.resets += 1


class CountedOpener:
    def __init__(self, path: str) -> None:
        self.name = path
        self.links: list[CountedLink] = []

    async def open(self) -> CountedLink:
        self.links.append(CountedLink(await SerialLinkOpener(self.name).open()))
        return self.links[-1]


async def test_line_errors_are_summed_over_replugs(tmp_path: Path) -> None:
    opener = CountedOpener(str(tmp_path / "board"))
    async with bench(tmp_path, opener=opener) as b:
        await b.board.join()
        await b.notes.until(Listed)
        opener.links[-1].line_error_count = 3
        b.board.unplug()
        await b.notes.until(Left)
        b.board.plug()
        await b.board.join()
        await b.notes.until(Listed, 2)
        opener.links[-1].line_error_count = 4
        assert b.device.line_errors == LineErrors(framing=7)


async def test_a_wrong_speed_is_a_problem_of_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baud_watch, "AFTER_S", 0.0)
    opener = CountedOpener(str(tmp_path / "board"))
    async with bench(tmp_path, opener=opener) as b:
        assert await b.board.next_line() == "who?"
        opener.links[-1].line_error_count = 9
        await b.board.end.send(b"\xf8\x86\x00\xfe")
        await b.notes.until(Problem)
        assert [note.reason for note in b.notes.heard if isinstance(note, Problem)] == ["BaudMismatch"]


async def test_a_board_that_talks_and_takes_nothing_is_a_problem_of_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_watch, "HELD_S", 0.05)
    async with bench(tmp_path) as b, anyio.create_task_group() as tasks:
        await b.board.join()
        await b.notes.until(Listed)
        for wid in range(1000):  # of 100 bytes each: more than a pty holds
            tasks.start_soon(swallow_loss, b.device.request(StartWorkload(wid, 1, "x" * 40)))
        while not b.notes.of(Problem):
            await b.board.say("hello 1")
            await anyio.sleep(0.01)
        assert [note.reason for note in b.notes.heard if isinstance(note, Problem)] == ["OutputHeld"]
        tasks.cancel_scope.cancel()


async def swallow_loss(request: Awaitable[object]) -> None:
    with suppress(SessionLost):
        await request


async def test_the_board_is_reset_by_its_line(tmp_path: Path) -> None:
    opener = CountedOpener(str(tmp_path / "board"))
    async with bench(tmp_path, opener=opener) as b:
        await b.board.join()
        await b.notes.until(Listed)
        await b.device.reset_by_line()
        assert opener.links[-1].resets == 1
        b.board.unplug()
        await b.notes.until(Left)
        with pytest.raises(LinkError):
            await b.device.reset_by_line()


# -- a busy line

BUSY = f"log {'x' * BUSY_READ_BYTES}"


async def test_a_busy_line_rests_until_somebody_asks_the_device(tmp_path: Path) -> None:
    async with bench(tmp_path, read_pause_s=3600) as b, anyio.create_task_group() as tasks:
        await b.board.join()
        await b.notes.until(Listed)
        await b.board.say(BUSY)
        await b.notes.until(Output)
        await b.board.expect("ack")  # what was read before the rest is acknowledged
        await b.board.say("log while it rests")
        with anyio.move_on_after(0.05):
            await b.notes.until(Output, 2)
        assert len(b.notes.lines()) == 1

        async def ask() -> None:
            await b.device.request(START)

        tasks.start_soon(ask)
        await b.notes.until(Output, 2)
        await b.board.expect("do 1")
        await b.board.expect("ack")
        await b.board.say(BUSY, "ok 1")  # no rest while somebody waits


async def test_a_line_or_an_answer_is_no_reason_to_rest(tmp_path: Path) -> None:
    async with bench(tmp_path, read_pause_s=3600) as b:
        await b.board.join()
        await b.notes.until(Listed)
        for number in range(1, 4):
            await b.board.say("log short")
            await b.notes.until(Output, number)


async def test_time_goes_on_when_a_busy_line_falls_silent(tmp_path: Path) -> None:
    async with bench(tmp_path, ping_s=0.02, read_pause_s=0.05) as b:
        await b.board.join()
        await b.notes.until(Listed)
        await b.board.say(BUSY)
        while not (await b.board.next_line()).startswith("ack"):
            pass
        for _ in range(3):
            while await b.board.next_line() != "ping":
                pass


class BusyLink:
    """A direct link whose owner is given a busy read whenever a test wants it, and that takes whatever it is given."""

    name = "busy"

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self._received: Callable[[bytes], float | None] | None = None

    async def open(self) -> Link:
        return self

    async def deliver(self, received: Callable[[bytes], float | None]) -> None:
        self._received = received
        await anyio.sleep_forever()

    async def receive(self, max_bytes: int = MAX_READ_BYTES) -> bytes:
        raise AssertionError("a direct link delivers")

    async def send(self, data: bytes) -> None:
        self.sent.append(data)

    def send_now(self, data: bytes) -> int:
        self.sent.append(data)
        return len(data)

    def end_rest(self) -> None:
        """There is nothing to read."""

    async def aclose(self) -> None: ...

    async def says(self, line: str) -> float | None:
        await eventually(lambda: self._received is not None)
        assert self._received is not None
        return self._received(line.encode() + b"\n")


async def test_a_busy_line_does_not_rest_while_somebody_waits_for_an_answer(tmp_path: Path) -> None:
    link = BusyLink()
    async with bench(tmp_path, read_pause_s=0.005, opener=link) as b, anyio.create_task_group() as tasks:
        await link.says("hello 1")
        await b.notes.until(Listed)
        tasks.start_soon(b.device.request, START)
        await eventually(lambda: any(data.startswith(b"do 1") for data in link.sent))
        pauses = [await link.says(BUSY), await link.says("ok 1")]
        await wait_all_tasks_blocked()
        assert [*pauses, await link.says(BUSY)] == [0, 0, 0.005]


async def test_time_goes_on_while_a_line_is_busy_for_ever(tmp_path: Path) -> None:
    link = BusyLink()
    async with bench(tmp_path, ping_s=0.02, read_pause_s=0.005, opener=link) as b:
        await link.says("hello 1")
        await b.notes.until(Listed)
        with anyio.fail_after(5):
            while link.sent.count(b"ping\n") < 3:
                assert await link.says(BUSY) == 0.005
                await anyio.sleep(0.001)


class Full(Exception):
    pass


async def test_what_the_sink_raises_ends_the_supervisor(tmp_path: Path) -> None:
    class FullSink(Notes):
        def store(self, device: str, output: Output) -> bool:
            raise Full

    board = Board(tmp_path / "board")
    board.plug()
    device = Device("board-a", SerialLinkOpener(str(board.path)), LineProtocol(), FullSink(), rng=random.Random(1))
    with pytest.RaisesGroup(pytest.RaisesExc(Full), flatten_subgroups=True):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(device.run)
            await board.join()
            await board.say("log it")
    board.end.close()

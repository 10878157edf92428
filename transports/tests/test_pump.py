"""How bytes and time get from a link to the core and back: deadlines, what goes wrong on the line, and rests of a busy one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from anyio import wait_all_tasks_blocked

from transports import baud_watch, line_watch
from transports.errors import LinkError, SessionLost
from transports.link import MAX_READ_BYTES, LineErrors, Link
from transports.protocol import Left, Listed, Output, Problem, StartWorkload
from transports.pump import BUSY_READ_BYTES
from transports.serial import SerialLink, SerialLinkOpener
from transports.tests.device_rig import START, bench, eventually
from transports.tests.line_protocol import LineProtocol

# -- time


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

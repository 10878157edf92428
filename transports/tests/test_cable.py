"""What a supervisor does when the cable is pulled, when it comes back, and when somebody else wants the port."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

from transports.cable import ABSENT_DELAY_S
from transports.errors import LinkBusy, LinkError, LinkLost, LinkNotFound, LinkTimeout, SessionLost
from transports.link import Link
from transports.protocol import Event, Joined, Left, LinkSpent, Listed
from transports.serial import SerialLink, SerialLinkOpener
from transports.tests.device_rig import START, bench, eventually
from transports.tests.line_protocol import LineProtocol


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


class NobodyKnowsWhere:
    name = "somewhere"

    async def open(self) -> Link:
        raise LinkNotFound("somewhere: nobody knows where")

    async def address(self) -> str:
        await anyio.sleep_forever()
        raise AssertionError


async def test_a_port_whose_address_does_not_come_is_not_lent_and_is_the_devices_again(tmp_path: Path) -> None:
    async with bench(tmp_path, opener=NobodyKnowsWhere(), plugged=False) as b:
        for _ in range(2):
            with pytest.raises(LinkTimeout, match=r"somewhere: its address was not known within 0\.05 s"):
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


async def test_a_link_that_the_core_gave_up_is_closed_and_another_one_opened(tmp_path: Path) -> None:
    protocol = GivesUp()
    async with bench(tmp_path, protocol=protocol) as b:
        await b.board.join()
        await b.notes.until(Listed)
        protocol.why = "the target does not answer as it should"
        await b.board.say("log x")  # the far end itself keeps the link
        await b.notes.until(LinkLost)
        assert str(next(note for note in b.notes.heard if isinstance(note, LinkLost))).endswith(": the target does not answer as it should")
        assert (await b.board.next_line()).startswith("ack")  # of the link that is lost
        await b.board.join()
        await b.notes.until(Listed, 2)


class GivesUp(LineProtocol):
    why = ""

    def events(self) -> list[Event]:
        why, self.why = self.why, ""
        return [*super().events(), *([LinkSpent(why)] if why else [])]


class Careless:
    """An opener of another package, and its link, which forget to translate what the system says."""

    name = "careless"

    def __init__(self, *, opens: bool) -> None:
        self._opens = opens

    async def open(self) -> Link:
        if self._opens:
            return self
        raise OSError(errno.EIO, "Input/output error")

    async def receive(self, max_bytes: int = 65536) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    async def send(self, data: bytes) -> None:
        await anyio.sleep_forever()

    async def aclose(self) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")


@pytest.mark.parametrize("opens", [False, True])
async def test_an_error_that_a_link_does_not_translate_is_its_loss_and_no_more(tmp_path: Path, opens: bool) -> None:
    async with bench(tmp_path, opener=Careless(opens=opens), plugged=False) as b:
        await b.notes.until(LinkLost)
        assert str(next(note for note in b.notes.heard if isinstance(note, LinkLost))) == "careless: Input/output error"
        assert not b.stopped.is_set()


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

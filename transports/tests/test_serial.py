"""What a serial port promises beyond the Link contract (test_serial_contract.py)."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import serial
import serial_asyncio
from anyio import wait_all_tasks_blocked
from anyio.lowlevel import checkpoint

from transports.baud import check_achieved
from transports.driver import DurationS
from transports.errors import LinkBusy, LinkError, LinkLost, LinkNotFound, LinkPermissionDenied
from transports.link import CountingLink, DirectLink, ResettableLink
from transports.rs485 import Rs485
from transports.serial import FULL_READ_BYTES, SerialLinkOpener
from transports.serial_options import PortSettings
from transports.testing.link_contract import opened, read_exactly
from transports.tests.pty_end import PtyEnd
from transports.tests.taker import Taker
from transports.tty_line import open_error, settle_line

OPEN_HOOKS = ("_reset_input_buffer", "_update_dtr_state", "_update_rts_state")
IFLAG, OFLAG, CFLAG, LFLAG, _, OSPEED, CC = range(7)


@pytest.fixture
def end() -> Iterator[PtyEnd]:
    end = PtyEnd()
    yield end
    end.close()


def test_the_hooks_into_the_libraries_still_exist() -> None:
    """_Port and SerialStream override or call these; a new release that drops one would silently lose boot text or block the loop."""
    for hook in (*OPEN_HOOKS, "open", "read", "write", "flush", "close", "fileno"):
        assert callable(getattr(serial.Serial, hook))
    for hook in ("abort", "flush", "pause_reading", "resume_reading", "set_write_buffer_limits"):
        assert callable(getattr(serial_asyncio.SerialTransport, hook))
    assert set(OPEN_HOOKS) <= set(serial.Serial.open.__code__.co_names)


async def test_a_borrower_in_another_folder_finds_the_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert await SerialLinkOpener("./board-a").address() == f"{tmp_path}/board-a"


async def test_the_line_is_raw_and_closing_it_resets_no_board(end: PtyEnd) -> None:
    async with opened(SerialLinkOpener(end.path)):
        attributes = line_of(end.path)
    assert not attributes[IFLAG] & (termios.IXON | termios.IXOFF | termios.ICRNL | termios.BRKINT | termios.ISTRIP | termios.PARMRK)
    assert not attributes[OFLAG] & termios.OPOST
    assert not attributes[LFLAG] & (termios.ECHO | termios.ICANON | termios.ISIG)
    assert not attributes[CFLAG] & termios.HUPCL
    assert (attributes[CC][termios.VSTART], attributes[CC][termios.VSTOP]) == (b"\x11", b"\x13")
    assert attributes[OSPEED] == termios.B115200


async def test_a_port_that_echoed_does_so_no_more_from_its_opening_on() -> None:
    """A new tty echoes, and a board's boot log would come back into its own shell."""
    master, slave = os.openpty()
    try:
        async with opened(SerialLinkOpener(os.ttyname(slave))) as link:
            os.write(master, b"login: ")
            assert await read_exactly(link, 7) == b"login: "
            os.set_blocking(master, False)
            with pytest.raises(BlockingIOError):
                os.read(master, 1)
    finally:
        os.close(master)
        os.close(slave)


async def test_a_custom_baud_rate_is_set_once_and_works(end: PtyEnd) -> None:
    async with opened(SerialLinkOpener(end.path, PortSettings(baud=74880))) as link:
        await end.send(b"rom text")
        assert await read_exactly(link, 8) == b"rom text"
        assert speed_of(end.path) == 74880


async def hung_up(link: DirectLink) -> None:
    while link.send_now(b"anybody?"):
        await checkpoint()


@asynccontextmanager
async def delivering(end: PtyEnd, taker: Taker) -> AsyncIterator[DirectLink]:
    async with opened(SerialLinkOpener(end.path)) as link, anyio.create_task_group() as tasks:
        assert isinstance(link, DirectLink)
        tasks.start_soon(link.deliver, taker)
        yield link
        tasks.cancel_scope.cancel()


async def test_a_busy_port_rests_and_is_read_at_once_when_somebody_waits(end: PtyEnd) -> None:
    taker = Taker(pause_s=3600)
    async with delivering(end, taker) as link:
        await end.send(b"log")
        await taker.until(1)
        await end.send(b"answer")
        with pytest.raises(TimeoutError), anyio.fail_after(0.05):
            await taker.until(2)
        taker.pause_s = 0.0
        link.end_rest()
        assert taker.taken == [b"log", b"answer"]
        await end.send(b"more")
        await taker.until(3)


async def test_a_rest_ends_by_itself_and_a_line_that_fell_silent_is_told(end: PtyEnd) -> None:
    taker = Taker(pause_s=0.02)
    async with delivering(end, taker):
        await end.send(b"log")
        await taker.until(1)
        taker.pause_s = 0.0
        await taker.until(2)
        await end.send(b"later")
        await taker.until(3)
        assert taker.taken == [b"log", b"", b"later"]


async def test_all_that_gathered_in_a_rest_comes_in_one_piece(end: PtyEnd) -> None:
    taker = Taker(pause_s=3600)
    async with delivering(end, taker) as link:
        await end.send(b"log")
        await taker.until(1)
        gathered = bytes(range(256)) * 40  # several reads of a tty
        await end.send(gathered)
        while sum(map(len, taker.taken[1:])) < len(gathered):
            link.end_rest()  # the kernel may still be moving it
            await checkpoint()
        assert b"".join(taker.taken[1:]) == gathered
        assert max(map(len, taker.taken[1:])) > FULL_READ_BYTES


async def test_what_comes_when_the_owner_has_enough_is_kept_for_later(end: PtyEnd) -> None:
    full, taker = Taker(pause_s=None), Taker()
    async with opened(SerialLinkOpener(end.path)) as link:
        assert isinstance(link, DirectLink)
        await end.send(b"one")
        await link.deliver(full)
        await end.send(b"two")
        await wait_all_tasks_blocked()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(link.deliver, taker)
            await taker.until(1)
            tasks.cancel_scope.cancel()
    assert full.taken + taker.taken == [b"one", b"two"]


async def test_what_the_owner_raises_comes_out_of_deliver(end: PtyEnd) -> None:
    def refuse(data: bytes) -> float | None:
        raise ZeroDivisionError(data)

    async with opened(SerialLinkOpener(end.path)) as link:
        assert isinstance(link, DirectLink)
        await end.send(b"x")
        with pytest.raises(ZeroDivisionError):
            await link.deliver(refuse)


async def test_a_port_that_hangs_up_while_it_rests_is_lost(end: PtyEnd) -> None:
    taker = Taker(pause_s=0.02)
    async with opened(SerialLinkOpener(end.path)) as link, anyio.create_task_group() as tasks:
        assert isinstance(link, DirectLink)

        async def hear_of_the_loss(link: DirectLink) -> None:
            with pytest.raises(LinkLost):
                await link.deliver(taker)

        tasks.start_soon(hear_of_the_loss, link)
        await end.send(b"log")
        await taker.until(1)
        taker.pause_s = 0.0
        await end.hang_up()
        await hung_up(link)


async def test_what_the_port_takes_at_once_needs_no_waiting(end: PtyEnd) -> None:
    async with opened(SerialLinkOpener(end.path)) as link:
        assert isinstance(link, DirectLink)
        assert link.send_now(b"ack") == 3
        assert await end.receive() == b"ack"
        taken = 0
        while size := link.send_now(b"x" * 4096):
            taken += size
        arrived = 0
        while arrived < taken:  # a full port took nothing and lost nothing
            arrived += len(await end.receive())
        assert arrived == taken


def test_a_line_that_runs_at_another_rate_is_refused_with_both_rates(end: PtyEnd) -> None:
    fd = os.open(end.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        settle_line(fd, "port", 38400)  # what a new pty runs at
        settle_line(fd, "port", 38000)
        with pytest.raises(LinkError, match="port: the port runs at 38400 baud, not at 3500000"):
            settle_line(fd, "port", 3_500_000)
    finally:
        os.close(fd)


def test_a_rate_that_is_off_by_more_than_one_sides_share_is_told(caplog: pytest.LogCaptureFixture) -> None:
    check_achieved("port", 921600, 923077)
    assert not caplog.records
    check_achieved("port", 100_000, 102_500)
    assert caplog.messages == ["baud rate is off by 2.5 %"]


async def test_hardware_flow_control_is_set(end: PtyEnd) -> None:
    async with opened(SerialLinkOpener(end.path, PortSettings(flow_control="rtscts"))) as link:
        assert line_of(end.path)[CFLAG] & termios.CRTSCTS
        await end.send(b"flows")
        assert await read_exactly(link, 5) == b"flows"


async def test_a_port_that_cannot_do_rs485_is_refused_and_free_again(end: PtyEnd) -> None:
    with pytest.raises(LinkError, match=f"{end.path}: the port's driver has no RS-485 mode"):
        await SerialLinkOpener(end.path, PortSettings(rs485=Rs485())).open()
    async with opened(SerialLinkOpener(end.path)):
        pass


async def test_a_port_without_modem_lines_opens_and_tells_that_it_cannot_reset(end: PtyEnd) -> None:
    async with opened(SerialLinkOpener(end.path, PortSettings(modem_lines="esp-autoreset"))) as link:
        assert isinstance(link, ResettableLink)
        with pytest.raises(LinkError, match=f"{end.path}: the port has no modem lines"):
            await link.reset()
        await end.send(b"alive")
        assert await read_exactly(link, 5) == b"alive"


async def test_a_board_whose_lines_are_no_reset_is_not_reset(end: PtyEnd) -> None:
    async with opened(SerialLinkOpener(end.path)) as link:
        assert isinstance(link, ResettableLink)
        with pytest.raises(LinkError, match="modemLines: leave is no way to reset a board"):
            await link.reset()


async def test_a_port_that_counts_nothing_has_no_line_errors(end: PtyEnd) -> None:
    async with opened(SerialLinkOpener(end.path)) as link:
        assert isinstance(link, CountingLink)
        assert link.line_errors() is None


async def test_what_would_only_be_quicker_is_no_reason_not_to_open(end: PtyEnd, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(SerialLinkOpener(end.path, PortSettings(latency_timer=DurationS(0.002)))):
        assert caplog.messages == ["latency timer of the port is not set"]
    async with opened(SerialLinkOpener(end.path, PortSettings(low_latency=True))):
        pass


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, LinkNotFound),
        (errno.ENXIO, LinkNotFound),
        (errno.ENODEV, LinkNotFound),
        (errno.EIO, LinkNotFound),
        (errno.EBUSY, LinkBusy),
        (errno.EWOULDBLOCK, LinkBusy),
        (errno.EACCES, LinkPermissionDenied),
        (errno.EPERM, LinkPermissionDenied),
        (errno.EMFILE, LinkError),
    ],
)
def test_each_refusal_of_the_system_has_one_name(number: int, kind: type[LinkError]) -> None:
    error = open_error("/dev/ttyUSB0", serial.SerialException(number, "could not open port"))
    assert type(error) is kind
    assert str(error).startswith("/dev/ttyUSB0: ")


def test_the_number_that_pyserial_drops_is_found() -> None:
    def configure() -> None:
        try:
            raise termios.error(errno.EIO, "Input/output error")
        except termios.error:
            raise serial.SerialException("Could not configure port")  # noqa: B904 - as pyserial does

    with pytest.raises(serial.SerialException) as raised:
        configure()
    assert type(open_error("port", raised.value)) is LinkNotFound


async def test_a_file_that_is_no_port_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("not a tty")
    for path in (tmp_path, tmp_path / "notes"):
        with pytest.raises(LinkNotFound, match="not a serial port"):
            await SerialLinkOpener(str(path)).open()


async def test_a_link_that_points_elsewhere_now_is_followed(end: PtyEnd, tmp_path: Path) -> None:
    path, other = tmp_path / "board", PtyEnd()
    opener = SerialLinkOpener(str(path))
    for target in (end, other):
        path.unlink(missing_ok=True)
        path.symlink_to(target.path)
        async with opened(opener) as link:
            await target.send(b"here")
            assert await read_exactly(link, 4) == b"here"
    other.close()


async def test_a_descriptor_above_1023_works(end: PtyEnd) -> None:
    with many_descriptors(1100):
        async with opened(SerialLinkOpener(end.path)) as link:
            await end.send(b"far up")
            assert await read_exactly(link, 6) == b"far up"
            await link.send(b"still far up")
            assert await read_exactly(end, 12) == b"still far up"


async def test_a_device_that_floods_is_held_back_and_nothing_is_lost(end: PtyEnd) -> None:
    flood = bytes(range(256)) * 256
    async with opened(SerialLinkOpener(end.path, max_buffered_bytes=4096)) as link, anyio.create_task_group() as tasks:
        tasks.start_soon(end.send, flood)
        assert await read_exactly(link, len(flood)) == flood


async def test_unread_bytes_stay_bounded_and_survive_the_cable(end: PtyEnd) -> None:
    sent_bytes = 0

    async def flood() -> None:
        nonlocal sent_bytes
        while True:
            await end.send(b"x" * 1024)
            sent_bytes += 1024

    async with opened(SerialLinkOpener(end.path, max_buffered_bytes=4096)) as link:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flood)
            previous = -1
            while sent_bytes != previous:  # until the flood stands still
                previous = sent_bytes
                await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
        assert 4096 <= sent_bytes <= 4096 + 65536 + 65536  # the buffer, one read, what a pty holds

        await end.hang_up()
        with pytest.raises(LinkLost):
            await link.send(b"are you there?")
        await read_exactly(link, 4096)
        with pytest.raises(LinkLost):
            await read_exactly(link, 1 << 20)


def line_of(path: str) -> list[Any]:
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return termios.tcgetattr(fd)
    finally:
        os.close(fd)


def speed_of(path: str) -> int:
    """By termios2: the old call knows no custom rates."""
    fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        return int.from_bytes(fcntl.ioctl(fd, 0x802C542A, bytes(44))[40:], "little")
    finally:
        os.close(fd)


@contextmanager
def many_descriptors(count: int) -> Iterator[None]:
    """So many are taken that the next one lies above what select() can watch."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, count + 512)), hard))
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]
    try:
        yield
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

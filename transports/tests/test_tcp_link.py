"""What a connection to a port of another machine promises beyond the Link contract (hil-tests/test_remote_links.py)."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from transports.errors import LinkBusy, LinkError, LinkLost, LinkNotFound, LinkTimeout
from transports.modem_lines import BOTH
from transports.rfc2217 import MAX_EARLY_BYTES, Rfc2217Link, Rfc2217LinkOpener
from transports.serial_options import PortSettings
from transports.tcp_link import KEEPALIVE_IDLE_S, UNACKNOWLEDGED_MS, TcpLink, TcpLinkOpener, refusal_error, settle, url
from transports.telnet import Subnegotiation, TelnetReader
from transports.testing.link_contract import opened, read_exactly


@asynccontextmanager
async def server(serve: Callable[[SocketStream], Awaitable[None]]) -> AsyncIterator[int]:
    """A port that serves so."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")

    async def handle(stream: SocketStream) -> None:
        async with stream:
            await serve(stream)

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, handle)
        yield listener.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


async def test_a_host_that_is_no_name_is_not_found() -> None:
    with pytest.raises(LinkNotFound, match="no such host"):
        await TcpLinkOpener("x" * 64, 1).open()


UNKNOWN_TO_KERNELS = socket.AF_X25
"""As IPv6 is to one that was told `ipv6.disable=1`."""


async def test_addresses_that_the_kernel_does_not_know_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(UNKNOWN_TO_KERNELS, socket.SOCK_STREAM, 0, "", ("::1", 1))]
    async with server(lambda stream: anyio.sleep_forever()) as port:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: found)
        opener = TcpLinkOpener("localhost", port)
        with pytest.raises(LinkError, match=f"^{opener.name}: Address family not supported"):
            await opener.open()
        found.append((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)))
        async with opened(opener):
            pass
    with pytest.raises(LinkNotFound, match="nobody listens there"):
        await opener.open()


async def test_a_process_without_descriptors_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **more: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(LinkError, match=r"^socket://localhost:1: Too many open files$"):
        await TcpLinkOpener("localhost", 1).open()


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        (b"Port already in use\r\n", LinkBusy, "the server says: Port already in use"),
        (
            b"Device open failure: no such \x1b[2Jdevice\r\n",
            LinkNotFound,
            r"the server hung up and said: Device open failure: no such \[2Jdevice",
        ),
        (b"", LinkNotFound, "the server hung up; its port may be unplugged"),
    ],
)
async def test_a_server_that_hangs_up_at_once_says_why(said: bytes, kind: type[Exception], message: str) -> None:
    async with server(lambda stream: stream.send(said) if said else anyio.lowlevel.checkpoint()) as port:
        for opener in (TcpLinkOpener("127.0.0.1", port), Rfc2217LinkOpener("127.0.0.1", port, PortSettings())):
            with pytest.raises(kind, match=f"^{opener.name}: {message}$"):
                await opener.open()


async def test_a_device_that_talks_at_once_is_no_refusal() -> None:
    async def talk(stream: SocketStream) -> None:
        await stream.send(b"x" * 4096)
        await anyio.sleep_forever()

    async with server(talk) as port, opened(TcpLinkOpener("127.0.0.1", port)) as link:
        assert await read_exactly(link, 4096) == b"x" * 4096


async def test_a_server_of_something_else_is_named_with_what_it_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transports.rfc2217.SETTLE_DEADLINE_S", 0.1)

    async def be_silent(stream: SocketStream) -> None:
        await anyio.sleep_forever()

    async with server(be_silent) as port:
        with pytest.raises(LinkTimeout, match="the server did not answer BINARY, BINARY both ways, COM-PORT-OPTION within"):
            await Rfc2217LinkOpener("127.0.0.1", port, PortSettings()).open()


READY = b"\xff\xfd\x00\xff\xfb\x00\xff\xfd\x2c\xff\xfa\x2c\x65\x00\x01\xc2\x00\xff\xf0" + b"".join(
    b"\xff\xfa\x2c" + bytes(answer) + b"\xff\xf0" for answer in ((102, 8), (103, 1), (104, 1))
)
NO_TELNET = b"\xff\xfa\x2c\xff\x01"


async def test_a_server_that_talks_without_end_and_sets_nothing_is_refused() -> None:
    sent_bytes = 0

    async def flood(stream: SocketStream) -> None:
        nonlocal sent_bytes
        with suppress(anyio.BrokenResourceError):
            while True:
                await stream.send(bytes(65536))
                sent_bytes += 65536

    async with server(flood) as port:
        with pytest.raises(LinkError, match=f"^rfc2217://127.0.0.1:{port}: {MAX_EARLY_BYTES} bytes came before the server answered BINARY"):
            await Rfc2217LinkOpener("127.0.0.1", port, PortSettings()).open()
    assert sent_bytes < 4 * MAX_EARLY_BYTES


async def test_a_server_that_speaks_no_telnet_is_refused() -> None:
    async with server(lambda stream: stream.send(NO_TELNET)) as port:
        with pytest.raises(LinkError, match="telnet: command 1 inside a subnegotiation"):
            await Rfc2217LinkOpener("127.0.0.1", port, PortSettings()).open()


async def test_what_is_no_telnet_ends_the_link() -> None:
    async def break_it(stream: SocketStream) -> None:
        await stream.send(READY)
        heard = b""
        while b"go" not in heard:
            heard += await stream.receive()
        await stream.send(NO_TELNET)
        await anyio.sleep_forever()

    async with server(break_it) as port, opened(Rfc2217LinkOpener("127.0.0.1", port, PortSettings())) as link:
        await link.send(b"go")
        with pytest.raises(LinkLost, match="telnet: command 1 inside a subnegotiation"):
            await link.receive()


class NarrowTcp(TcpLink):
    """A connection that takes only so many bytes until there is room again."""

    def __init__(self) -> None:
        self.taken = b""
        self.room = 0

    @property
    def name(self) -> str:
        return "narrow"

    def send_some(self, data: bytes) -> int:
        taken = data[: self.room]
        self.taken += taken
        self.room -= len(taken)
        return len(taken)

    async def until_writable(self) -> None:
        await anyio.sleep_forever()


async def test_a_reset_moves_dtr_down_and_up_again_with_rts_up() -> None:
    tcp = NarrowTcp()
    link = Rfc2217Link(tcp, PortSettings(modem_lines="esp-autoreset"))
    tcp.room = 1000
    await link.reset()
    said = [command.data for command in TelnetReader().feed(tcp.taken)[1] if isinstance(command, Subnegotiation)]
    dtr_on, dtr_off, rts_on = b"\x05\x08", b"\x05\x09", b"\x05\x0b"
    assert said == [dtr_off, rts_on, dtr_on, rts_on]


async def test_a_reset_behind_a_device_that_takes_nothing_is_told_and_done_later() -> None:
    tcp = NarrowTcp()
    link = Rfc2217Link(tcp, PortSettings(modem_lines="esp-autoreset"))
    with pytest.raises(LinkError, match="narrow: the reset waits behind bytes that the device does not take"):
        await link.reset()
    tcp.room = 1000
    await link.send(b"end")
    assert TelnetReader().feed(tcp.taken)[0] == b"end"


@pytest.mark.parametrize("room", range(20))
async def test_a_cancelled_send_leaves_no_half_of_a_pair_and_no_half_command(room: int) -> None:
    """The far end would take what comes next for a command, or for the rest of one."""
    tcp = NarrowTcp()
    link = Rfc2217Link(tcp, PortSettings())
    tcp.room = 1000
    link._say()
    negotiations, tcp.taken = len(TelnetReader().feed(tcp.taken)[1]), b""
    assert negotiations == 5
    link._port.set_lines(BOTH)
    tcp.room = room
    link._say()
    with anyio.move_on_after(0.001):
        await link.send(b"\xff\xff")
    tcp.room = 1000
    await link.send(b"end")
    data, commands = TelnetReader().feed(tcp.taken)
    assert data in (b"end", b"\xffend", b"\xff\xffend")
    assert len(commands) == 2


def test_a_dead_peer_is_looked_for_and_nothing_is_waited_for() -> None:
    with socket.socket() as made:
        settle(made)
        assert not made.getblocking()
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == KEEPALIVE_IDLE_S
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == UNACKNOWLEDGED_MS


def test_an_address_with_colons_is_written_as_urls_do() -> None:
    assert url("socket", "::1", 3001) == "socket://[::1]:3001"
    assert url("socket", "pi2.lab", 3001) == "socket://pi2.lab:3001"


def test_a_long_refusal_is_cut() -> None:
    assert len(str(refusal_error("socket://pi:1", b"x" * 100_000))) < 1200

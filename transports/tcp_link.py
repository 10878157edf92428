"""A TCP connection as a Link: a serial port behind ser2net, or an instrument with a raw socket.

Nothing is buffered here. What is sent waits in a small buffer of the kernel, because a slow line behind it would make a large one minutes
old. A peer that vanished without a word is found by keepalive. It knows no settings of the port: the far end has made them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import anyio
import anyio.lowlevel

from transports.blocking import BlockingCalls
from transports.errors import LinkBusy, LinkError, LinkLost, LinkNotFound, LinkTimeout
from transports.link import MAX_READ_BYTES

CONNECT_DEADLINE_S: Final = 5.0
"""For the name and all addresses together."""
REFUSAL_S: Final = 0.2
"""A server whose port is taken says so in a line and hangs up at once; nothing else tells the two apart."""
MAX_REFUSAL_BYTES: Final = 1024
SEND_BUFFER_BYTES: Final = 16384
"""The kernel doubles it: some frames of the largest kind, a third of a second at 921600."""
KEEPALIVE_IDLE_S: Final = 5
KEEPALIVE_EVERY_S: Final = 2
KEEPALIVE_TRIES: Final = 3
"""A server that lost its power is a lost link after 11 s."""
UNACKNOWLEDGED_MS: Final = 11_000
"""And so long for bytes under way, for which keepalive does not look."""

Address = tuple[socket.AddressFamily, tuple[object, ...]]

_ABSENT: Final = frozenset({errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN})
_RESET_AT_CLOSE: Final = struct.pack("ii", 1, 0)


class TcpLinkOpener:
    """Connects to one port of one host, again and again. The name is looked up anew at each attempt."""

    def __init__(self, host: str, port: int, *, scheme: str = "socket") -> None:
        self._host = host
        self._port = port
        self._name = url(scheme, host, port)
        self._calls = BlockingCalls(self._name)

    @property
    def name(self) -> str:
        return self._name

    async def address(self) -> str:
        """See transports.link.LendableOpener: pyserial opens such a URL."""
        return self._name

    async def open(self) -> TcpLink:
        """Raises LinkNotFound when nobody listens there, LinkBusy when the server says so, LinkTimeout."""
        link = await self.connect()
        try:
            refusal = await link.refusal()
        except BaseException:
            await link.aclose()
            raise
        if refusal is not None:
            await link.aclose()
            raise refusal_error(self._name, refusal)
        return link

    async def connect(self) -> TcpLink:
        """As open; what a server says is not looked at."""
        with anyio.move_on_after(CONNECT_DEADLINE_S):
            addresses = await look_up(self._calls, self._name, self._host, self._port, deadline_s=CONNECT_DEADLINE_S)
            return TcpLink(self._name, await connect_first(self._name, addresses, settle))
        raise LinkTimeout(f"{self._name}: no connection within {CONNECT_DEADLINE_S:g} s")


class TcpLink:
    """One connection: a Link."""

    def __init__(self, name: str, connected: socket.socket) -> None:
        self._name = name
        self._socket = connected
        self._unread = b""
        self._lost: tuple[str, BaseException | None] | None = None

    @property
    def name(self) -> str:
        return self._name

    async def receive(self, max_bytes: int = MAX_READ_BYTES) -> bytes:
        await anyio.lowlevel.checkpoint()  # a peer that floods must leave others their turn
        if self._unread:
            data, self._unread = self._unread[:max_bytes], self._unread[max_bytes:]
            return data
        while True:
            try:  # also after a send has found it lost: what came before that is still there
                data = self._socket.recv(max_bytes)
            except (BlockingIOError, InterruptedError):
                self._raise_if_lost()
                await self._until(anyio.wait_readable)
                continue
            except OSError as error:
                self._lose(os.strerror(error.errno or 0), error)
            else:
                if data:
                    return data
                self._lose("hung up")
            self._raise_if_lost()

    async def send(self, data: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        while data := data[self.send_some(data) :]:
            await self.until_writable()

    def send_some(self, data: bytes) -> int:
        """How much the kernel took at once. Raises LinkLost."""
        self._raise_if_lost()
        try:
            return self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._lose(os.strerror(error.errno or 0), error)
            self._raise_if_lost()
            raise

    async def until_writable(self) -> None:
        await self._until(anyio.wait_writable)

    async def refusal(self) -> bytes | None:
        """What the server said before it hung up at once; None if it did not."""
        heard = b""
        with anyio.move_on_after(REFUSAL_S):
            try:
                while len(heard) <= MAX_REFUSAL_BYTES:
                    heard += await self.receive()
            except LinkLost:
                return heard
        self._unread = heard
        return None

    async def aclose(self) -> None:
        """Unsent bytes are dropped, and the server is told at once: its port is free for the next."""
        if self._socket.fileno() < 0:
            return
        self._lose("closed")
        anyio.notify_closing(self._socket)
        self._socket.close()

    async def _until(self, wait: Callable[[socket.socket], Awaitable[None]]) -> None:
        try:
            await wait(self._socket)
        except anyio.ClosedResourceError:
            self._raise_if_lost()
            raise

    def _lose(self, why: str, cause: BaseException | None = None) -> None:
        if self._lost is None:
            self._lost = (why, cause)

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            why, cause = self._lost
            raise LinkLost(f"{self._name}: {why}") from cause


async def look_up(calls: BlockingCalls, name: str, host: str, port: int, *, deadline_s: float) -> list[Address]:
    """Where host is. Not by asyncio's own few threads: names that nobody answers for would hold up all others', and the process's end.

    Raises LinkNotFound, LinkTimeout or LinkError, which begin with name.
    """

    def ask() -> list[Address]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(family, address) for family, _, _, _, address in found]

    try:
        return await calls.run("look-up of the name", ask, deadline_s=deadline_s)
    except (socket.gaierror, UnicodeError) as error:  # the latter for what cannot be a name
        raise LinkNotFound(f"{name}: no such host: {error}") from error
    except OSError as error:  # the system's own, such as too many open files
        raise connect_error(name, error) from error


async def connect_first(name: str, addresses: Sequence[Address], settle: Callable[[socket.socket], None]) -> socket.socket:
    """Connected to the first that answers; settle makes it not block. Raises LinkError. The caller has the deadline."""
    errors: list[OSError] = []
    for family, address in addresses:
        try:
            made = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:  # the kernel has no IPv6; too many open files
            errors.append(error)
            continue
        try:
            settle(made)
            await asyncio.get_running_loop().sock_connect(made, address)
        except OSError as error:
            made.close()
            errors.append(error)
        except BaseException:
            made.close()
            raise
        else:
            return made
    raise connect_error(name, next((error for error in errors if error.errno != errno.EAFNOSUPPORT), errors[0]))


def url(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def settle(made: socket.socket) -> None:
    """No waiting, no gathering of small pieces, little under way, and news of a dead peer."""
    made.setblocking(False)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_EVERY_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_TRIES)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)


def connect_error(name: str, error: OSError) -> LinkError:
    """Why nobody answered."""
    if error.errno in _ABSENT:
        return LinkNotFound(f"{name}: nobody listens there: {os.strerror(error.errno)}")
    if error.errno == errno.ETIMEDOUT:
        return LinkTimeout(f"{name}: the host does not answer")
    return LinkError(f"{name}: {error.strerror or error}")


def refusal_error(name: str, refusal: bytes) -> LinkError:
    """What a server that hung up at once meant; ser2net says it in English."""
    text = " ".join("".join(c if c.isprintable() else " " for c in refusal[:MAX_REFUSAL_BYTES].decode("ascii", "replace")).split())
    if "already in use" in text:
        return LinkBusy(f"{name}: the server says: {text}")
    return LinkNotFound(f"{name}: the server hung up" + (f" and said: {text}" if text else "; its port may be unplugged"))

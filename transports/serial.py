"""A tty as a Link: pyserial opens and configures it, pyserial-asyncio moves the bytes, and this file is the only one that knows either.

The port is raw and without echo from its first moment, held by one process only, and not flushed: what waits in it when it is opened is
the device's boot text. It never polls, never drains, and never opens or closes on the event loop: a driver may take 30 s for that.
It knows no messages, reopens nothing and chooses no modem lines: DTR and RTS are up while the port is open and stay as they are after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import termios
from collections.abc import Callable
from typing import Any, Final

import anyio
import anyio.lowlevel
import serial
import serial_asyncio

from transports.blocking import BlockingCalls
from transports.errors import LinkError, LinkLost, LinkTimeout
from transports.link import COALESCE_BYTES, MAX_READ_BYTES
from transports.serial_options import DEFAULT_BAUD, MAX_BAUD, MIN_BAUD
from transports.tty_line import open_error, reason_of_loss, settle_line

_logger = logging.getLogger(__name__)

OPEN_DEADLINE_S: Final = 5.0
"""USB adapters take some ms; a port whose earlier close hangs takes up to 30 s, and then the next attempt gets it."""
CLOSE_DEADLINE_S: Final = 2.0
"""How long a scope may be held up by a port that hangs in close; the call then ends alone."""
MAX_BUFFERED_BYTES: Final = 1 << 20
"""Received and not yet taken; then reading pauses, and the kernel's flow control or the protocol's credit holds the device back."""
SEND_PIECE_BYTES: Final = 65536
"""The engine copies what it holds at every partial write, so it is never given much at once."""


class SerialLinkOpener:
    """Opens one serial port by its path, again and again. A symbolic link is followed anew at each attempt."""

    def __init__(
        self,
        path: str,
        *,
        baud: int = DEFAULT_BAUD,
        rtscts: bool = False,
        open_deadline_s: float = OPEN_DEADLINE_S,
        max_buffered_bytes: int = MAX_BUFFERED_BYTES,
    ) -> None:
        if not MIN_BAUD <= baud <= MAX_BAUD:
            raise ValueError(f"{path}: {baud} baud is not within {MIN_BAUD} to {MAX_BAUD}")
        self._path = path
        self._baud = baud
        self._rtscts = rtscts
        self._open_deadline_s = open_deadline_s
        self._max_buffered_bytes = max_buffered_bytes
        self._calls = BlockingCalls(path)

    @property
    def name(self) -> str:
        return self._path

    async def open(self) -> SerialLink:
        """The open port; the caller closes it.

        Raises LinkNotFound, LinkBusy, LinkPermissionDenied, LinkTimeout, or LinkError when the port refuses the baud rate.
        """
        port = await self._calls.run("open", self._open_port, deadline_s=self._open_deadline_s, undo=_Port.release)
        stream = _Stream(self._path, port, self._max_buffered_bytes)
        transport, _ = await serial_asyncio.connection_for_serial(asyncio.get_running_loop(), lambda: stream, port)
        stream.attach(transport)
        return SerialLink(self._path, port, stream, self._calls)

    def _open_port(self) -> _Port:
        try:
            return _Port(self._path, self._baud, rtscts=self._rtscts)
        except OSError as error:
            raise open_error(self._path, error) from error
        except ValueError as error:  # how pyserial says that the driver refused a custom baud rate
            raise LinkError(f"{self._path}: the port refuses {self._baud} baud") from error


class SerialLink:
    """One open serial port: a Link."""

    def __init__(self, name: str, port: _Port, stream: _Stream, calls: BlockingCalls) -> None:
        self._name = name
        self._port = port
        self._stream = stream
        self._calls = calls
        self._is_closing = False
        self._closed = anyio.Event()

    @property
    def name(self) -> str:
        return self._name

    async def receive(self, max_bytes: int = MAX_READ_BYTES) -> bytes:
        return await self._stream.receive(max_bytes)

    async def send(self, data: bytes) -> None:
        await self._stream.send(data)

    def coalesce(self, pause_s: float) -> None:
        self._stream.coalesce(pause_s)

    async def aclose(self) -> None:
        if self._is_closing:
            await self._closed.wait()
            return
        self._is_closing = True
        with anyio.CancelScope(shield=True):  # bounded: the engine ends in its next turn, the call has a deadline
            try:
                await self._stream.end()
                await self._calls.run("close", self._port.release, deadline_s=CLOSE_DEADLINE_S)
            except LinkTimeout:
                _logger.warning("serial port hangs in close; left to the operating system", extra={"link": self._name})
            finally:
                self._closed.set()


class _Stream(asyncio.Protocol):
    """What the engine calls: received bytes go into a bounded buffer, every kind of end becomes one LinkLost."""

    def __init__(self, name: str, port: _Port, max_buffered_bytes: int) -> None:
        self._name = name
        self._max_buffered_bytes = max_buffered_bytes
        self._transport: Any = None
        self._received = bytearray()
        self._has_news = anyio.Event()
        self._is_drained = anyio.Event()
        self._is_over = anyio.Event()
        self._lost: tuple[str, BaseException | None] | None = None
        self._is_paused = False
        self._pause_s = 0.0
        self._rest: asyncio.TimerHandle | None = None
        """Runs while bytes gather in the kernel."""
        self._port = port
        port.when_lost = self._lose

    def attach(self, transport: Any) -> None:
        # Nothing is buffered beyond the piece under way, so that send returns when the kernel has taken it.
        transport.set_write_buffer_limits(high=0)
        self._transport = transport

    # -- for the link

    async def receive(self, max_bytes: int) -> bytes:
        await anyio.lowlevel.checkpoint_if_cancelled()
        while not self._received:
            self._raise_if_lost()
            self._has_news = anyio.Event()
            await self._has_news.wait()
        data = bytes(self._received[:max_bytes])
        del self._received[:max_bytes]
        if self._is_paused and len(self._received) <= self._max_buffered_bytes // 2:
            self._is_paused = False
            self._read_on()
        return data

    def coalesce(self, pause_s: float) -> None:
        self._pause_s = pause_s
        if not pause_s and self._rest is not None:
            self._end_rest()

    async def send(self, data: bytes) -> None:
        await anyio.lowlevel.checkpoint_if_cancelled()
        self._raise_if_lost()
        # A port mostly takes a frame at once: then the engine need not watch it.
        written = self._port.write_some(data)
        for start in range(written, len(data), SEND_PIECE_BYTES):
            self._raise_if_lost()
            self._is_drained = anyio.Event()
            self._transport.write(data[start : start + SEND_PIECE_BYTES])
            try:
                await self._is_drained.wait()
            finally:
                if self._lost is None:  # after a cancellation the rest must not go out in front of the next send
                    self._transport.flush()
            self._raise_if_lost()

    async def end(self) -> None:
        """Return when the engine has let go of the port; unsent bytes are dropped."""
        self._lose("closed")
        await self._is_over.wait()

    # -- for the engine

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._has_news.set()
        if self._pause_s and len(data) >= COALESCE_BYTES and self._rest is None:
            self._rest = asyncio.get_running_loop().call_later(self._pause_s, self._end_rest)
            self._transport.pause_reading()
        if not self._is_paused and len(self._received) >= self._max_buffered_bytes:
            # Nobody receives, so nobody misses the news of a hang-up: it is seen by the next send, or by receive when it resumes.
            self._is_paused = True
            self._transport.pause_reading()

    def _end_rest(self) -> None:
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        self._read_on()

    def _read_on(self) -> None:
        if self._lost is None and not self._is_paused and self._rest is None:
            self._transport.resume_reading()

    def resume_writing(self) -> None:
        self._is_drained.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over.set()

    def _lose(self, why: str, cause: BaseException | None = None) -> None:
        if self._lost is not None:
            return
        self._lost = (why, cause)
        if self._rest is not None:
            self._rest.cancel()
        self._has_news.set()
        self._is_drained.set()
        self._transport.abort()  # once: a second one would fail in the engine; its close() would wait for unsent bytes

    def _raise_if_lost(self) -> None:
        if self._lost is not None:
            why, cause = self._lost
            raise LinkLost(f"{self._name}: {why}") from cause


# -- pyserial


class _Port(serial.Serial):  # type: ignore[misc]  # pyserial has no types
    """pyserial's port with its blocking ways taken out: the engine calls it on the event loop.

    Made in a thread, because opening may hang; given back by release, in a thread, for the same reason. A read or write that fails tells
    when_lost instead of raising: the engine would wait for its buffer to drain, or write to the log.
    """

    def __init__(self, path: str, baud: int, *, rtscts: bool) -> None:
        self.when_lost: Callable[[str, BaseException | None], None] = lambda why, cause: None
        super().__init__(path, baud, rtscts=rtscts, exclusive=True)

    def open(self) -> None:
        super().open()
        try:
            settle_line(self.fileno(), self.name, self.baudrate)
        except BaseException:
            super().close()
            raise

    def _reset_input_buffer(self) -> None:
        """Called by pyserial's open. Not done: the device's boot text waits there."""

    # The engine sets both to 0 on the loop, and pyserial would configure the port anew: USB transfers at a custom baud rate.
    @property
    def timeout(self) -> float:
        return 0

    @timeout.setter
    def timeout(self, _: float | None) -> None: ...

    @property
    def write_timeout(self) -> float:
        return 0

    @write_timeout.setter
    def write_timeout(self, _: float | None) -> None: ...

    def read(self, size: int = 1) -> bytes:
        """What there is, without select() (which fails above descriptor 1023) and more than the 1 KiB that the engine asks for."""
        try:
            data = os.read(self.fd, MAX_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            self.when_lost(reason_of_loss(error), error)
            return b""
        if not data:
            self.when_lost("hung up", None)
        return data

    def write(self, data: bytes) -> int:
        """As much as the kernel takes. Raises BlockingIOError, on which the engine keeps data: after a loss it is aborted already."""
        try:
            return os.write(self.fd, data)
        except (BlockingIOError, InterruptedError):
            raise
        except OSError as error:
            self.when_lost(reason_of_loss(error), error)
            raise BlockingIOError(errno.EAGAIN, "lost") from error

    def write_some(self, data: bytes) -> int:
        """What the kernel takes at once; 0 when it is full or the port is lost."""
        try:
            return self.write(data[:SEND_PIECE_BYTES])
        except (BlockingIOError, InterruptedError):
            return 0

    def flush(self) -> None:
        """Called by the engine on the loop. Not done: tcdrain waits for a device that may be stuck."""

    def close(self) -> None:
        """Called by the engine on the loop. Not done here but by release."""

    def release(self) -> None:
        """Close in earnest; may hang. Bytes the kernel still holds are dropped, or close would wait 30 s for a stuck device."""
        if not self.is_open:
            return
        with contextlib.suppress(OSError):
            fcntl.ioctl(self.fd, termios.TIOCNXCL)
        with contextlib.suppress(termios.error):
            termios.tcflush(self.fd, termios.TCOFLUSH)
        super().close()

"""A tty as a Link: pyserial opens and configures it, pyserial-asyncio moves the bytes, and this file is the only one that knows either.

The port is raw and without echo from its first moment, held by one process only, and not flushed: what waits in it when it is opened is
the device's boot text. It never polls, never drains, and never opens or closes on the event loop: a driver may take 30 s for that.
It knows no messages and reopens nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import termios
import time
from collections.abc import Callable, Sequence
from typing import Final

import anyio
import serial
import serial_asyncio

from transports.blocking import BlockingCalls
from transports.discovery.facts import PortFacts
from transports.discovery.places import PathPlace, Place
from transports.discovery.sysfs import port_of_device
from transports.errors import LinkError, LinkLost, LinkTimeout
from transports.latency import set_latency_timer
from transports.line_errors import read_line_errors
from transports.link import MAX_READ_BYTES, LineErrors
from transports.modem_lines import Step, lines_after_open, steps_of_reset
from transports.rs485 import set_rs485
from transports.serial_options import PortSettings
from transports.serial_stream import SerialStream
from transports.tty_line import open_error, reason_of_loss, set_lines, settle_line

_logger = logging.getLogger(__name__)

OPEN_DEADLINE_S: Final = 5.0
"""USB adapters take some ms; a port whose earlier close hangs takes up to 30 s, and then the next attempt gets it."""
CLOSE_PATIENCE_S: Final = 0.5
"""A close that is not done by then waits for bytes that a stuck device does not take, and holds up the plugs of the whole hub: it is
interrupted."""
CLOSE_DEADLINE_S: Final = 2.0
"""How long a scope may be held up by a port that hangs in close all the same; the call then ends alone."""
RESET_DEADLINE_S: Final = 2.0
"""Two requests to the adapter and the hold between them."""
MAX_BUFFERED_BYTES: Final = 1 << 20
"""Received and not yet taken."""
FULL_READ_BYTES: Final = 4095
"""What one read of a tty returns at most; then there may be more."""
DEFAULT_SETTINGS: Final = PortSettings()


class SerialLinkOpener:
    """Opens one serial port, again and again, wherever it is then."""

    def __init__(
        self,
        place: Place | str,
        settings: PortSettings = DEFAULT_SETTINGS,
        *,
        open_deadline_s: float = OPEN_DEADLINE_S,
        max_buffered_bytes: int = MAX_BUFFERED_BYTES,
    ) -> None:
        """A str is a path; a symbolic link is followed anew at each attempt."""
        self._place = PathPlace(place) if isinstance(place, str) else place
        self._settings = settings
        self._open_deadline_s = open_deadline_s
        self._max_buffered_bytes = max_buffered_bytes
        self._calls = BlockingCalls(self._place.name, patience_s=CLOSE_PATIENCE_S)
        self._port: PortFacts | None = None

    @property
    def name(self) -> str:
        return self._place.name

    @property
    def port(self) -> PortFacts | None:
        """See transports.discovery.places.PortOpener."""
        return self._port

    @property
    def names_a_board(self) -> bool:
        """See transports.discovery.places.PortOpener."""
        return self._place.names_a_board

    def means(self, port: PortFacts, ports: Sequence[PortFacts]) -> bool:
        """See transports.discovery.places.PortOpener."""
        return self._place.means(port, ports)

    @property
    def can_reset(self) -> bool:
        """See transports.link.ResettingOpener."""
        return bool(steps_of_reset(self._settings.lines))

    async def open(self) -> SerialLink:
        """The open port; the caller closes it.

        Raises LinkNotFound, LinkBusy, LinkPermissionDenied, LinkTimeout, or LinkError when the port refuses a setting.
        """
        path = await self._place.node()
        port, self._port = await self._calls.run(
            "open", lambda: self._open_port(path), deadline_s=self._open_deadline_s, undo=lambda opened: opened[0].release()
        )
        stream = SerialStream(self.name, port.write_some, port.read_gathered, self._max_buffered_bytes)
        port.when_lost = stream.lose
        transport, _ = await serial_asyncio.connection_for_serial(asyncio.get_running_loop(), lambda: stream, port)
        stream.attach(transport)
        return SerialLink(self.name, port, stream, self._calls)

    async def address(self) -> str:
        """See transports.link.LendableOpener. Who borrows it may be in another folder than this process."""
        return os.path.abspath(await self._place.node())  # noqa: ASYNC240 - it only asks which folder this is

    async def appeared(self) -> None:
        """See transports.link.HotplugOpener."""
        await self._place.appeared()

    async def vanished(self) -> str:
        """See transports.link.HotplugOpener."""
        return await self._place.vanished()

    def _open_port(self, path: str) -> tuple[_Port, PortFacts | None]:
        try:
            port = _Port(path, self._settings)
        except OSError as error:
            raise open_error(path, error) from error
        except termios.error as error:  # pyserial lets it through when the port vanishes while it is being set
            raise open_error(path, OSError(*error.args)) from error
        except ValueError as error:  # how pyserial says that the driver refused a custom baud rate
            raise LinkError(f"{path}: the port refuses {self._settings.baud} baud") from error
        return port, self._place.port or port_of_device(os.fstat(port.fd).st_rdev)


class SerialLink:
    """One open serial port: a Link, whose line is counted and whose board may be reset."""

    def __init__(self, name: str, port: _Port, stream: SerialStream, calls: BlockingCalls) -> None:
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

    async def deliver(self, received: Callable[[bytes], float | None]) -> None:
        await self._stream.deliver(received)

    async def send(self, data: bytes) -> None:
        await self._stream.send(data)

    def send_now(self, data: bytes) -> int:
        return self._stream.send_now(data)

    def end_rest(self) -> None:
        self._stream.end_rest()

    def line_errors(self) -> LineErrors | None:
        return self._port.line_errors()

    async def reset(self) -> None:
        """See transports.link.ResettableLink."""
        steps = steps_of_reset(self._port.settings.lines)
        if not steps:
            raise LinkError(f"{self._name}: modemLines: {self._port.settings.modem_lines} is no way to reset a board")
        if self._is_closing:
            raise LinkLost(f"{self._name}: closed")
        with anyio.CancelScope(shield=True):  # half a reset holds the board for ever
            await self._calls.run("reset", lambda: self._port.step(steps), deadline_s=RESET_DEADLINE_S)

    async def aclose(self) -> None:
        if self._is_closing:
            await self._closed.wait()
            return
        self._is_closing = True
        with anyio.CancelScope(shield=True):  # bounded: the engine ends in its next turn, the call has a deadline
            try:
                await self._stream.end()
                await self._calls.run("close", self._port.release, deadline_s=CLOSE_DEADLINE_S, is_interruptible=True)
            except LinkTimeout:
                _logger.warning("serial port hangs in close; left to the operating system", extra={"link": self._name})
            finally:
                self._closed.set()


# -- pyserial


class _Port(serial.Serial):  # type: ignore[misc]  # pyserial has no types
    """pyserial's port with its blocking ways taken out: the engine calls it on the event loop.

    Made in a thread, because opening may hang; given back by release, in a thread, for the same reason. A read or write that fails tells
    when_lost instead of raising: the engine would wait for its buffer to drain, or write to the log.
    """

    def __init__(self, path: str, settings: PortSettings) -> None:
        self.settings = settings
        self.when_lost: Callable[[str, BaseException | None], None] = lambda why, cause: None
        self._errors_at_open: LineErrors | None = None
        self._errors: LineErrors | None = None
        super().__init__(path, settings.baud, rtscts=settings.is_rtscts, exclusive=True)

    def open(self) -> None:
        super().open()
        try:
            self._settle()
        except BaseException:
            super().close()
            raise

    def _settle(self) -> None:
        fd, settings = self.fileno(), self.settings
        settle_line(fd, self.name, settings.baud, is_rtscts=settings.is_rtscts)
        if settings.rs485 is not None:
            set_rs485(fd, self.name, settings.rs485)
        lines = lines_after_open(settings.lines)
        if lines is not None:
            set_lines(fd, lines)
        if settings.low_latency is not None:
            with contextlib.suppress(ValueError):  # most drivers have no such mode, and are as quick as they can be
                self.set_low_latency_mode(settings.low_latency)
        if settings.latency_timer is not None and (why := set_latency_timer(fd, settings.latency_ms)):
            _logger.warning("latency timer of the port is not set", extra={"link": self.name, "why": why})
        self._errors_at_open = read_line_errors(fd)

    def line_errors(self) -> LineErrors | None:
        """Since the open; what was last known when the port is gone."""
        if self._errors_at_open is not None and self.is_open and (errors := read_line_errors(self.fd)) is not None:
            self._errors = errors.since(self._errors_at_open)
        return self._errors

    def step(self, steps: tuple[Step, ...]) -> None:
        """Set the modem lines as steps say; blocks for as long as they hold. Raises LinkError."""
        for step in steps:
            try:
                has_lines = set_lines(self.fd, step.lines)
            except OSError as error:
                raise open_error(self.name, error) from error
            if not has_lines:
                raise LinkError(f"{self.name}: the port has no modem lines")
            time.sleep(step.hold_s)

    def _reset_input_buffer(self) -> None:
        """Called by pyserial's open. Not done: the device's boot text waits there."""

    def _update_dtr_state(self) -> None:
        """Called by pyserial's open. Not done: the lines move together or not at all."""

    def _update_rts_state(self) -> None:
        """As _update_dtr_state."""

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
        """All that a tty gives at once, not the 1 KiB that the engine asks for; and without select(), which fails above descriptor 1023."""
        data = self._read()
        if data == b"":
            self.when_lost("hung up", None)
        return data or b""

    def read_gathered(self) -> bytes:
        """The same without having been told that there is something: to read nothing then means nothing."""
        data = last = self._read() or b""
        while len(last) == FULL_READ_BYTES and len(data) < MAX_READ_BYTES:
            last = self._read() or b""
            data += last
        return data

    def _read(self) -> bytes | None:
        try:
            return os.read(self.fd, FULL_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            self.when_lost(reason_of_loss(error), error)
            return None

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
            return self.write(data)
        except (BlockingIOError, InterruptedError):
            return 0

    def flush(self) -> None:
        """Called by the engine on the loop. Not done: tcdrain waits for a device that may be stuck."""

    def close(self) -> None:
        """Called by the engine on the loop. Not done here but by release."""

    def release(self) -> None:
        """Close in earnest; may hang, and may be interrupted. Bytes the kernel still holds are dropped: a stuck device takes none."""
        if not self.is_open:
            return
        with contextlib.suppress(OSError):
            fcntl.ioctl(self.fd, termios.TIOCNXCL)
        with contextlib.suppress(termios.error):
            termios.tcflush(self.fd, termios.TCOFLUSH)
        super().close()

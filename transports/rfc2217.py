"""A serial port of another machine as a Link: telnet with the Com Port Control Option (RFC 2217) over TCP, as ser2net serves it.

The conversation is com_port.py's; here it meets the connection. Commands and data share one stream, so a command waits behind a device
that takes nothing.
"""

from __future__ import annotations

from typing import Final

import anyio
import anyio.lowlevel

from transports.com_port import ComPort
from transports.errors import LinkError, LinkLost, LinkTimeout, RemoteProtocolError
from transports.link import MAX_READ_BYTES
from transports.modem_lines import lines_after_open, steps_of_reset
from transports.serial_options import PortSettings
from transports.tcp_link import MAX_REFUSAL_BYTES, TcpLink, TcpLinkOpener, refusal_error
from transports.telnet import IAC, cuts_a_pair, escape

SETTLE_DEADLINE_S: Final = 5.0
"""From the connection to a port that is set. The server opens its port in this time."""
MAX_EARLY_BYTES: Final = 1 << 22
"""Of the device, before its port is set: twice what a line of 4 Mbaud carries in that time."""


class Rfc2217LinkOpener:
    """Connects to one port of one server and sets it, again and again."""

    def __init__(self, host: str, port: int, settings: PortSettings) -> None:
        self._tcp = TcpLinkOpener(host, port, scheme="rfc2217")
        self._settings = settings

    @property
    def name(self) -> str:
        return self._tcp.name

    @property
    def can_reset(self) -> bool:
        """See transports.link.ResettingOpener."""
        return bool(steps_of_reset(self._settings.lines))

    async def address(self) -> str:
        """See transports.link.LendableOpener: pyserial opens such a URL."""
        return self._tcp.name

    async def open(self) -> Rfc2217Link:
        """Raises what TcpLinkOpener.open does, and LinkError when the server refuses a setting."""
        link = Rfc2217Link(await self._tcp.connect(), self._settings)
        try:
            await link.settle()
        except BaseException:
            await link.aclose()
            raise
        return link


class Rfc2217Link:
    """One port of a server: a Link whose board may be reset."""

    def __init__(self, tcp: TcpLink, settings: PortSettings) -> None:
        self._tcp = tcp
        self._settings = settings
        lines = lines_after_open(settings.lines)
        self._port = ComPort(tcp.name, settings.baud, is_rtscts=settings.is_rtscts, lines=lines)
        self._received = bytearray()
        self._commands = b""
        """What must go out before the next data."""
        self._is_sending = False

    @property
    def name(self) -> str:
        return self._tcp.name

    async def settle(self) -> None:
        """Return when the port is set; what the device says meanwhile is kept."""
        with anyio.move_on_after(SETTLE_DEADLINE_S):
            try:
                self._say()
                while not self._port.is_ready:
                    await self._read()
                    if len(self._received) > MAX_EARLY_BYTES:
                        raise LinkError(f"{self.name}: {MAX_EARLY_BYTES} bytes came before the server answered {self._port.waits_for}")
                return
            except LinkLost:
                raise refusal_error(self.name, bytes(self._received[:MAX_REFUSAL_BYTES])) from None
            except RemoteProtocolError as error:
                raise LinkError(f"{self.name}: {error}") from error
        raise LinkTimeout(f"{self.name}: the server did not answer {self._port.waits_for} within {SETTLE_DEADLINE_S:g} s")

    async def receive(self, max_bytes: int = MAX_READ_BYTES) -> bytes:
        while not self._received:
            try:
                await self._read()
            except RemoteProtocolError as error:
                raise LinkLost(f"{self.name}: {error}") from error
        data = bytes(self._received[:max_bytes])
        del self._received[:max_bytes]
        return data

    async def send(self, data: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        before, self._commands = self._commands, b""
        out, sent = before + escape(data), 0
        self._is_sending = True
        try:
            while (sent := sent + self._tcp.send_some(out[sent:])) < len(out):
                await self._tcp.until_writable()
        finally:
            self._is_sending = False
            if sent < len(before):  # cancelled: no half command, and no half of a doubled FF, may stand before the next
                self._commands = before[sent:] + self._commands
            elif cuts_a_pair(out[len(before) :], sent - len(before)):
                self._commands = IAC + self._commands
        self._say()

    async def reset(self) -> None:
        """See transports.link.ResettableLink."""
        steps = steps_of_reset(self._settings.lines)
        if not steps:
            raise LinkError(f"{self.name}: modemLines: {self._settings.modem_lines} is no way to reset a board")
        with anyio.CancelScope(shield=True):  # half a reset holds the board for ever
            for step in steps:
                self._port.set_lines(step.lines)
                self._say()
                await anyio.sleep(step.hold_s)
        if self._commands:
            raise LinkError(f"{self.name}: the reset waits behind bytes that the device does not take")

    async def aclose(self) -> None:
        await self._tcp.aclose()

    async def _read(self) -> None:
        self._received += self._port.receive_data(await self._tcp.receive())
        self._say()

    def _say(self) -> None:
        """Send what the conversation wants to say, as much as goes at once; never into the middle of something else."""
        self._commands += self._port.data_to_send()
        if self._commands and not self._is_sending:
            self._commands = self._commands[self._tcp.send_some(self._commands) :]

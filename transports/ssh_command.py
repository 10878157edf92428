"""One more command on a machine that we are logged in to: a channel of its own, with a terminal if it is asked for."""

from __future__ import annotations

from collections import deque
from typing import Final

import anyio
import asyncssh

from transports.errors import LinkLost
from transports.link import CommandEnd, CommandOutput, TerminalSize

MAX_UNREAD_BYTES: Final = 1 << 18
"""Then the channel's window closes, and the command waits."""
PIECE_BYTES: Final = 32768
"""What a packet carries."""
CLOSE_DEADLINE_S: Final = 1.0
LOST_CODE: Final = 255
"""OpenSSH's exit code for a command whose end nobody told."""


class SshCommand(asyncssh.SSHClientSession[bytes]):
    """See transports.link.Command. Made by transports.ssh, which opens its channel."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._unread: deque[CommandOutput] = deque()
        self._unread_bytes = 0
        self._is_paused = self._is_full = False
        self._end: CommandEnd | None = None
        self._is_over = False
        self._loss: Exception | None = None
        self._moved = anyio.Event()

    async def receive(self) -> CommandOutput | CommandEnd:
        while not self._unread:
            if self._is_over:
                if self._loss is not None:
                    raise LinkLost(f"{self._name}: the connection was lost: {self._loss or type(self._loss).__name__}")
                return self._end or CommandEnd(LOST_CODE)
            await self._moved.wait()
        output = self._unread.popleft()
        self._unread_bytes -= len(output.data)
        if self._is_paused and self._unread_bytes < MAX_UNREAD_BYTES // 2 and self._channel is not None:
            self._is_paused = False
            self._channel.resume_reading()
        return output

    async def send(self, data: bytes) -> None:
        for start in range(0, len(data), PIECE_BYTES):
            while self._is_full and not self._is_over:
                await self._moved.wait()
            if self._is_over or self._channel is None or self._channel.is_closing():
                return
            self._channel.write(data[start : start + PIECE_BYTES])

    def end_input(self) -> None:
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write_eof()

    def resize(self, size: TerminalSize) -> None:
        if self._channel is not None and not self._channel.is_closing():
            self._channel.change_terminal_size(size.columns, size.rows)

    async def aclose(self) -> None:
        channel = self._channel
        if channel is None or self._is_over:
            return
        if self._end is None:
            channel.terminate()  # sshd passes it on since 7.9; an older one closes its pipes
        channel.close()
        with anyio.move_on_after(CLOSE_DEADLINE_S, shield=True):
            await channel.wait_closed()

    def _ring(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()

    # -- asyncssh.SSHClientSession

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan
        chan.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._unread.append(CommandOutput(data, datatype == asyncssh.EXTENDED_DATA_STDERR))
        self._unread_bytes += len(data)
        if not self._is_paused and self._unread_bytes > MAX_UNREAD_BYTES and self._channel is not None:
            self._is_paused = True
            self._channel.pause_reading()
        self._ring()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._ring()

    def exit_status_received(self, status: int) -> None:
        self._end = CommandEnd(status)

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._end = CommandEnd(LOST_CODE, signal)

    def eof_received(self) -> bool:
        """True: its output has ended, not yet the command."""
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over, self._loss = True, exc
        self._ring()

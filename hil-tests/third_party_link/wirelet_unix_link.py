"""`link: {unix: {path: ...}}`: a device behind a unix socket, such as the serial console of a virtual machine.

A package of somebody else, as far as Wirelet is concerned: it uses what docs/how-to/write-a-link.md names and nothing more.
"""

from __future__ import annotations

import hashlib
import os
import socket
from dataclasses import dataclass
from typing import Final

import anyio
from anyio.abc import SocketStream

from transports.driver import BadOption, DeviceFacts
from transports.errors import LinkBusy, LinkLost, LinkNotFound, LinkPermissionDenied
from transports.link import MAX_READ_BYTES, LinkOpener

MAX_PATH_BYTES: Final = 107
"""What a socket's address has room for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixOptions:
    path: str

    def __post_init__(self) -> None:
        if not 0 < len(os.fsencode(self.path)) <= MAX_PATH_BYTES:
            raise BadOption("path", f"must be 1 to {MAX_PATH_BYTES} bytes, not {len(os.fsencode(self.path))}")


class UnixDriver:
    options = UnixOptions

    def opener(self, options: UnixOptions, device: DeviceFacts) -> LinkOpener:
        return UnixOpener(options.path)

    def bytes_per_s(self, options: UnixOptions) -> float | None:
        return None

    def port(self, options: UnixOptions) -> str | None:
        return os.path.realpath(options.path)


class UnixOpener:
    """Connects to the socket at path, again and again."""

    def __init__(self, path: str) -> None:
        self.name = path
        self._lock_name = b"\0wirelet-unix-link " + hashlib.sha256(os.fsencode(path)).digest()

    async def open(self) -> UnixLink:
        lock = self._lock()
        try:
            return UnixLink(self.name, await anyio.connect_unix(self.name), lock)
        except BaseException as error:
            lock.close()
            match error:
                case FileNotFoundError() | ConnectionRefusedError():
                    raise LinkNotFound(f"{self.name}: nobody listens there") from error
                case PermissionError():
                    raise LinkPermissionDenied(f"{self.name}: no permission to connect") from error
            raise

    def _lock(self) -> socket.socket:
        """Two clients of one device would each get half of what it says. A name in the abstract namespace goes with its process."""
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(self._lock_name)
        except OSError as error:
            lock.close()
            raise LinkBusy(f"{self.name}: another link has it open") from error
        return lock


class UnixLink:
    def __init__(self, name: str, stream: SocketStream, lock: socket.socket) -> None:
        self.name = name
        self._stream = stream
        self._lock = lock

    async def receive(self, max_bytes: int = MAX_READ_BYTES) -> bytes:
        try:
            return await self._stream.receive(max_bytes)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise LinkLost(f"{self.name}: the other side has hung up") from error

    async def send(self, data: bytes) -> None:
        try:
            await self._stream.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            raise LinkLost(f"{self.name}: the other side has hung up") from error

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:  # also where it is cancelled
            self._lock.close()

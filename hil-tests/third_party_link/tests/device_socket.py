"""The device's side of a unix socket: it listens, and talks to one client after the other."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path
from typing import Final

import anyio

BACKLOG: Final = 16
READ_BYTES: Final = 65536


class DeviceSocket:
    """Bytes to and from whoever is connected; waits while nobody is. What was on its way to a client that has gone is lost."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        self._listener.bind(str(path))
        self._listener.listen(BACKLOG)
        self._client: socket.socket | None = None
        self._accepting = anyio.Lock()

    async def send(self, data: bytes) -> None:
        while data:
            client = await self._connected()
            try:
                data = data[client.send(data) :]
            except BlockingIOError:
                with contextlib.suppress(anyio.ClosedResourceError):
                    await anyio.wait_writable(client)
            except OSError:
                self._drop(client)

    async def receive(self) -> bytes:
        while True:
            client = await self._connected()
            try:
                if data := client.recv(READ_BYTES):
                    return data
            except BlockingIOError:
                with contextlib.suppress(anyio.ClosedResourceError):
                    await anyio.wait_readable(client)
                continue
            except OSError:
                pass
            self._drop(client)

    async def hang_up(self) -> None:
        self._drop(await self._connected())

    def close(self) -> None:
        if self._client is not None:
            self._drop(self._client)
        self._listener.close()

    async def _connected(self) -> socket.socket:
        async with self._accepting:
            while self._client is None:
                try:
                    self._client, _ = self._listener.accept()
                    self._client.setblocking(False)
                except BlockingIOError:
                    await anyio.wait_readable(self._listener)
            return self._client

    def _drop(self, client: socket.socket) -> None:
        if client is self._client:
            self._client = None
            with contextlib.suppress(RuntimeError):  # no event loop any more
                anyio.notify_closing(client)
            client.close()

"""One WebSocket over a byte stream, for either side: whole binary messages in and out. The only door to wsproto.

The HTTP part is over when it begins. One task may receive while others send.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

import anyio
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from gateway.kubelet.exchange import Pipe

MAX_MESSAGE_BYTES: Final = 1 << 20
"""kubectl sends 32 KiB at once."""
READ_BYTES: Final = 64 * 1024
CLOSE_S: Final = 1.0
"""For the other side's half of the farewell."""
GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
NORMAL: Final = 1000
UNSUPPORTED_DATA: Final = 1003
TOO_BIG: Final = 1009

_GONE: Final = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError)


def accept_token(key: str) -> str:
    """Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key.encode("latin-1") + GUID, usedforsecurity=False).digest()).decode()


def is_key(key: str) -> bool:
    """16 bytes in base64."""
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except ValueError:
        return False


class WebSocket:
    """early is what came behind the HTTP head."""

    def __init__(self, stream: Pipe, early: bytes, *, is_client: bool = False) -> None:
        self._stream = stream
        self._connection = Connection(ConnectionType.CLIENT if is_client else ConnectionType.SERVER, trailing_data=early)
        self._sending = anyio.Lock()

    async def receive(self) -> bytes | None:
        """The next message; None when the other side has gone, or sent what it must not."""
        message = bytearray()
        while True:
            for event in self._connection.events():
                match event:
                    case BytesMessage(data=data):
                        message += data
                        if len(message) > MAX_MESSAGE_BYTES:
                            await self._send(CloseConnection(TOO_BIG))
                            return None
                        if event.message_finished:
                            return bytes(message)
                    case TextMessage():
                        await self._send(CloseConnection(UNSUPPORTED_DATA))
                        return None
                    case Ping():
                        await self._send(event.response())
                    case CloseConnection():
                        if self._connection.state is ConnectionState.REMOTE_CLOSING:
                            await self._send(event.response())
                        return None
                    case _:
                        pass
            try:
                self._connection.receive_data(await self._stream.receive(READ_BYTES))
            except (*_GONE, RemoteProtocolError):
                return None

    async def send(self, message: bytes) -> None:
        """Dropped when the other side has gone: receive tells."""
        await self._send(BytesMessage(message))

    async def is_there(self) -> bool:
        """Whether the other side takes what is sent, for somebody who does not receive now. Of one just gone it may say yes once.

        It is told by a pong, which nobody has to answer (RFC 6455 5.5.3): who waits for room to answer a ping reads nothing meanwhile.
        """
        return await self._send(Pong())

    async def close(self, code: int = NORMAL) -> None:
        """Say farewell and wait a moment for the answer, so that what was sent last is not cut off."""
        await self._send(CloseConnection(code))
        with anyio.move_on_after(CLOSE_S):
            while await self.receive() is not None:
                pass

    async def _send(self, event: CloseConnection | BytesMessage | Pong) -> bool:
        async with self._sending:
            try:
                await self._stream.send(self._connection.send(event))
            except (*_GONE, LocalProtocolError):
                return False
        return True

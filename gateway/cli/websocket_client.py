"""A WebSocket to the gateway's socket."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
from anyio.abc import ByteReceiveStream

from gateway.cli.client import SEE, TIMEOUT_S, Client, GatewayRefused, GatewayUnreachable
from gateway.kubelet.channels import PROTOCOLS
from gateway.kubelet.websocket import WebSocket, accept_token

MAX_HEAD_BYTES: Final = 16 * 1024
MAX_TEXT_BYTES: Final = 64 * 1024
"""Of a refusal."""


@asynccontextmanager
async def opened(client: Client, target: str) -> AsyncIterator[WebSocket]:
    """Raises GatewayUnreachable and GatewayRefused."""
    key = base64.b64encode(os.urandom(16)).decode()
    try:
        stream = await anyio.connect_unix(client.path)
    except OSError as error:
        raise GatewayUnreachable(client.why(error)) from error
    async with stream:
        head = (
            f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {PROTOCOLS[0]}\r\n\r\n"
        )
        try:
            await stream.send(head.encode())
            answer, early = await _head(stream)
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError, TimeoutError) as error:
            raise GatewayUnreachable(client.why(error)) from error
        status, headers = _parsed(answer)
        if status != 101:
            text = await _text(stream, early, headers)
            way = f"; {SEE}" if status == 404 else ""
            raise GatewayRefused(f"{text or f'the gateway answered {status}'}{way}")
        if headers.get("sec-websocket-accept") != accept_token(key):
            raise GatewayRefused(f"what answers at {client.path} speaks no WebSocket")
        yield WebSocket(stream, early, is_client=True)


async def _head(stream: ByteReceiveStream) -> tuple[bytes, bytes]:
    """Raises TimeoutError, and EndOfStream for one that is too long."""
    received = b""
    with anyio.fail_after(TIMEOUT_S):
        while b"\r\n\r\n" not in received:
            if len(received) > MAX_HEAD_BYTES:
                raise anyio.EndOfStream
            received += await stream.receive()
    head, _, early = received.partition(b"\r\n\r\n")
    return head, early


def _parsed(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split()
    pairs = (line.partition(":") for line in lines)
    return int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0, {name.lower(): value.strip() for name, _, value in pairs}


async def _text(stream: ByteReceiveStream, early: bytes, headers: dict[str, str]) -> str:
    told = headers.get("content-length", "0")
    size = min(int(told), MAX_TEXT_BYTES) if told.isdecimal() else 0
    body = early
    try:
        with anyio.fail_after(TIMEOUT_S):
            while len(body) < size:
                body += await stream.receive()
    except (OSError, anyio.EndOfStream, anyio.BrokenResourceError, TimeoutError):
        pass  # what came has to do
    return body.decode(errors="replace").strip()

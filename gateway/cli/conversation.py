"""A terminal, or a pipe, and a container: the client's side of exec and attach over the gateway's socket."""

from __future__ import annotations

import argparse
import getpass
import json
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, urlencode

import anyio
import anyio.lowlevel

from gateway.cli.client import Client, ClientError, add_socket_argument, socket_path
from gateway.cli.raw_terminal import raw_terminal
from gateway.cli.targets import Ambiguous, only_container
from gateway.cli.websocket_client import opened
from gateway.kubelet import channels
from gateway.kubelet.channels import Channel
from gateway.kubelet.websocket import WebSocket

READ_BYTES: Final = 32 * 1024
LEAVE: Final = b"\x1d"
"""Ctrl-], as telnet has it: everything else is the other side's."""
LEFT_EARLY: Final = "the gateway left in the middle; it has stopped or was restarted: try again when it runs"


def add_conversation_arguments(parser: argparse.ArgumentParser, stdin_help: str) -> None:
    parser.add_argument("pod", metavar="POD")
    parser.add_argument("-c", "--container", metavar="NAME", help="which container of the pod")
    parser.add_argument("-i", "--stdin", action="store_true", help=stdin_help)
    parser.add_argument("-t", "--tty", action="store_true", help="a terminal; Ctrl-] leaves it")
    parser.add_argument("-n", "--namespace", metavar="NAME", default="default", help="namespace of the pod (default: default)")
    add_socket_argument(parser)


def converse(arguments: argparse.Namespace, verb: str, argv: Sequence[str]) -> int:
    """Until the other side has ended, or the person leaves. Prints what went wrong; returns the exit code."""
    is_terminal = arguments.tty and (not arguments.stdin or os.isatty(sys.stdin.fileno()))
    if arguments.tty and not is_terminal:
        print(f"wirelet {verb}: standard input is no terminal; going on without -t", file=sys.stderr)
    client = Client(socket_path(arguments.socket))
    pod = arguments.pod.removeprefix("pod/")
    try:
        container = arguments.container or only_container(client.items("pods"), arguments.namespace, pod)
        target = _target(verb, (arguments.namespace, pod, container), argv, has_input=arguments.stdin, is_terminal=is_terminal)
        speaking = _Speaking(client, target, has_input=arguments.stdin, is_terminal=is_terminal)
        with raw_terminal(sys.stdin.fileno(), is_wanted=is_terminal and arguments.stdin):
            code, text = anyio.run(speaking.run)
    except (ClientError, Ambiguous) as error:
        code, text = 1, str(error)
    if text:
        print(f"wirelet {verb}: {text}", file=sys.stderr)
    return code


def _target(verb: str, path: Sequence[str], argv: Sequence[str], *, has_input: bool, is_terminal: bool) -> str:
    wanted = {"input": has_input, "output": True, "error": not is_terminal, "tty": is_terminal}
    query = [("command", word) for word in argv] + [(name, "1") for name, is_wanted in wanted.items() if is_wanted]
    query.append(("who", _who()))
    return f"/{verb}/{'/'.join(quote(each, safe='') for each in path)}?{urlencode(query, errors='surrogateescape')}"


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # nobody has given this one a name
        return str(os.getuid())


class _Speaking:
    """One conversation."""

    def __init__(self, client: Client, target: str, *, has_input: bool, is_terminal: bool) -> None:
        self._client = client
        self._target = target
        self._has_input = has_input
        self._is_terminal = is_terminal
        self._result: tuple[int, str] = (1, LEFT_EARLY)

    async def run(self) -> tuple[int, str]:
        """(exit code, what went wrong). Raises ClientError."""
        async with opened(self._client, self._target) as socket, anyio.create_task_group() as tasks:
            if self._has_input:
                tasks.start_soon(self._type, socket, tasks.cancel_scope)
            if self._is_terminal:
                tasks.start_soon(self._resize, socket)
            await self._show(socket)
            tasks.cancel_scope.cancel()
        return self._result

    async def _show(self, socket: WebSocket) -> None:
        while (message := await socket.receive()) is not None:
            data = message[1:]
            match message[0] if message else None:
                case Channel.STDOUT:
                    _write(sys.stdout.fileno(), data)
                case Channel.STDERR:
                    _write(sys.stderr.fileno(), data)
                case Channel.ERROR:
                    self._result = channels.result(data)
                case _:
                    pass

    async def _type(self, socket: WebSocket, scope: anyio.CancelScope) -> None:
        fd = sys.stdin.fileno()
        while True:
            try:
                await anyio.wait_readable(fd)
            except PermissionError:  # a file is always readable, which epoll does not say
                await anyio.lowlevel.checkpoint()
            data = os.read(fd, READ_BYTES)
            if self._is_terminal and LEAVE in data:
                self._result = (0, "")
                scope.cancel()
                return
            if not data:
                await socket.send(channels.input_end())
                return
            await socket.send(channels.encode(Channel.STDIN, data))

    async def _resize(self, socket: WebSocket) -> None:
        with anyio.open_signal_receiver(signal.SIGWINCH) as signals:
            await self._tell_size(socket)
            async for _ in signals:
                await self._tell_size(socket)

    async def _tell_size(self, socket: WebSocket) -> None:
        columns, rows = shutil.get_terminal_size()
        await socket.send(channels.encode(Channel.RESIZE, json.dumps({"Width": columns, "Height": rows}).encode()))


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]

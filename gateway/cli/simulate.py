"""`wirelet simulate`: simulated devices behind ptys with stable paths, until SIGTERM or SIGINT.

It prints `ready PATH` for each device and reads commands from stdin: `unplug [N]`, `plug [N]`, `reset [N]` (a power cycle), where N counts
from 0 and no N means all. Boards run on while they are unplugged. The end of stdin is no reason to end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from transports.simulated.board import BoardConfig
    from transports.simulated.pty import PtyPort
    from transports.simulated.runner import BoardRunner

MAX_COUNT: Final = 1000
"""Each device needs two descriptors."""
SPARE_DESCRIPTORS: Final = 64
MAX_COMMAND_BYTES: Final = 4096
COMMANDS: Final = ("unplug", "plug", "reset")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--link", metavar="PATH", required=True, help="where the port appears; %%d stands for the device's number from 0")
    parser.add_argument("--count", metavar="N", type=_between(1, MAX_COUNT), default=1, help="devices in this process (default 1)")
    parser.add_argument("--id", metavar="ID", default="", help="identity of the device; with --count ID-0, ID-1 (default: from the seed)")
    parser.add_argument("--seed", metavar="N", type=_between(0, 2**31), default=0, help="seed of the first device (default 0)")
    parser.add_argument("--slots", metavar="N", type=_between(1, 31), default=1, help="workloads at once on each device (default 1)")
    parser.add_argument("--ring", metavar="BYTES", type=_between(1024, 1 << 24), default=16384, help="size of the log ring (default 16384)")
    parser.add_argument(
        "--conversations",
        metavar="N",
        type=_between(0, 100),
        default=4,
        help="commands and typists at once (default 4; 0: it can do neither)",
    )
    parser.add_argument("--trace", action="store_true", help="print every request, session, boot and end of a program")
    parser.add_argument("--accept", choices=["any"], help="any: an unknown program prints its arguments and stays up")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 after a signal, 1 when a port cannot be made, 2 for a wrong command line."""
    if arguments.count > 1 and "%d" not in arguments.link:
        return _fail(f"--link {arguments.link} needs a %d for --count {arguments.count}: --link {arguments.link}-%d", 2)
    import anyio  # what follows is loaded only here, so that the other commands start quickly

    try:
        _allow_descriptors(2 * arguments.count + SPARE_DESCRIPTORS)
        anyio.run(_run, arguments)
    except OSError as exc:
        where = exc.filename2 or exc.filename  # a link is made from a pty to the second
        return _fail(f"{f'{where}: {exc.strerror}' if where else exc}; choose another --link", 1)
    return 0


async def _run(arguments: argparse.Namespace) -> None:
    import anyio

    from transports.simulated.pty import PtyPort
    from transports.simulated.runner import BoardRunner

    ports = [PtyPort(path) for path in _paths(arguments)]
    runners = [BoardRunner(config, port, _trace(arguments, port)) for config, port in zip(_configs(arguments), ports, strict=True)]
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        try:
            for port in ports:
                os.makedirs(os.path.dirname(port.path), exist_ok=True)
                port.plug()
            async with anyio.create_task_group() as tasks:
                for runner in runners:
                    tasks.start_soon(runner.run)
                tasks.start_soon(_obey_stdin, ports, runners)
                for port in ports:
                    _say(f"ready {port.path}")
                await anext(signals)
                tasks.cancel_scope.cancel()
        finally:
            for port in ports:
                port.unplug()


def _trace(arguments: argparse.Namespace, port: PtyPort) -> Callable[[str], None]:
    if not arguments.trace:
        return lambda line: None
    return lambda line: _say(f"{port.path}: {line}")


def _paths(arguments: argparse.Namespace) -> list[str]:
    return [os.path.abspath(arguments.link.replace("%d", str(number))) for number in range(arguments.count)]


def _configs(arguments: argparse.Namespace) -> list[BoardConfig]:
    from transports.simulated.board import BoardConfig

    return [
        BoardConfig(
            id=f"{arguments.id}-{number}" if arguments.id and arguments.count > 1 else arguments.id,
            seed=arguments.seed + number,
            slots=arguments.slots,
            ring_bytes=arguments.ring,
            accept_any=arguments.accept == "any",
            conversations=arguments.conversations,
        )
        for number in range(arguments.count)
    ]


async def _obey_stdin(ports: list[PtyPort], runners: list[BoardRunner]) -> None:
    """Until its end, which ends only the commands."""
    line = b""
    while data := await _read_stdin():
        *lines, line = (line + data).split(b"\n")
        line = line[:MAX_COMMAND_BYTES]
        for command in lines:
            words = command.decode(errors="replace").split()
            if words and (refusal := _obey(words, ports, runners)):
                print(f"wirelet simulate: {refusal}", file=sys.stderr, flush=True)


async def _read_stdin() -> bytes:
    import anyio

    if sys.stdin is None or _is_foreign_terminal(0):
        return b""
    with contextlib.suppress(PermissionError):  # a file or /dev/null, which cannot be waited for and never blocks
        await anyio.wait_readable(0)
    try:
        return os.read(0, MAX_COMMAND_BYTES)
    except OSError:
        return b""


def _is_foreign_terminal(descriptor: int) -> bool:
    """A read in the background would stop the process."""
    return os.isatty(descriptor) and os.tcgetpgrp(descriptor) != os.getpgrp()


def _obey(words: list[str], ports: list[PtyPort], runners: list[BoardRunner]) -> str | None:
    """Do one command, or say why not."""
    match words:
        case [command]:
            numbers = list(range(len(ports)))
        case [command, number] if number.isascii() and number.isdigit() and int(number) < len(ports):
            numbers = [int(number)]
        case _:
            return f"{' '.join(words)!r}: a command is {', '.join(COMMANDS)} and a number from 0 to {len(ports) - 1}"
    for index in numbers:
        port = ports[index]
        match command:
            case "unplug":
                port.unplug()
            case "plug":
                try:
                    port.plug()
                except OSError as exc:
                    return str(exc)
            case "reset":
                runners[index].reset()
            case _:
                return f"unknown command {command!r}; there are: {', '.join(COMMANDS)}"
        _say(f"{command} {port.path}")
    return None


def _say(text: str) -> None:
    """Who reads it may have gone."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    print(f"wirelet simulate: {message}", file=sys.stderr)
    return code


def _allow_descriptors(count: int) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


class _between:  # noqa: N801 - reads as a function, and argparse shows its name
    """An integer argument with bounds."""

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most

    def __call__(self, text: str) -> int:
        if text.isascii() and text.isdigit() and self._least <= int(text) <= self._most:
            return int(text)
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {self._least} to {self._most}")

"""`wirelet logs POD` and `wirelet logs device/NAME`: the bytes as they are, to stdout."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from gateway.cli.client import SEE, Client, ClientError, GatewayRefused, add_socket_argument, socket_path
from gateway.cli.targets import Ambiguous, only_container

MAX_DIGITS: Final = 18
"""The gateway reads 64-bit numbers."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="POD | device/NAME")
    parser.add_argument("-c", "--container", metavar="NAME", help="which container of the pod")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as more comes")
    parser.add_argument("-p", "--previous", action="store_true", help="the attempt before the current one")
    parser.add_argument("-n", "--namespace", metavar="NAME", default="default", help="namespace of the pod (default: default)")
    parser.add_argument("--tail", metavar="N", type=_lines, help="only the last N lines")
    parser.add_argument("--since", metavar="SECONDS", type=_seconds, help="only what is younger")
    parser.add_argument("--timestamps", action="store_true", help="the time before each line")
    add_socket_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 at the end of the log, 1 when there is none or the gateway left in the middle."""
    client = Client(socket_path(arguments.socket))
    try:
        for piece in client.pieces(_path(arguments, client), _query(arguments), follow=arguments.follow):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
    except GatewayRefused as error:
        print(f"wirelet logs: {error}; {SEE}", file=sys.stderr)
        return 1
    except (ClientError, Ambiguous) as error:
        print(f"wirelet logs: {error}", file=sys.stderr)
        return 1
    return 0


def _path(arguments: argparse.Namespace, client: Client) -> tuple[str, ...]:
    kind, slash, name = arguments.target.partition("/")
    if not arguments.target or (slash and not name):
        raise Ambiguous(
            f"{arguments.target!r} names neither a pod nor device/NAME; see what there is: wirelet get pods, wirelet get devices"
        )
    if slash and kind in ("device", "devices", "dev"):
        return ("wirelet", "deviceLogs", *name.split("/", 1))  # device/NAME/console
    pod = name if slash and kind in ("pod", "pods", "po") else arguments.target
    container = arguments.container or only_container(client.items("pods"), arguments.namespace, pod)
    return ("containerLogs", arguments.namespace, pod, container)


def _query(arguments: argparse.Namespace) -> dict[str, str]:
    query = {name: "true" for name in ("follow", "previous", "timestamps") if getattr(arguments, name)}
    if arguments.tail is not None:
        query["tailLines"] = str(arguments.tail)
    if arguments.since is not None:
        query["sinceSeconds"] = str(arguments.since)
    return query


def _lines(word: str) -> int:
    return _number(word, 0)


def _seconds(word: str) -> int:
    return _number(word, 1)


def _number(word: str, least: int) -> int:
    if not word.isascii() or not word.isdigit() or len(word) > MAX_DIGITS or int(word) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least}, not {word!r}")
    return int(word)

"""`wirelet reset DEVICE` and `wirelet power DEVICE cycle`: by the hooks of its class, or the modem lines of its port."""

from __future__ import annotations

import argparse
import sys

from gateway.cli.client import Client, ClientError, add_socket_argument, socket_path
from gateway.cli.progress import waiting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    is_power = parser.prog.endswith("power")
    parser.add_argument("device", metavar="DEVICE")
    if is_power:
        parser.add_argument("switch", choices=["cycle"], help="off, and on again")
    parser.set_defaults(what="power.cycle" if is_power else "reset")
    add_socket_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when it was done; 1 when there is no such device, nothing that does it, or it failed."""
    under_way = "its power is cycled" if arguments.what == "power.cycle" else f"{arguments.device} is being reset"
    try:
        with waiting(under_way):
            Client(socket_path(arguments.socket)).do(arguments.device, arguments.what)
    except ClientError as error:
        print(f"wirelet {arguments.command}: {error}", file=sys.stderr)
        return 1
    return 0

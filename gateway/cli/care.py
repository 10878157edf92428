"""`wirelet reset DEVICE` and `wirelet power DEVICE on|off|cycle`: by the hooks of its class, or the modem lines of its port."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from gateway.cli.client import Client, ClientError, add_socket_argument, socket_path
from gateway.cli.progress import waiting

UNDER_WAY: Final = {
    "reset": "is being reset",
    "power.on": "is being switched on",
    "power.off": "is being switched off",
    "power.cycle": "is being switched off and on again",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("device", metavar="DEVICE")
    if parser.prog.endswith("power"):
        parser.add_argument("switch", choices=["on", "off", "cycle"], help="cycle: off, and on again")
    add_socket_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 when it was done; 1 when there is no such device, nothing that does it, or it failed."""
    what = f"power.{arguments.switch}" if "switch" in arguments else "reset"
    try:
        with waiting(f"{arguments.device} {UNDER_WAY[what]}"):
            Client(socket_path(arguments.socket)).do(arguments.device, what)
    except ClientError as error:
        print(f"wirelet {arguments.command}: {error}", file=sys.stderr)
        return 1
    return 0

"""`wirelet exec POD -- COMMAND`: a command beside the pod's own, in its environment, where the device can do that."""

from __future__ import annotations

import argparse
import sys

from gateway.cli.conversation import add_conversation_arguments, converse
from gateway.cli.targets import Ambiguous, program_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_conversation_arguments(parser, "standard input goes to the command")
    parser.add_argument("argv", metavar="-- COMMAND", nargs=argparse.REMAINDER)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: the command's; 1 when it could not be run, 2 without a command."""
    try:
        argv = program_of(arguments.argv, f"wirelet exec {arguments.pod} -- uptime")
    except Ambiguous as error:
        print(f"wirelet exec: {error}", file=sys.stderr)
        return 2
    return converse(arguments, "exec", argv)

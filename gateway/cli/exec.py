"""`wirelet exec POD -- COMMAND`: a command beside the pod's own, in its environment, where the device can do that."""

from __future__ import annotations

import argparse
import sys

from gateway.cli.conversation import add_conversation_arguments, converse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_conversation_arguments(parser, "standard input goes to the command")
    parser.add_argument("argv", metavar="-- COMMAND", nargs=argparse.REMAINDER)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: the command's; 1 when it could not be run, 2 without a command."""
    argv = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
    if not argv:
        print(f"wirelet exec: say what to run: wirelet exec {arguments.pod} -- uptime", file=sys.stderr)
        return 2
    return converse(arguments, "exec", argv)

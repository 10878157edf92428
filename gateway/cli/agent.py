"""`wirelet agent`: this machine as a device that speaks frames on standard input and output, for the command of an ssh link.

Targets without Wirelet need the one file alone, which `--print` gives; mostly the gateway puts it there by itself.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from transports.agent import wirelet_agent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    wirelet_agent.add_arguments(parser)
    parser.add_argument("--print", action="store_true", help="print the agent's file, which runs by itself with Python 3.9 or newer")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 after --print, 1 when there is no agent; else it ends with its connection."""
    if arguments.print:
        sys.stdout.write(Path(wirelet_agent.__file__).read_text(encoding="utf-8"))
        return 0
    return wirelet_agent.run(arguments)

"""`wirelet check-config FILE`: every problem of a configuration file, one line each, without opening anything it names."""

from __future__ import annotations

import argparse
import sys

from gateway.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a GatewayConfiguration")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 and `ok`, or 1 and a line per problem on stderr."""
    from gateway import config  # pydantic takes a while; `--help` does not need it

    try:
        config.load(arguments.file)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    print("ok")
    return 0

"""`wirelet check-config FILE`: every problem of a configuration file, one line each, without opening anything it names.

For a good file it lists the links and protocols that are installed, which package brings them, and how many devices use them. Those that
the file names have been loaded by then, so that a library that is missing is told here and not by the gateway.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import TYPE_CHECKING

from gateway.cli.table import aligned
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.config import Configuration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a GatewayConfiguration")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, `ok` and what is installed, or 1 and a line per problem on stderr."""
    from gateway import config  # pydantic takes a while; `--help` does not need it

    try:
        configuration = config.load(arguments.file)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    print("ok")
    print(_installed(configuration), end="")
    return 0


def _installed(configuration: Configuration) -> str:
    from gateway import drivers

    links = Counter(device.link.driver for device in configuration.devices)
    protocols = Counter(configuration.class_of(device).protocol.driver for device in configuration.devices)
    rows = [
        [f"{kind}/{offer.name}", offer.package, str(used[offer.name])]
        for kind, offers, used in (("link", drivers.links(), links), ("protocol", drivers.protocols(), protocols))
        for offer in offers
    ]
    return aligned(["DRIVER", "PACKAGE", "DEVICES"], rows)

"""`wirelet check-config FILE`: every problem of a configuration file, one line each, without opening anything it names.

For a good file it lists the links and protocols that are installed, which package brings them, and how many devices use them. Those that
the file names have been loaded by then, so that a library that is missing is told here and not by the gateway.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from gateway.cli.documents import add_output_argument, document, table
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.config import Configuration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a GatewayConfiguration")
    add_output_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, `ok` and what is installed, or 1 and a line per problem on stderr; with -o both in one document."""
    from gateway import config  # pydantic takes a while; `--help` does not need it

    installed: list[dict[str, Any]] = []
    problems: list[dict[str, str]] = []
    try:
        installed = _installed(config.load(arguments.file))
    except ConfigError as error:
        problems = [{"path": path, "problem": problem} for path, problem in error.problems]
        if arguments.output == "table":
            print(error, file=sys.stderr)
    if arguments.output != "table":
        sys.stdout.write(document({"items": installed, "problems": problems}, arguments.output))
    elif not problems:
        sys.stdout.write(f"ok\n{table(installed)}")
    return int(bool(problems))


def _installed(configuration: Configuration) -> list[dict[str, Any]]:
    from gateway import drivers

    links = Counter(device.link.driver for device in configuration.devices)
    protocols = Counter(configuration.class_of(device).protocol.driver for device in configuration.devices)
    return [
        {"driver": f"{kind}/{offer.name}", "package": offer.package, "devices": used[offer.name]}
        for kind, offers, used in (("link", drivers.links(), links), ("protocol", drivers.protocols(), protocols))
        for offer in offers
    ]

"""The `wirelet` command. Each subcommand is a module with add_arguments(parser) and run(arguments) -> exit code.

Only the module of the chosen subcommand is imported, so that help and the small commands are quick. Exit codes: 0 done, 1 it did not
work (one line on stderr says why and what to do next), 2 wrong command line, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Final

COMMANDS: Final = {
    "run": ("gateway.cli.run", "be a node: run pods on devices"),
    "simulate": ("gateway.cli.simulate", "simulated devices behind ttys"),
    "agent": ("gateway.cli.agent", "make this machine a device: run by the command of an ssh link"),
    "get": ("gateway.cli.get", "list pods, devices or events of the gateway on this host"),
    "logs": ("gateway.cli.logs", "print the log of a pod or of a device"),
    "attach": ("gateway.cli.attach", "look on as a pod's output comes, and type to it"),
    "exec": ("gateway.cli.exec", "run a command beside a pod's own, on the pod's device"),
    "lend": ("gateway.cli.lend", "run a program on a device's port while the gateway leaves it alone"),
    "reset": ("gateway.cli.care", "reset a device"),
    "power": ("gateway.cli.care", "switch a device's power on, off, or off and on again"),
    "udev": ("gateway.cli.udev", "rules for ports: install, uninstall, check"),
    "doctor": ("gateway.cli.doctor", "look for what keeps the ports of a configuration from working"),
    "check-config": ("gateway.cli.check_config", "check a configuration file"),
    "completion": ("gateway.cli.completion", "print a script with which the shell completes commands and names"),
}
_NEEDS_TRANSPORTS: Final = ("run", "simulate", "agent", "check-config")
EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, as a shell would say it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Raises SystemExit only for --help and wrong usage, as argparse does."""
    words = list(sys.argv[1:] if argv is None else argv)
    chosen = next((word for word in words if not word.startswith("-")), None)
    parser = _parser(chosen)
    arguments = parser.parse_args(words)
    if chosen in _NEEDS_TRANSPORTS:
        from gateway.cli.guard import clash_of_transports

        if clash := clash_of_transports():
            print(f"wirelet: {clash}", file=sys.stderr)
            return 1
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted. Python must not fail again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def command_parser(name: str) -> argparse.ArgumentParser:
    """The parser of one command of COMMANDS."""
    parser = argparse.ArgumentParser(prog=f"wirelet {name}")
    importlib.import_module(COMMANDS[name][0]).add_arguments(parser)
    return parser


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wirelet", description="A kubelet for things on a wire: serial, USB, SSH.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == chosen:
            implementation = importlib.import_module(module)
            implementation.add_arguments(command)
            command.set_defaults(run=implementation.run)
    return parser


class _Version(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option_string: str | None = None
    ) -> None:
        from importlib.metadata import version  # slow to import, and rarely asked for

        print(f"wirelet {version('wirelet')}")
        parser.exit()

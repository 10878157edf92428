"""The `wirelet` command. Each subcommand is a module with add_arguments(parser) and run(arguments) -> exit code.

Only the module of the chosen subcommand is imported, so that help and the small commands are quick. Exit codes: 0 done, 1 it did not
work (one line on stderr says why and what to do next), 2 wrong command line, 130 after Ctrl-C (docs/reference/command-line.md).
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

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
_GATEWAY: Final = "run"
"""It writes nothing to standard output: what it cannot write, or to whom, is no matter of a reader that left."""
EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT, as a shell would say it."""
_NOT_WRITTEN: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""A full disk, a full quota, a file that may not grow, a terminal that went."""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, not behind the whole usage."""

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Other than argparse's, it fails where it cannot be written."""
        (file or sys.stdout).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Raises SystemExit only for --help and wrong usage, as argparse does."""
    words = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    code = 1
    try:
        try:
            code = _run(words)
        finally:
            sys.stdout.flush()
    except* KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except* BrokenPipeError:
        if words[:1] == [_GATEWAY]:
            raise
        _drop_output()  # the reader (`| head`) has what it wanted
        code = 0
    except* OSError as group:
        error = _first(group)
        if words[:1] == [_GATEWAY] or error.errno not in _NOT_WRITTEN or error.filename is not None:
            raise
        _drop_output()
        code = 1
        with contextlib.suppress(OSError):  # stderr may be as full
            print(f"wirelet: cannot write the output: {error.strerror}; make room, or write it elsewhere", file=sys.stderr)
    return code


def command_parser(name: str) -> argparse.ArgumentParser:
    """The parser of one command of COMMANDS."""
    parser = _Parser(prog=f"wirelet {name}")
    importlib.import_module(COMMANDS[name][0]).add_arguments(parser)
    return parser


def _run(words: Sequence[str]) -> int:
    chosen = next((word for word in words if not word.startswith("-")), None)
    parser = _parser(chosen)
    arguments, unknown = parser.parse_known_args(words)
    if unknown:
        command_parser(arguments.command).error(f"unrecognized arguments: {' '.join(unknown)}")
    if chosen in _NEEDS_TRANSPORTS:
        from gateway.cli.guard import clash_of_transports

        if clash := clash_of_transports():
            print(f"wirelet: {clash}", file=sys.stderr)
            return 1
    return int(arguments.run(arguments))


def _open_closed_streams() -> None:
    """Of a process that was started without them (`>&-`): else the first file or socket that is opened would be standard output."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _drop_output() -> None:
    """Python must not fail again when it flushes stdout at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _first(group: BaseExceptionGroup[OSError]) -> OSError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    parser = _Parser(prog="wirelet", description="A kubelet for things on a wire: serial, USB, SSH.")
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

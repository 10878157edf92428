"""`wirelet udev install|uninstall|check`: the rules and the hardware table that make ports usable and give them names that stay."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from gateway.cli.documents import add_output_argument, tell
from gateway.doctor import udev_files, udev_programs
from gateway.doctor.udev import command, findings
from gateway.doctor.udev_database import parse
from gateway.doctor.udev_files import UdevError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", metavar="install|uninstall|check", choices=["install", "uninstall", "check"])
    parser.add_argument("--root", metavar="DIR", type=Path, default=Path("/"), help="an image's folder instead of this machine")
    add_output_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0; 1 when it could not be done, or when check found something that needs somebody to act."""
    action, root = arguments.action, arguments.root.absolute()
    if action != "check" and arguments.output != "table":
        print(f"wirelet udev: --output is for check; leave it out: wirelet udev {action}", file=sys.stderr)
        return 2
    try:
        if action == "check":
            return _check(root, arguments.output)
        if root == Path("/") and os.geteuid() != 0:
            raise UdevError(f"it writes into /etc/udev, so run it as root: sudo {command()} udev {action}")
        return _install(root) if action == "install" else _uninstall(root)
    except UdevError as error:
        print(f"wirelet udev {action}: {error}", file=sys.stderr)
    except OSError as error:
        print(f"wirelet udev {action}: {error.filename or root}: {error.strerror}; {_way(error)}", file=sys.stderr)
    return 1


def _way(error: OSError) -> str:
    return "run it as root" if isinstance(error, PermissionError) else "mend that, and try again"


def _install(root: Path) -> int:
    changed = udev_files.write(root)
    for name in udev_files.PLACES:
        path = udev_files.target(root, name)
        print(f"{'installed' if path in changed else 'unchanged'} {path}")
    _apply(root)
    return 0


def _uninstall(root: Path) -> int:
    for path in udev_files.delete(root):
        print(f"removed {path}")
    _apply(root)
    return 0


def _apply(root: Path) -> None:
    udev_programs.compile_table(root)
    if root != Path("/"):
        return
    if udev_programs.reload_and_trigger():
        print("udev has applied it to what is plugged in")
    else:
        print("udevd does not run here; it reads the files when it starts")


def _check(root: Path, output: str) -> int:
    devices = parse(udev_programs.database()) if root == Path("/") else []
    ports = sorted((device for device in devices if device.is_port), key=lambda port: port.node)
    rows = [{"port": port.node, "chip": port.chip, "names": port.names} for port in ports]
    return tell(rows, findings(root, devices), output)

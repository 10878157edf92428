"""`wirelet udev install|uninstall|check`: the rules and the hardware table that make ports usable and give them names that stay."""

from __future__ import annotations

import argparse
import grp
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from gateway.cli import udev_files, udev_programs
from gateway.cli.table import aligned
from gateway.cli.udev_database import Device, parse
from gateway.cli.udev_files import RULES, TABLE, UdevError
from gateway.cli.udev_findings import GROUP, Finding, NodeState, find, of_process

KNOWN_CHIP: Final = "usb:v10C4pEA60:"
"""A device that the table has an entry for."""
_ATTRIBUTES: Final = {"latency_timer": "device/latency_timer", "type": "type", "console": "console"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", metavar="install|uninstall|check", choices=["install", "uninstall", "check"])
    parser.add_argument("--root", metavar="DIR", type=Path, default=Path("/"), help="an image's folder instead of this machine")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0; 1 when it could not be done, or when check found something that needs somebody to act."""
    action, root = arguments.action, arguments.root.absolute()
    try:
        if action == "check":
            return _check(root)
        if root == Path("/") and os.geteuid() != 0:
            raise UdevError(f"it writes into /etc/udev, so run it as root: sudo {_command()} udev {action}")
        return _install(root) if action == "install" else _uninstall(root)
    except UdevError as error:
        print(f"wirelet udev {action}: {error}", file=sys.stderr)
    except OSError as error:
        print(f"wirelet udev {action}: {error.filename or root}: {error.strerror}", file=sys.stderr)
    return 1


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


def findings_of_machine() -> list[Finding]:
    """What `check` says of this machine; a machine without udev lacks nothing of it."""
    try:
        return _findings(Path("/"), parse(udev_programs.database()))
    except UdevError as error:
        return [Finding("udev", str(error), "without it ports are found by their paths only", is_note=True)]


def _findings(root: Path, devices: Sequence[Device]) -> list[Finding]:
    findings = list(_of_files(root))
    is_installed = not findings
    if root == Path("/"):
        findings += _of_machine()
    if is_installed:  # before that, every port would lack everything
        findings += find(devices, dict(_states(devices)))
    return findings


def _check(root: Path) -> int:
    devices = parse(udev_programs.database()) if root == Path("/") else []
    findings = _findings(root, devices)
    ports = [[device.node, device.chip or "-", ", ".join(device.names) or "-"] for device in devices if device.is_port]
    if ports:
        sys.stdout.write(aligned(["PORT", "CHIP", "NAMES"], sorted(ports)))
        sys.stdout.flush()
    for finding in findings:
        print(finding, file=sys.stderr)
    if any(not finding.is_note for finding in findings):
        return 1
    print("ok")
    return 0


def _of_files(root: Path) -> Iterator[Finding]:
    install = f"sudo {_command()} udev install{'' if root == Path('/') else f' --root {root}'}"
    differences = udev_files.differences(root)
    problems = [(udev_files.target(root, name), problem) for name, problem in differences.items()]
    if TABLE not in differences and "WIRELET_CHIP=" not in _table_says(root):
        problems.append((udev_files.target(root, TABLE), "is not in udev's binary table"))
    if RULES not in differences and (objection := udev_programs.objection(udev_files.target(root, RULES))):
        problems.append((udev_files.target(root, RULES), objection))
    for path, problem in problems:
        yield Finding(str(path), problem, install)


def _table_says(root: Path) -> str:
    try:
        return udev_programs.table_says(root, KNOWN_CHIP)
    except UdevError:  # there is no binary table at all
        return ""


def _of_machine() -> Iterator[Finding]:
    try:
        group = grp.getgrnam(GROUP)
    except KeyError:
        yield Finding(GROUP, "there is no such group", f"as root: groupadd --system {GROUP}")
    else:
        if os.geteuid() != 0 and group.gr_gid not in os.getgroups():
            yield Finding(GROUP, "you are not in this group", "as root: usermod -aG dialout USER; then log in anew", is_note=True)
    for name in sorted(set(_processes())):
        if finding := of_process(name):
            yield finding


def _processes() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            yield path.read_text(errors="replace").strip()
        except OSError:
            continue  # it has ended


def _command() -> str:
    """How root, who has another PATH, starts this Wirelet."""
    command = Path(sys.executable).with_name("wirelet")
    return str(command) if os.path.exists(command) else "wirelet"


def _states(devices: Iterable[Device]) -> Iterator[tuple[str, NodeState]]:
    for device in devices:
        try:
            status = os.stat(device.node)
        except OSError:
            continue  # it was unplugged
        attributes = {name: text for name, file in _ATTRIBUTES.items() if (text := _attribute(device, file)) is not None}
        yield device.path, NodeState(_group_name(status.st_gid), status.st_mode & 0o777, attributes)


def _attribute(device: Device, file: str) -> str | None:
    try:
        return Path(f"/sys{device.path}", file).read_text(errors="replace").strip()
    except OSError:
        return None


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)

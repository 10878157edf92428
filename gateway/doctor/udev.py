"""What this machine, or an image of one, lacks of what Wirelet's udev rules give: asks udev, sysfs and /proc. Blocks; changes nothing."""

from __future__ import annotations

import grp
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from gateway.doctor import udev_files, udev_programs
from gateway.doctor.finding import Finding
from gateway.doctor.udev_database import Device, parse
from gateway.doctor.udev_files import RULES, TABLE, UdevError
from gateway.doctor.udev_findings import GROUP, NodeState, find, of_process

KNOWN_CHIP: Final = "usb:v10C4pEA60:"
"""A device that the table has an entry for."""
_ATTRIBUTES: Final = {"latency_timer": "device/latency_timer", "type": "type", "console": "console"}


def findings_of_machine() -> list[Finding]:
    """What `check` says of this machine; a machine without udev lacks nothing of it."""
    try:
        return findings(Path("/"), parse(udev_programs.database()))
    except UdevError as error:
        return [Finding("udev", str(error), "without it ports are found by their paths only", is_note=True)]


def findings(root: Path, devices: Sequence[Device]) -> list[Finding]:
    """Of the machine with that root; devices is what udev knows of it."""
    found = list(_of_files(root))
    is_installed = not found
    if root == Path("/"):
        found += _of_machine()
    if is_installed:  # before that, every port would lack everything
        found += find(devices, dict(_states(devices)))
    return found


def command() -> str:
    """How root, who has another PATH, starts this Wirelet."""
    here = Path(sys.executable).with_name("wirelet")
    return str(here) if os.path.exists(here) else "wirelet"


def group_name(number: int) -> str:
    """A group that was removed has its number only."""
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _of_files(root: Path) -> Iterator[Finding]:
    install = f"sudo {command()} udev install{'' if root == Path('/') else f' --root {root}'}"
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


def _states(devices: Iterable[Device]) -> Iterator[tuple[str, NodeState]]:
    for device in devices:
        try:
            status = os.stat(device.node)
        except OSError:
            continue  # it was unplugged
        attributes = {name: text for name, file in _ATTRIBUTES.items() if (text := _attribute(device, file)) is not None}
        yield device.path, NodeState(group_name(status.st_gid), status.st_mode & 0o777, attributes)


def _attribute(device: Device, file: str) -> str | None:
    try:
        return Path(f"/sys{device.path}", file).read_text(errors="replace").strip()
    except OSError:
        return None

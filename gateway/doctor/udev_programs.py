"""udev's own programs, each with a deadline and one line when it fails. `root` is `/`, or the folder of an image."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

from gateway.doctor.udev_files import UdevError

DEADLINE_S: Final = 120.0
"""A Raspberry Pi compiles the table in some seconds; udevd runs all rules for each device that is triggered."""
COMPILED: Final = Path("etc/udev/hwdb.bin")
COMPILED_BY_PACKAGES: Final = (Path("usr/lib/udev/hwdb.bin"), Path("lib/udev/hwdb.bin"))
CONTROL_SOCKET: Final = Path("/run/udev/control")
SUBSYSTEMS: Final = ("usb", "usb-serial", "tty")
"""What the rules are about. Nothing else on the machine is triggered."""


def compile_table(root: Path) -> None:
    """Make udev's binary table anew, where the machine has it.

    Debian's is in /usr/lib and follows every package that adds to it. One in /etc would hide it from then on, and age.
    """
    in_usr = not (root / COMPILED).exists() and any((root / path).exists() for path in COMPILED_BY_PACKAGES)
    _run(["systemd-hwdb", *_rooted(root), "update", *(["--usr"] if in_usr else [])])


def table_says(root: Path, modalias: str) -> str:
    """What the binary table has for such a device: KEY=value lines."""
    return _run(["systemd-hwdb", *_rooted(root), "query", modalias])


def reload_and_trigger() -> bool:
    """Let udevd read the files, and handle what is plugged in as if it had changed; False where none runs."""
    if not CONTROL_SOCKET.exists():
        return False
    _run(["udevadm", "control", "--reload"])
    _run(["udevadm", "trigger", "--settle", *(f"--subsystem-match={name}" for name in SUBSYSTEMS)])
    return True


def database() -> str:
    """What udev knows of every device, as `udevadm info --export-db` writes it."""
    return _run(["udevadm", "info", "--export-db"])


def objection(rules: Path) -> str | None:
    """What `udevadm verify` says against the rules. None for nothing, and from an udev before 254, which has no such command."""
    try:
        _run(["udevadm", "verify", "--help"])
    except UdevError:
        return None
    try:
        _run(["udevadm", "verify", str(rules)])
    except UdevError as error:
        return str(error)
    return None


def _rooted(root: Path) -> list[str]:
    return [] if root == Path("/") else [f"--root={root}"]


def _run(argv: list[str]) -> str:
    if shutil.which(argv[0]) is None:
        raise UdevError(f"there is no {argv[0]} on this machine; install udev (Debian: apt-get install udev)")
    try:
        ran = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=DEADLINE_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise UdevError(f"`{' '.join(argv)}` did not end within {DEADLINE_S:g} s") from error
    if ran.returncode != 0:
        raise UdevError(f"`{' '.join(argv)}` failed: {' '.join(ran.stderr.split()) or 'it did not say why'}")
    return ran.stdout

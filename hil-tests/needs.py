"""What a test may need from the machine, and how to find out whether it is there.

A missing need skips the test with its reason. What WIRELET_REQUIRE names (comma-separated, or `all`) must not be missing: then the test
fails.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NoReturn

import pytest
from control_plane import NotBuilt, find_binaries
from guest.image import NotBuilt as GuestNotBuilt
from guest.image import find_image
from sshd import SHIPPED_CONFIG, SSHD

OWN_MOUNTS: Final = ("unshare", "--map-root-user", "--mount")
"""Runs a program that may mount what nobody else sees."""

MICROBIT_FIRMWARE: Final = Path("/usr/share/firmware-microbit-micropython/firmware.hex")

HERE: Final = Path(__file__).parent


class NotFetched(Exception):
    """A part that is fetched once is not there; the text says how to get it."""


Probe = Callable[[], str | None]
"""Returns why it is missing, or None."""


def find_python_3_9() -> Path | None:
    """The oldest that the agent runs on: on the PATH, or as pyenv keeps it."""
    kept = sorted(Path("~/.pyenv/versions").expanduser().glob("3.9*/bin/python3.9"))
    for candidate in (*map(Path, filter(None, [shutil.which("python3.9")])), *kept):
        if subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def _python_3_9() -> str | None:
    return None if find_python_3_9() else "no Python 3.9 was found"


def _program(name: str) -> Probe:
    return lambda: None if shutil.which(name) else f"{name} is not installed"


def _cluster() -> str | None:
    try:
        find_binaries()
    except NotBuilt as missing:
        return str(missing)
    return None


def _guest() -> str | None:
    try:
        find_image()
    except GuestNotBuilt as missing:
        return str(missing)
    return None


def _microbit() -> str | None:
    if shutil.which("qemu-system-arm") is None:
        return "qemu-system-arm is not installed"
    return None if MICROBIT_FIRMWARE.exists() else f"{MICROBIT_FIRMWARE} is not there: install firmware-microbit-micropython"


def find_micropython() -> Path:
    """The folder of a current MicroPython for Node. Raises NotFetched."""
    if shutil.which("node") is None:
        raise NotFetched("node is not installed")
    looked = subprocess.run([HERE / "micropython" / "build", "--if-built"], capture_output=True, text=True, check=False)
    if looked.returncode != 0:
        raise NotFetched(looked.stderr.strip())
    return Path(looked.stdout.strip())


def _micropython() -> str | None:
    try:
        find_micropython()
    except NotFetched as missing:
        return str(missing)
    return None


def _root() -> str | None:
    return None if os.geteuid() == 0 else "not root"


def _sshd() -> str | None:
    """OpenSSH's server, and Debian's configuration for it."""
    absent = [str(path) for path in (Path(SSHD), SHIPPED_CONFIG) if not path.exists()]
    return f"openssh-server is not installed: no {', '.join(absent)}" if absent else None


def _tmpfs() -> str | None:
    """A file system of one's own in a mount namespace: root may, and others where user namespaces are allowed."""
    try:
        tried = subprocess.run([*OWN_MOUNTS, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, timeout=10, check=False)
    except OSError as error:
        return f"unshare: {error.strerror}"
    return None if tried.returncode == 0 else tried.stderr.decode().strip()


def _umockdev() -> str | None:
    """Programs under a mock /sys, with udev's own tools, in mounts of their own."""
    absent = [name for name in ("umockdev-run", "udevadm", "systemd-hwdb", "unshare") if shutil.which(name) is None]
    if absent:
        return f"{', '.join(absent)} not installed"
    unshared = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True, check=False)
    return None if unshared.returncode == 0 else unshared.stderr.strip()


PROBES: Final[Mapping[str, Probe]] = {
    "cluster": _cluster,
    "kubectl": _cluster,
    "busybox": _program("busybox"),
    "python3.9": _python_3_9,
    "ser2net": _program("ser2net"),
    "socat": _program("socat"),
    "sshd": _sshd,
    "microbit": _microbit,
    "micropython": _micropython,
    "root": _root,
    "guest": _guest,
    "tmpfs": _tmpfs,
    "setserial": _program("setserial"),
    "umockdev": _umockdev,
    "bash": _program("bash"),
    "zsh": _program("zsh"),
    "fish": _program("fish"),
}


NOT_OF_DEBIAN: Final = frozenset({"python3.9"})
"""scripts/setup-test cannot install it: who has it sets WIRELET_REQUIRE to its name, too."""


def required() -> frozenset[str]:
    """The names in WIRELET_REQUIRE; every one that scripts/setup-test installs for `all`."""
    names = frozenset(name.strip() for name in os.environ.get("WIRELET_REQUIRE", "").split(",") if name.strip())
    if "all" in names:
        return (frozenset(PROBES) - NOT_OF_DEBIAN) | (names - {"all"})
    if unknown := names - PROBES.keys():
        raise pytest.UsageError(f"WIRELET_REQUIRE names {', '.join(sorted(unknown))}; known are {', '.join(sorted(PROBES))}")
    return names


@functools.cache
def missing(name: str) -> str | None:
    """Why the machine has no such thing; None if it has. Looked up once."""
    return PROBES[name]()


def need(name: str) -> None:
    """Go on only if the machine has it."""
    if reason := missing(name):
        _give_up(name, reason)


def _give_up(name: str, reason: str) -> NoReturn:
    if name in required():
        pytest.fail(f"WIRELET_REQUIRE names {name}, but: {reason}", pytrace=False)
    pytest.skip(f"needs {name}: {reason}")

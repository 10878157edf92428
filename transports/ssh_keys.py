"""Files that decide who is believed in an SSH login: the private key, and the host keys that are known. Blocking; for a thread.

A key that others can read, or that needs a passphrase, is refused with what to do. That a host's key is checked cannot be turned off.
"""

from __future__ import annotations

import os
import stat
from typing import Final

from transports.errors import LinkError, LinkPermissionDenied

MAX_FILE_BYTES: Final = 1 << 20
"""A known_hosts of ten thousand hosts; a key has some hundred bytes."""
ENVIRONMENT: Final = "env"


def read_private_key(path: str) -> bytes:
    """Raises LinkPermissionDenied or LinkError."""
    fd = _open(path, "identityFile")
    try:
        told = os.fstat(fd)
        if told.st_uid == os.geteuid() and told.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            mode = stat.S_IMODE(told.st_mode)
            raise LinkPermissionDenied(f"identityFile {path} can be read by others (mode {mode:o}); chmod 600 {path}")
        return _read(fd, f"identityFile {path}")
    finally:
        os.close(fd)


def read_known_hosts(path: str) -> str:
    """Raises LinkPermissionDenied or LinkError."""
    fd = _open(path, "knownHosts")
    try:
        return _read(fd, f"knownHosts {path}").decode("utf-8", "replace")
    finally:
        os.close(fd)


def agent_socket(agent: str | None) -> str | None:
    """Where the agent listens. Raises LinkError when it is meant to be in the environment and is not."""
    if agent != ENVIRONMENT:
        return agent
    found = os.environ.get("SSH_AUTH_SOCK")
    if not found:
        raise LinkError("agent: env, but there is no SSH_AUTH_SOCK in the environment of the gateway; write the path of its socket")
    return found


def _open(path: str, option: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise LinkPermissionDenied(f"{option} {path}: {error.strerror}") from error
    except OSError as error:
        raise LinkError(f"{option} {path}: {error.strerror}") from error


def _read(fd: int, what: str) -> bytes:
    try:
        with open(fd, "rb", closefd=False) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:  # a folder, a card that cannot be read
        raise LinkError(f"{what}: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise LinkError(f"{what} is larger than {MAX_FILE_BYTES} bytes")
    return data

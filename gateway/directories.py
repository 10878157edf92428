"""Where the gateway keeps things: sockets, rings and checkpoints on memory, the ledger and keys on disk."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.config import Configuration
from gateway.errors import ConfigError

_logger = logging.getLogger(__name__)

LOCK_FILE: Final = "gateway.lock"
BOOT_FILE: Final = "boot-id"
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Directories:
    runtime: Path
    state: Path

    @property
    def rings(self) -> Path:
        return self.runtime / "logs"

    @property
    def checkpoints(self) -> Path:
        return self.runtime / "checkpoints"

    @property
    def loans(self) -> Path:
        return self.runtime / "lent"

    @property
    def ledger(self) -> Path:
        return self.state / "ledger.sqlite"

    @property
    def socket(self) -> Path:
        return self.runtime / "wirelet.sock"

    def take(self, boot_id_file: Path = BOOT_ID) -> DirectoryLocks:
        """Make them for this user only and hold them until the locks are closed or the process ends, however it ends.

        Raises ConfigError: a second gateway on the same files would tear the first one's rings. Rings and checkpoints of an earlier boot of
        this machine are removed, as they would be on memory: their stamps are of that boot's clock.
        """
        locks: list[int] = []
        for key, path in (("runtimeDirectory", self.runtime), ("stateDirectory", self.state)):
            try:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                if not _is_trusted(path):
                    raise ConfigError([(key, f"{path} belongs to another user, who could read and replace everything in it")])
                locks.append(os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                fcntl.flock(locks[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigError([(key, f"another gateway uses {path}; stop it or choose another directory")]) from error
            except OSError as error:
                raise ConfigError([(key, f"cannot use {path}: {error.strerror}; choose another directory")]) from error
        try:
            self._leave_earlier_boots(boot_id_file.read_text())
            for path in (self.rings, self.checkpoints):
                path.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                [("runtimeDirectory", f"cannot use {error.filename or self.runtime}: {error.strerror}; choose another directory")]
            ) from error
        return DirectoryLocks(locks)

    def _leave_earlier_boots(self, boot_id: str) -> None:
        note = self.runtime / BOOT_FILE
        noted = note.read_text() if note.exists() else None
        if noted == boot_id:
            return
        if noted is not None:
            _logger.warning("this machine has restarted: the logs of before are removed", extra={"path": str(self.runtime)})
            for path in (self.rings, self.checkpoints):
                if path.exists():
                    shutil.rmtree(path)
        note.write_text(boot_id)  # last: cut off before, it is done again


def _is_trusted(path: Path) -> bool:
    """/dev/shm is open to everybody: another user may have made our folder there first. root takes what it is told to take."""
    return os.geteuid() == 0 or path.stat().st_uid in (0, os.geteuid())


class DirectoryLocks:
    """The two directories, held. close() is idempotent."""

    def __init__(self, descriptors: list[int]) -> None:
        self._descriptors = descriptors

    def close(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())


def choose_directories(configuration: Configuration, environment: Mapping[str, str], *, is_root: bool) -> Directories:
    """The configured ones, else root's or the user's; rings fall back to /dev/shm, which no session end removes by itself."""
    if configuration.runtime_directory is not None:
        runtime = Path(configuration.runtime_directory)
    elif is_root:
        runtime = Path("/run/wirelet")
    elif "XDG_RUNTIME_DIR" in environment:
        runtime = Path(environment["XDG_RUNTIME_DIR"]) / "wirelet"
    else:
        runtime = Path(f"/dev/shm/wirelet-{os.getuid()}")
        _logger.warning("no XDG_RUNTIME_DIR: logs live in /dev/shm", extra={"path": str(runtime)})
    if configuration.state_directory is not None:
        state = Path(configuration.state_directory)
    elif is_root:
        state = Path("/var/lib/wirelet")
    else:
        state = Path(environment.get("XDG_STATE_HOME") or Path(environment.get("HOME", "/")) / ".local" / "state") / "wirelet"
    return Directories(runtime, state)

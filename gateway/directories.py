"""Where the gateway keeps things: sockets, rings and checkpoints on memory, the ledger and keys on disk."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.config import Configuration

_logger = logging.getLogger(__name__)


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
    def ledger(self) -> Path:
        return self.state / "ledger.sqlite"

    @property
    def socket(self) -> Path:
        return self.runtime / "wirelet.sock"

    def make(self) -> None:
        """Make them for this user only. Raises OSError."""
        for path in (self.runtime, self.rings, self.checkpoints, self.state):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)


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

"""A gateway, and a machine with sshd on which it starts pods by the agent that it puts there."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sshd import children
from ssh_lab import DEVICE, SshLab

LOG: Final = "1Mi"


class AgentLab(SshLab):
    """python: what runs the agent there."""

    python = "python3"
    log = LOG

    def device_class(self, name: str, slots: int) -> dict[str, Any]:
        options = {"directory": str(self.directory), "python": self.python, "log": self.log}
        return {"name": name, "protocol": {"agent": options}, "slots": slots, "shared": True}

    @property
    def folder(self) -> Path:
        """What the agent keeps."""
        return self.directory / DEVICE

    @property
    def server(self) -> int:
        """The agent's process."""
        return int((self.folder / "agent.lock").read_text())

    def workloads(self) -> list[int]:
        """The first processes of what the agent has started: each leads a session of its own, and so does the guardian."""
        return [pid for pid in children(self.server) if b"wirelet" not in _command(pid)]

    def close(self) -> None:
        """With the agent goes what runs on it."""
        for server in self._servers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(server, signal.SIGTERM)

    def _servers(self) -> Iterator[int]:
        for lock in self.directory.glob("*/agent.lock"):
            with contextlib.suppress(ValueError):
                pid = int(lock.read_text())
                if b"wirelet" in _command(pid):
                    yield pid


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""

"""A gateway, and a machine with sshd on which it starts pods by the agent that it puts there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ssh_lab import DEVICE, SshLab
from sshd import children

LOG: Final = "1Mi"


class AgentLab(SshLab):
    """python: what runs the agent there. command: what starts one that is there already; the gateway puts none then."""

    python = "python3"
    log = LOG
    command = ""

    def device_class(self, name: str, slots: int) -> dict[str, Any]:
        options = {"directory": str(self.directory), "python": self.python, "log": self.log}
        return {"name": name, "protocol": {"agent": {"install": False} if self.command else options}, "slots": slots, "shared": True}

    def link(self) -> dict[str, Any]:
        return self.sshd.link(command=self.command) if self.command else self.sshd.link()

    def reconfigure(self, slots: int = 4) -> None:
        """The gateway ends and comes back with what is said here now."""
        self.gateway.stop()
        configuration = {**self.gateway.configuration, **self.configuration(slots)}
        self.gateway.config_file.write_text(json.dumps(configuration))
        self.gateway.start()
        self.wait_until_ready()

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
        return [pid for pid in children(self.server) if b"agent-" not in _command(pid)]

    def close(self) -> None:
        """With the agent goes what runs on it; a gateway would start another one."""
        self._workbench.clear()
        for server in self._servers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(server, signal.SIGTERM)

    def _servers(self) -> Iterator[int]:
        for lock in self.directory.glob("*/agent.lock"):
            with contextlib.suppress(ValueError):
                pid = int(lock.read_text())
                if b"agent-" in _command(pid):
                    yield pid


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""

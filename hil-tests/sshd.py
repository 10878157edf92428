"""An OpenSSH server of the test's own on loopback: Debian's configuration as it is shipped, with host keys, port and users of the test."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from processes import Process, Reaper, free_port
from ser2net import listens

SHIPPED_CONFIG: Final = Path("/usr/share/openssh/sshd_config")
"""What Debian installs as /etc/ssh/sshd_config; nobody has touched it."""
SSHD: Final = "/usr/sbin/sshd"
"""It wants to be called by its whole path, because it executes itself for each connection."""
_PRIVSEP: Final = Path("/run/sshd")


class Sshd:
    """One server. It may be killed and started again; port and host key stay until new_host_key."""

    def __init__(self, folder: Path, reaper: Reaper, **settings: str) -> None:
        """settings: what somebody has changed in its configuration."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        self.user = getpass.getuser()
        self.identity = folder / "identity"
        self.stranger = folder / "stranger"
        """A key that may not log in."""
        self.known_hosts = folder / "known_hosts"
        self._host_key = folder / "host_key"
        make_key(self.identity)
        make_key(self.stranger)
        (folder / "authorized_keys").write_bytes((folder / "identity.pub").read_bytes())
        self.new_host_key()
        self.trust_host_key()
        options = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": self._host_key,
            "AuthorizedKeysFile": folder / "authorized_keys",
            "PidFile": "none",
            "StrictModes": "no",  # folders of tests lie in /tmp, which others may write
            "UsePAM": "yes" if os.geteuid() == 0 else "no",
            **settings,
        }
        argv = [SSHD, "-D", "-e", "-f", str(SHIPPED_CONFIG), *(f"-o{key}={value}" for key, value in options.items())]
        self.process = Process("sshd", argv, folder / "sshd.log", reaper)

    def start(self) -> None:
        if os.geteuid() == 0:
            _PRIVSEP.mkdir(mode=0o755, exist_ok=True)
        self.process.start()
        self.process.wait_for(lambda: listens(self.port), "its port")

    def stop(self) -> None:
        self.drop_connections()
        self.process.stop(signal.SIGKILL)

    def drop_connections(self) -> None:
        """Kill the processes of the connections there are: each sees its network gone. What they had started goes on."""
        self._signal_connections(signal.SIGKILL)

    def freeze_connections(self) -> None:
        """They answer no more, and their ends of the connections stay open."""
        self._signal_connections(signal.SIGSTOP)

    def _signal_connections(self, sig: signal.Signals) -> None:
        for pid in self.connections():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sig)

    def connections(self) -> list[int]:
        """The server's processes for connections, and those that these have made to give up rights."""
        found: list[int] = []
        waiting = children(self.process.pid) if self.process.is_running else []
        while waiting:
            pid = waiting.pop()
            if _program(pid) == Path(SSHD).name:
                found.append(pid)
                waiting += children(pid)
        return found

    def new_host_key(self) -> None:
        """Used from the next start on."""
        for path in (self._host_key, self._host_key.with_suffix(".pub")):
            path.unlink(missing_ok=True)
        make_key(self._host_key)

    def trust_host_key(self) -> None:
        key = self._host_key.with_suffix(".pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {key}")

    def link(self, **more: object) -> dict[str, Any]:
        """`link:` of a device behind it."""
        options = {
            "host": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "identityFile": str(self.identity),
            "knownHosts": str(self.known_hosts),
        }
        return {"ssh": {**options, **more}}


@contextlib.contextmanager
def running(folder: Path, **settings: str) -> Iterator[Sshd]:
    """A server with its files in folder, until the end."""
    with contextlib.closing(Reaper()) as reaper:
        server = Sshd(folder, reaper, **settings)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def make_key(path: Path, passphrase: str = "") -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)], check=True, timeout=30)


def children(pid: int) -> list[int]:
    try:
        return [int(each) for task in Path(f"/proc/{pid}/task").iterdir() for each in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip().partition("-")[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""

"""ser2net in front of a tty: the usual way to a serial port of another machine, as Debian packages it."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from processes import Process, Reaper, free_port

Accepter = Literal["tcp", "telnet(rfc2217)"]

_LISTENS: Final = "0A"
"""The state in /proc/net/tcp."""


class Ser2net:
    """One server with one port. It may be killed and started again; its TCP port stays."""

    def __init__(self, folder: Path, reaper: Reaper, tty: Path | str, accepter: Accepter) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        config = folder / "ser2net.yaml"
        connection = {
            "accepter": f"{accepter},tcp,127.0.0.1,{self.port}".replace("tcp,tcp,", "tcp,"),
            "connector": f"serialdev,{tty},115200n81,local",
        }
        # Its YAML has an anchor for a name, which JSON has not.
        config.write_text(f"connection: &port {json.dumps(connection)}\n")
        self.process = Process("ser2net", self._argv(config), folder / "ser2net.log", reaper)

    @staticmethod
    def _argv(config: Path) -> Sequence[str]:
        return ("ser2net", "-n", "-d", "-l", "-c", str(config))

    def start(self) -> None:
        """Returns when it listens. It opens its tty only for a client."""
        self.process.start()
        self.process.wait_for(lambda: listens(self.port), "its port")

    def kill(self) -> None:
        """The machine with the port is gone."""
        self.process.stop(signal.SIGKILL)

    def stop(self) -> None:
        self.process.stop()


def listens(port: int) -> bool:
    """Somebody listens there on IPv4. A connection would tell as well, and use the port up."""
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(int(row[1].rpartition(":")[2], 16) == port and row[3] == _LISTENS for row in rows)

"""The process of `guest.board`, as a thing on the desk: its cable is pulled and plugged, it is reset, its power fails."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from guest.image import HERE
from processes import Process, Reaper


class Board:
    """start() before anything else."""

    def __init__(self, folder: Path, reaper: Reaper, socket: Path, name: str, slots: int) -> None:
        argv = [sys.executable, "-m", "guest.board", str(socket), "--id", name, "--slots", str(slots)]
        env = {"PYTHONPATH": str(HERE.parent)}
        self.process = Process(name, argv, folder / f"{name}.log", reaper, env=env, has_stdin=True)

    def start(self) -> None:
        """Returns when it is connected; after a kill it is another boot of the same board."""
        said = self._count("ready")
        self.process.start()
        self.process.wait_for(lambda: self._count("ready") > said, "its connection")

    def kill(self) -> None:
        """Power and cable at once."""
        self.process.stop(signal.SIGKILL)

    def unplug(self) -> None:
        """The board runs on."""
        self._tell("unplug")

    def plug(self) -> None:
        self._tell("plug")

    def reset(self) -> None:
        """A power cycle with the cable in."""
        self._tell("reset")

    def _tell(self, command: str) -> None:
        done = self._count(command)
        self.process.tell(command)
        self.process.wait_for(lambda: self._count(command) > done, f"its {command}")

    def _count(self, word: str) -> int:
        return self.process.log.read_text().splitlines().count(word) if self.process.log.exists() else 0

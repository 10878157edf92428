"""What one test, demo or bench puts on its table: simulated boards, gateways and other programs, cleared away together."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateways import WIRELET, Gateway, Simulator
from processes import Process, Reaper


class Workbench:
    """Everything that it starts has its files in folder and ends with clear()."""

    def __init__(self, folder: Path, started: list[Process] | None = None) -> None:
        self.folder = folder
        self._started = [] if started is None else started
        self._reaper = Reaper()
        self._numbers = itertools.count()

    def boards(self, count: int = 1, *options: str) -> Simulator:
        """Start count simulated boards in one process; options are those of `wirelet simulate`."""
        folder = self.folder / f"boards-{next(self._numbers)}"
        folder.mkdir()
        simulator = Simulator(folder, self._reaper, [folder / f"board-{number}" for number in range(count)], *options)
        self._started.append(simulator.process)
        simulator.start()
        return simulator

    def gateway(
        self,
        configuration: Mapping[str, Any],
        *options: str,
        wait: bool = True,
        program: Sequence[str] = WIRELET,
        wrapper: Sequence[str] = (),
    ) -> Gateway:
        """Start a gateway with this configuration; options are those of `wirelet run`, wrapper is a program that runs it."""
        folder = self.folder / f"gw-{next(self._numbers)}"
        gateway = Gateway(folder, self._reaper, configuration, *options, program=program, wrapper=wrapper)
        self._started.append(gateway.process)
        gateway.start() if wait else gateway.process.start()
        return gateway

    def process(self, name: str, argv: Sequence[str], *, has_stdin: bool = False) -> Process:
        """Start any other program."""
        process = Process(name, argv, self.folder / f"{name}-{next(self._numbers)}.log", self._reaper, has_stdin=has_stdin)
        self._started.append(process)
        process.start()
        return process

    def clear(self) -> None:
        """End everything, the last one first. Idempotent."""
        for process in reversed(self._started):
            process.stop()
        self._reaper.close()

"""Processes that the wrapper of exec jobs remembers, by number and start time: a number alone may be somebody else's by now."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def processes(directory: Path) -> Iterator[int]:
    """Those that are still there."""
    for file in (*directory.glob("run.*/supervisor"), *directory.glob("s*er"), *directory.glob("run.*/job.process")):
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            pid, began = map(int, file.read_text().split())
            if _began(pid) == began:
                yield pid


def end(directory: Path) -> None:
    """With their groups, of which each but the server leads its own; all at once, so that no supervisor tells how its job ended."""
    found = list(processes(directory))
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in found:
            for kill in (os.killpg, os.kill):
                with suppress(ProcessLookupError):
                    kill(pid, number)


def _began(pid: int) -> int:
    """In ticks since the boot."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19])

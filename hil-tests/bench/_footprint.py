"""What a process takes from the machine, as the kernel counts it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

MEMORY: Final = ("RssAnon", "RssFile", "RssShmem", "Pss")
"""RssAnon is what nobody else can use; RssFile can be dropped; RssShmem is the log rings; Pss shares file pages among their users."""

_CPUCLOCK_SCHED: Final = 2
"""clock_getcpuclockid(3) makes a process's clock of this and the pid; Python has no name for it."""


def memory_mib(pid: int) -> dict[str, float]:
    """By the names of MEMORY."""
    lines = [*_lines(pid, "status"), *_lines(pid, "smaps_rollup")]
    found = {name: int(rest.split()[0]) / 1024 for name, rest in lines if name in MEMORY}
    return {name: found[name] for name in MEMORY}


def cpu_s(pid: int) -> float:
    """User and system time of all its threads so far, also of those that have ended; to the nanosecond, where /proc counts by 10 ms."""
    return time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)


def _lines(pid: int, name: str) -> list[tuple[str, str]]:
    pairs = (line.split(":", 1) for line in Path(f"/proc/{pid}/{name}").read_text().splitlines() if ":" in line)
    return [(key, rest) for key, rest in pairs]

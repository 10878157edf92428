"""What a process takes from the machine, as the kernel counts it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

MEMORY: Final = ("RssAnon", "RssFile", "RssShmem", "Pss")
"""RssAnon is what nobody else can use; RssFile can be dropped; RssShmem is the log rings; Pss shares file pages among their users."""


def memory_mib(pid: int) -> dict[str, float]:
    """By the names of MEMORY."""
    lines = [*_lines(pid, "status"), *_lines(pid, "smaps_rollup")]
    found = {name: int(rest.split()[0]) / 1024 for name, rest in lines if name in MEMORY}
    return {name: found[name] for name in MEMORY}


def cpu_s(pid: int) -> float:
    """User and system time of all threads so far; from the scheduler, which counts finer than the 10 ms of /proc/PID/stat. A thread that
    ended takes its time with it."""
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def _lines(pid: int, name: str) -> list[tuple[str, str]]:
    pairs = (line.split(":", 1) for line in Path(f"/proc/{pid}/{name}").read_text().splitlines() if ":" in line)
    return [(key, rest) for key, rest in pairs]

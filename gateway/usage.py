"""What this process takes of its machine, from /proc. Blocking, some tens of microseconds: call it in a thread."""

from __future__ import annotations

import os
import resource
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """at_s and started_at_s are Unix seconds."""

    at_s: float
    started_at_s: float
    cpu_s: float
    """User and system time of all threads."""
    working_set_bytes: int
    """What cannot be dropped: anonymous memory and the log rings."""
    resident_bytes: int
    """With program code and libraries, which the kernel may drop."""
    open_files: int
    threads: int


def read_usage(process: Path = Path("/proc/self")) -> Usage:
    """Values that the kernel does not tell are 0."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    memory = _memory(process / "status")
    now = time.time()
    return Usage(
        at_s=now,
        started_at_s=now - _age_s(process / "stat"),
        cpu_s=used.ru_utime + used.ru_stime,
        working_set_bytes=memory.get("RssAnon", 0) + memory.get("RssShmem", 0),
        resident_bytes=memory.get("VmRSS", 0),
        open_files=len(os.listdir(process / "fd")),
        threads=threading.active_count(),
    )


def _memory(path: Path) -> dict[str, int]:
    """`RssAnon:     1234 kB` and its kind, in bytes."""
    found = {}
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        amount, _, unit = value.strip().partition(" ")
        if unit == "kB":
            found[name] = int(amount) * _KIB
    return found


def _age_s(path: Path) -> float:
    # The name in the second field may hold spaces and parentheses; starttime is the 22nd field (proc_pid_stat(5)).
    fields = path.read_text().rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")

"""A part of a core for one process: by a cgroup, v2 or v1, or else by stopping it most of the time."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PERIOD_S: Final = 0.1
_PERIOD_US: Final = int(PERIOD_S * 1e6)


@contextlib.contextmanager
def cpu_quota(pid: int, cores: float) -> Iterator[str]:
    """Yields by what means."""
    quota_us = int(_PERIOD_US * cores)
    groups = (
        ("cgroup v2", Path("/sys/fs/cgroup"), {"cpu.max": f"{quota_us} {_PERIOD_US}"}),
        ("cgroup v1", Path("/sys/fs/cgroup/cpu"), {"cpu.cfs_period_us": str(_PERIOD_US), "cpu.cfs_quota_us": str(quota_us)}),
    )
    for name, root, limits in groups:
        group = root / f"wirelet-bench-{os.getpid()}"
        if (root / "cgroup.procs").exists() and _enter(group, limits, pid):
            try:
                yield name
            finally:
                with contextlib.suppress(OSError):  # it may have ended meanwhile
                    (root / "cgroup.procs").write_text(str(pid))
                group.rmdir()
            return
    with _stopped_mostly(pid, cores):
        yield f"no cgroup is writable: stopped {1 - cores:.1%} of the time by signals"


def _enter(group: Path, limits: dict[str, str], pid: int) -> bool:
    try:
        group.mkdir()
        for name, value in limits.items():
            (group / name).write_text(value)
        (group / "cgroup.procs").write_text(str(pid))
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        return False
    return True


@contextlib.contextmanager
def _stopped_mostly(pid: int, cores: float) -> Iterator[None]:
    """Harder than a quota: what the process does not use of its time it does not get later."""
    is_over = threading.Event()

    def limit() -> None:
        with contextlib.suppress(ProcessLookupError):
            while not is_over.is_set():
                os.kill(pid, signal.SIGSTOP)
                is_over.wait(PERIOD_S * (1 - cores))
                os.kill(pid, signal.SIGCONT)
                is_over.wait(PERIOD_S * cores)

    thread = threading.Thread(target=limit, name="limiter")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()

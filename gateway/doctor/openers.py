"""Which processes have a port open, by the kernel's own tables."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_UNIT: Final = re.compile(r"/([^/]+\.service)(?:/|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that has node open. unit is the systemd service it belongs to, if any."""

    node: str
    pid: int
    command: str
    unit: str = ""


def holders(nodes: Iterable[str]) -> Iterator[Holder]:
    """Whoever has one of them open, by whatever name. Processes that this user may not look into are not seen; as root none is missed."""
    wanted = {device: node for node in nodes if (device := _device(node)) is not None}
    if not wanted:
        return
    for process in sorted(PROC.glob("[0-9]*"), key=lambda path: int(path.name)):
        if int(process.name) == os.getpid():
            continue
        try:
            files = list(os.scandir(process / "fd"))
            far = {end for file in files if (end := _far_end(process, file)) is not None}
            opened = {device for file in files if (device := _device(file.path)) is not None and device in wanted}
            for device in sorted(opened - far):
                yield Holder(wanted[device], int(process.name), _command(process), _unit(process))
        except OSError:
            continue  # it has ended, or is somebody else's


def _device(path: str) -> int | None:
    """The number of a character device, which all its names share."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_rdev if stat.S_ISCHR(status.st_mode) else None


def _far_end(process: Path, file: os.DirEntry[str]) -> int | None:
    """The pty whose other end the file is: who has that plays the device, and may have both open."""
    if not os.readlink(file.path).endswith("/ptmx"):
        return None
    fields = dict(line.split(":", 1) for line in (process / "fdinfo" / file.name).read_text().splitlines() if ":" in line)
    return _device(f"/dev/pts/{fields['tty-index'].strip()}") if "tty-index" in fields else None


def _command(process: Path) -> str:
    """Anybody may name a process anything; this is printed."""
    name = (process / "comm").read_text(errors="replace").strip()
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _unit(process: Path) -> str:
    found = _UNIT.findall((process / "cgroup").read_text(errors="replace"))
    return found[-1] if found else ""

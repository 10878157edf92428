"""What the machine's own udevadm makes of mock devices: all rules that are installed run, ours among them.

`udevadm test` writes its database, links in /dev and sysfs attributes in earnest, so it runs in mounts of its own over a mock /sys.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from usb_tree import Record, text

DEADLINE_S: Final = 100
_MARK: Final = "@@@ "
_MOUNTS: Final = """
set -e
mount -t tmpfs tmpfs /run
mkdir /run/udev /run/dev /run/dev/pts
mount --bind "$1" /etc/udev
for node in null zero full random urandom tty; do touch /run/dev/$node; mount --bind /dev/$node /run/dev/$node; done
mount --bind /dev/pts /run/dev/pts
ln -s pts/ptmx /run/dev/ptmx
ln -s /proc/self/fd /run/dev/fd
mount --rbind /run/dev /dev
eval "$2"
"""
# As udev 252 prints it, and as 257 does.
_PROPERTY: Final = re.compile(r"(?:  )?(\.?\w+)=(.*)")
_RULE: Final = re.compile(r"\S+: \S+\.rules:\d+ (?P<key>GROUP|MODE) (?P<value>\d+)")
_WRITE: Final = re.compile(r"\S+: \S+\.rules:\d+ (?:ATTR '.*/(\w+)' writing '(.*)'|.* skipping writing ATTR\{.*/(\w+)\}=\"(.*)\"\.)")
_RUN: Final = re.compile(r"run: '(.*)'|  RUN\{program\} : (.*)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What udev would do with one device."""

    properties: Mapping[str, str]
    links: frozenset[str]
    """Without /dev/ in front."""
    tags: frozenset[str]
    group: int | None
    """Of the last rule that names one. None: it stays the kernel's."""
    mode: int | None
    writes: Mapping[str, str]
    """sysfs attributes of it, by name. (Read from the log: in a mock file the end of a longer old value would stay.)"""
    runs: tuple[str, ...]

    @property
    def names(self) -> set[str]:
        """The links that Wirelet's rules make, below /dev/wirelet."""
        return {link.removeprefix("wirelet/") for link in self.links if link.startswith("wirelet/")}


class UdevBed:
    """A machine with these devices, and with the folder etc_udev as its /etc/udev."""

    def __init__(self, etc_udev: Path, records: Iterable[Record], file: Path) -> None:
        self._etc_udev = etc_udev
        self._file = file
        file.write_text(text(records))

    def outcomes(self, syspaths: Iterable[str], action: str = "add") -> dict[str, Outcome]:
        """What becomes of each device, handled in the order given."""
        told = self.told({path: f"udevadm test --action={action} {shlex.quote(path)} 2>&1" for path in syspaths})
        return {path: _outcome(lines) for path, lines in told.items()}

    def told(self, commands: Mapping[str, str]) -> dict[str, str]:
        """What each command prints, one after the other among the devices."""
        script = "\n".join(f"echo; echo {shlex.quote(_MARK + name)}; {command}" for name, command in commands.items())
        pieces = self.run(script).split(f"\n{_MARK}")[1:]
        return {name: body for name, _, body in (piece.partition("\n") for piece in pieces)}

    def run(self, script: str) -> str:
        """What a shell script prints among the devices."""
        return in_own_mounts(self._etc_udev, f"umockdev-run --device {shlex.quote(str(self._file))} -- sh -c {shlex.quote(script)}")


def etc_udev_with(installed: Path, folder: Path, files: Mapping[str, str]) -> Path:
    """A copy of an /etc/udev with more files in it, by their path; the binary table is made anew if one of them belongs into it."""
    shutil.copytree(installed, folder)
    for path, content in files.items():
        (folder / path).write_text(content)
    if any(path.endswith(".hwdb") for path in files):
        # Without udev's own thirty files, which take most of the time.
        in_own_mounts(folder, "mount -t tmpfs tmpfs /lib/udev/hwdb.d; systemd-hwdb update")
    return folder


def in_own_mounts(etc_udev: Path, script: str) -> str:
    """What a shell script prints that sees an empty /run and /dev, and the folder as /etc/udev. Raises CalledProcessError."""
    # In a pid namespace, so that nothing outlives a script that takes too long.
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _MOUNTS, "sh", str(etc_udev), script]
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, timeout=DEADLINE_S, check=True).stdout


def _outcome(told: str) -> Outcome:
    properties = {match[1]: match[2] for line in told.splitlines() if (match := _PROPERTY.fullmatch(line))}
    last = {match["key"]: match["value"] for line in told.splitlines() if (match := _RULE.fullmatch(line))}
    return Outcome(
        properties=properties,
        links=frozenset(link.removeprefix("/dev/") for link in properties.get("DEVLINKS", "").split()),
        tags=frozenset(properties.get("TAGS", "").strip(":").split(":")),
        group=int(last["GROUP"]) if "GROUP" in last else None,
        mode=int(last["MODE"], 8) if "MODE" in last else None,
        writes={match[1] or match[3]: match[2] or match[4] for line in told.splitlines() if (match := _WRITE.fullmatch(line))},
        runs=tuple(match[1] or match[2] for line in told.splitlines() if (match := _RUN.fullmatch(line))),
    )

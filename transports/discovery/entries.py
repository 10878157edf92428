"""Hears when a path may lead somewhere else: inotify on the folders that matter, through inotify_simple. The only file that knows it.

A path to a port goes through symbolic links that udev renews and folders that come with the first adapter. Watched are the folder in which
the next step is missing, the folder of every link on the way, and the folder of the end. Making a watch blocks: for a thread.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from inotify_simple import INotify, flags

MAX_LINKS: Final = 40
"""As many as the kernel follows."""
MAX_TRIES: Final = 10
"""A path that changes so often while it is followed is watched where it was last seen."""
_APPEARS: Final = flags.CREATE | flags.MOVED_TO | flags.ATTRIB | flags.DELETE_SELF | flags.MOVE_SELF | flags.ONLYDIR
_FOLDER_IS_GONE: Final = flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT | flags.IGNORED | flags.Q_OVERFLOW


@dataclass(frozen=True, slots=True)
class Trail:
    """Where a path leads: the steps that matter, as (folder, name), and what is at its end."""

    steps: frozenset[tuple[str, str]]
    end: tuple[int, ...] | None
    """None: nothing. Equal while it is the same thing with the same rights."""


class EntryWatch:
    """Raises OSError when it is made without rights, or above the user's limit of watches."""

    def __init__(self, path: str) -> None:
        self._inotify = INotify(nonblocking=True)
        self._names: dict[int, set[str]] = {}
        try:
            self.trail = self._follow(path)
        except BaseException:
            self._inotify.close()
            raise

    def fileno(self) -> int:
        return int(self._inotify.fileno())

    def is_news(self) -> bool:
        """Take what waits; True when something of it is a step of the path. Does not block."""
        return any(event.mask & _FOLDER_IS_GONE or event.name in self._names.get(event.wd, ()) for event in self._inotify.read(timeout=0))

    def close(self) -> None:
        self._inotify.close()

    def _follow(self, path: str) -> Trail:
        trail = follow(path)
        for _ in range(MAX_TRIES):
            for folder, name in trail.steps:
                self._watch(folder, name)
            before, trail = trail, follow(path)
            if trail == before:
                break
        return trail

    def _watch(self, folder: str, name: str) -> None:
        try:
            watch = self._inotify.add_watch(folder, _APPEARS)
        except (FileNotFoundError, NotADirectoryError):
            return  # gone meanwhile: following the path again shows it
        self._names.setdefault(watch, set()).add(name)


def follow(path: str) -> Trail:
    """Walk the path as the kernel would."""
    steps: set[tuple[str, str]] = set()
    folder, rest = "/", list(PurePosixPath(os.path.abspath(path)).parts[1:])
    for _ in range(MAX_LINKS + len(rest) * 2):
        if not rest:
            break
        name = rest.pop(0)
        here = os.path.join(folder, name)
        try:
            is_link = stat.S_ISLNK(os.lstat(here).st_mode)
        except OSError:
            steps.add((folder, name))
            return Trail(frozenset(steps), None)
        if is_link:
            steps.add((folder, name))
            target = PurePosixPath(os.path.normpath(os.path.join(folder, os.readlink(here))))
            folder, rest = "/", [*target.parts[1:], *rest]
        elif rest:
            folder = here
        else:
            steps.add((folder, name))
    return Trail(frozenset(steps), _end(path))


def _end(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_rdev, status.st_mode, status.st_uid, status.st_gid

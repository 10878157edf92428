"""The device's end of a pty, as a port: what a board is to the computer that it is plugged into by USB.

The gateway opens a stable path, a symbolic link to the pty's slave. Pulling the cable closes the pty, so that an open port hangs up
and the path is gone; plugging in makes another pty behind the same path. The slave is held open here too: a pty without any open slave has
no memory and gives errors.
"""

from __future__ import annotations

import contextlib
import os
import tty
from typing import Final

import anyio
import anyio.lowlevel

READ_BYTES: Final = 65536
PTY_FOLDER: Final = "/dev/pts/"


class PtyPort:
    """One port at one path. plug() makes it; unplug() leaves nothing behind."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._master = -1
        self._slave = -1
        self._plugged = anyio.Event()

    @property
    def is_plugged(self) -> bool:
        return self._master >= 0

    def plug(self) -> None:
        """Raises FileExistsError when something other than a link is at the path, and OSError for what the system refuses."""
        if self.is_plugged:
            return
        if os.path.lexists(self.path) and not _is_our_link(self.path):
            raise FileExistsError(f"{self.path} exists and is no link of a simulated device")
        self._master, self._slave = os.openpty()
        try:
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            _replace_link(self.path, os.ttyname(self._slave))
        except BaseException:
            self._close()
            raise
        self._plugged.set()

    def unplug(self) -> None:
        if not self.is_plugged:
            return
        with contextlib.suppress(OSError):
            if os.readlink(self.path) == os.ttyname(self._slave):
                os.unlink(self.path)
        self._close()

    def _close(self) -> None:
        self._plugged = anyio.Event()
        master, slave, self._master, self._slave = self._master, self._slave, -1, -1
        os.close(slave)
        anyio.notify_closing(master)
        os.close(master)

    async def receive(self) -> bytes:
        """At least one byte; waits while nothing is plugged in."""
        while True:
            master = self._master
            if master < 0:
                await self._plugged.wait()
                continue
            try:
                return os.read(master, READ_BYTES)
            except BlockingIOError:
                with contextlib.suppress(anyio.ClosedResourceError):
                    await anyio.wait_readable(master)

    async def send(self, data: bytes) -> None:
        """Return when the pty has taken data, or when it was unplugged."""
        await anyio.lowlevel.checkpoint()
        master = self._master
        while data and master >= 0 and master == self._master:
            try:
                data = data[os.write(master, data) :]
            except BlockingIOError:
                try:
                    await anyio.wait_writable(master)
                except anyio.ClosedResourceError:
                    return


def _is_our_link(path: str) -> bool:
    """A link to a pty: what an earlier run, perhaps a killed one, left here."""
    return os.path.islink(path) and os.readlink(path).startswith(PTY_FOLDER)


def _replace_link(path: str, target: str) -> None:
    """In one step, also over a link that a killed process left."""
    new = f"{path}.{os.getpid()}"
    os.symlink(target, new)
    try:
        os.replace(new, path)
    except OSError:
        os.unlink(new)
        raise

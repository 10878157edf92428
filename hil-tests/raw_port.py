"""A port whose device is the test itself."""

from __future__ import annotations

import os
import select
import threading
import tty
from pathlib import Path


class RawPort:
    """A pty whose device's side sends whatever a test wants, and reads what comes so that nobody waits for it."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        link.symlink_to(os.ttyname(self._slave))
        self._ended, self._end = os.pipe()
        self.received = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def send(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._master, data) :]

    def _read(self) -> None:
        while self._ended not in select.select([self._master, self._ended], [], [])[0]:
            self.received += os.read(self._master, 4096)

    def close(self) -> None:
        os.close(self._end)
        self._reader.join()
        for fd in (self._ended, self._slave, self._master):
            os.close(fd)

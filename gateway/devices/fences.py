"""Around a lent port: a file that the lender locks, and the program that it runs with it, for as long as either lives.

The kernel takes the lock away when both have ended, whatever became of the gateway meanwhile. So a gateway that is started while a program
has a port sees that, and by whom it was lent.
"""

from __future__ import annotations

import fcntl
import os
from hashlib import sha256
from pathlib import Path
from typing import Final

MAX_TEXT_BYTES: Final = 512
"""Of the file, which any program of this user could write."""
SOMEBODY: Final = "somebody"


class Fence:
    """Of one device. The file is there before anybody is told of it."""

    def __init__(self, directory: Path, device: str) -> None:
        """Raises OSError when the file cannot be made. The device's name may hold any character."""
        directory.mkdir(mode=0o700, exist_ok=True)
        self.path = directory / f"{sha256(device.encode()).hexdigest()[:32]}.lent"
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def borrower(self) -> str | None:
        """Who has the port, if the file is locked. Blocks no longer than a file in memory does."""
        with self.path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return file.read(MAX_TEXT_BYTES).decode(errors="replace").strip() or SOMEBODY
        return None

"""A program of the host on a terminal, wired to the pins of an FT232: what a Linux board's console is to the guest."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import termios
from collections.abc import Sequence
from typing import Final

import anyio
from guest.ft232 import Ft232
from guest.uart import FRAME_BITS

READ_BYTES: Final = 256
"""At once: at 115200 baud 22 ms, so that a key is not long behind a flood."""


class Ft232Terminal:
    """argv runs from run()'s begin to its end. What it says takes the time that it takes at the chip's rate, which is never wrong."""

    def __init__(self, chip: Ft232, argv: Sequence[str]) -> None:
        self._chip = chip
        self._argv = argv
        self._ours, self._theirs = os.openpty()
        chip.when_output = self._type

    async def run(self) -> None:
        """Until cancelled, or the program's end."""
        popen = subprocess.Popen(  # noqa: ASYNC220 - a fork, at the begin of a test
            self._argv,
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(self._theirs)
        try:
            await self._carry()
        finally:
            if popen.poll() is None:
                os.killpg(popen.pid, signal.SIGKILL)
            popen.wait()
            os.close(self._ours)

    async def _carry(self) -> None:
        while True:
            await anyio.wait_readable(self._ours)
            try:
                data = os.read(self._ours, READ_BYTES)
            except OSError:  # the program has ended
                return
            self._chip.put(data)
            await anyio.sleep(len(data) * FRAME_BITS / self._chip.baud)

    def _type(self, data: bytes) -> None:
        os.write(self._ours, data)  # a terminal takes 4 KiB ahead, a profile types less before it waits

"""A board that is a USB device itself, in the guest: the kernel's CDC-ACM gadget on dummy_hcd, with a simulated board at its far end.

Both kernels' sides are real: cdc_acm makes /dev/ttyACM0 of it, and the board speaks through /dev/ttyGS0. As on an ESP32-S3 or a Pico the
device leaves the bus when the board resets, and comes back with the same serial number. For `stand.acm_board(...)`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import tty
from typing import Final

import anyio
import anyio.from_thread
import anyio.lowlevel
from guest.gadget import Gadget

from transports.simulated.board import BoardConfig
from transports.simulated.runner import BoardRunner

NATIVE_USB: Final = (0x303A, 0x4001)
"""Of an Espressif chip with USB of its own."""
READ_BYTES: Final = 4096
RESTART_S: Final = 0.5
"""From the reset to the USB stack's start: what a small board takes."""
REOPEN_S: Final = 0.05


class AcmBoard:
    """Plugged in when it is made. Its methods are for the caller's thread; the board lives in one of its own."""

    def __init__(self, serial: str, board_id: str) -> None:
        self._gadget = Gadget(serial, f"acm.{serial}", NATIVE_USB, "Native board")
        self._port = _GadgetPort(self._gadget.port())
        self._runner = BoardRunner(BoardConfig(id=board_id, slots=2), self._port)
        self._has_started = threading.Event()
        self._token: anyio.lowlevel.EventLoopToken | None = None
        self._life: anyio.CancelScope
        self._thread = threading.Thread(target=anyio.run, args=(self._live,), daemon=True)
        self._thread.start()
        self._has_started.wait()
        self.plug()

    def plug(self) -> None:
        self._gadget.plug()

    def unplug(self) -> None:
        """The board runs on."""
        self._gadget.unplug()

    def reset(self) -> None:
        """It leaves the bus, starts anew and comes back."""
        self.unplug()
        anyio.from_thread.run_sync(self._runner.reset, token=self._token)
        threading.Event().wait(RESTART_S)
        self.plug()

    def remove(self) -> None:
        self.unplug()
        anyio.from_thread.run_sync(self._life.cancel, token=self._token)
        self._thread.join()  # the kernel waits for the end of its tty before it takes the function apart
        self._gadget.remove()

    async def _live(self) -> None:
        self._token = anyio.lowlevel.current_token()
        with anyio.CancelScope() as self._life:
            self._has_started.set()
            await self._runner.run()
        self._port.close()


class _GadgetPort:
    """transports.simulated.runner.Port on the gadget's tty, which hangs up whenever the device leaves the bus."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._fd = -1

    async def receive(self) -> bytes:
        while True:
            await self._open()
            await anyio.wait_readable(self._fd)
            with contextlib.suppress(OSError):
                if data := os.read(self._fd, READ_BYTES):
                    return data
            self.close()

    async def send(self, data: bytes) -> None:
        """What does not fit, because nobody reads, is lost."""
        await anyio.lowlevel.checkpoint()
        while data and self._fd >= 0:
            try:
                data = data[os.write(self._fd, data) :]
            except OSError as error:
                if error.errno == errno.EAGAIN:
                    with anyio.move_on_after(REOPEN_S) as wait:
                        await anyio.wait_writable(self._fd)
                    if not wait.cancelled_caught:
                        continue
                return

    async def _open(self) -> None:
        while self._fd < 0:
            with contextlib.suppress(OSError):
                self._fd = os.open(self._node, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
                tty.setraw(self._fd)
                return
            self.close()
            await anyio.sleep(REOPEN_S)

    def close(self) -> None:
        if self._fd >= 0:
            anyio.notify_closing(self._fd)
            os.close(self._fd)
        self._fd = -1

"""What one test plugs into the guest and starts in it and around it; cleared away together, the last one first."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal
from guest.acm_board import AcmBoard
from guest.board_process import Board
from guest.ft232_adapter import Ft232Adapter
from guest.gadget import Gadget
from guest.gateway import Gateway
from guest.machine import Guest
from guest.process import GuestProcess
from guest.usb_board import UsbBoard
from guest.usb_far_end import UsbFarEnd
from guest.usb_serial import UsbSerial
from processes import Process, Reaper


class Stand:
    """Made by the fixture of the same name."""

    def __init__(self, guest: Guest, folder: Path, started: list[Process]) -> None:
        self.guest = guest
        self._folder = folder
        self._started = started
        self._reaper = Reaper()
        self._portal: BlockingPortal | None = None
        self._undo = ExitStack()
        self._undo.callback(self._reaper.close)

    def usb_serial(self, serial: str | None, port: str | None = None) -> UsbSerial:
        """QEMU's own adapter, in this USB port. It is plugged in when its far end is connected."""
        adapter = UsbSerial(self.guest, serial, port)
        self._undo.callback(adapter.remove)
        return adapter

    def ft232(self, serial: str) -> Ft232Adapter:
        """Our own adapter, plugged in; see it for what may be wired to it. serial "" is one without a serial number."""
        adapter = Ft232Adapter(self.guest, self._loop(), serial)
        self._undo.callback(adapter.remove)
        adapter.plug()
        return adapter

    def usb_board(self, name: str, *, slots: int = 2, re_enumerates: bool = False) -> UsbBoard:
        """A board with USB of its own, plugged in; with slots=0 a loop instead. re_enumerates: its restarts are seen on the bus."""
        board = UsbBoard(self.guest, self._loop(), name, slots, re_enumerates=re_enumerates)
        self._undo.callback(board.remove)
        board.plug()
        return board

    def usb_far_end(self, serial: str) -> UsbFarEnd:
        """A bare USB device whose firmware connects from the guest."""
        far = UsbFarEnd(self.guest, self._loop(), serial)
        self._undo.callback(far.remove)
        return far

    def _loop(self) -> BlockingPortal:
        """Where emulated devices live; made when the first one is."""
        if self._portal is None:
            self._portal = self._undo.enter_context(start_blocking_portal())
        return self._portal

    def board(self, socket: Path, name: str, slots: int = 2) -> Board:
        """A board in a process of its own, connected to an adapter's socket."""
        board = Board(self._folder, self._reaper, socket, name, slots)
        self._started.append(board.process)
        self._undo.callback(board.process.stop)
        board.start()
        return board

    def calls(self, *, user: str = "", groups: tuple[str, ...] = ()) -> GuestProcess:
        """A process for `call` and `keep`."""
        process = self.guest.start_calls(user=user, groups=groups)
        self._undo.callback(process.stop, signal.SIGKILL)
        return process

    def gadget(self, serial: str, function: str) -> Gadget:
        """A device of the guest's own kernel, not plugged in yet."""
        gadget = self.calls().keep(Gadget, serial, function)
        self._undo.callback(gadget.remove)
        return gadget

    def function_fs(self, name: str) -> None:
        """Serves the function `ffs.name` of a gadget as a loop; before the gadget is plugged in."""
        loop = self.guest.start_module("guest.function_fs", name)
        self._undo.callback(self.guest.run, "umount", f"/run/ffs-{name}")
        self._undo.callback(loop.stop, signal.SIGKILL)
        loop.wait_for("ready")

    def acm_board(self, serial: str, name: str) -> AcmBoard:
        """A board that is a CDC-ACM device itself, plugged in."""
        board = self.calls().keep(AcmBoard, serial, name)
        self._undo.callback(board.remove)
        return board

    def gateway(self, configuration: dict[str, Any], *pods: dict[str, Any], **user: str) -> Gateway:
        """Started; user and group say as whom."""
        gateway = Gateway(self.guest, configuration, pods, **user)
        gateway.start()
        self._undo.callback(gateway.close)
        return gateway

    def clear(self) -> None:
        self._undo.close()

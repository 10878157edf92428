"""A simulated board with a USB interface of its own, in the guest over usbredir: what `transports/usb.py` talks to."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Final

import anyio
from anyio.from_thread import BlockingPortal
from guest.emulated import Emulated
from guest.inside import await_no_usb, await_usb
from guest.machine import Guest
from guest.wirelet_usb import WireletUsb
from guest.wirelet_usb_board import WireletUsbBoard

from transports.simulated.board import BoardConfig

OFF_BUS_S: Final = 0.2
"""Of a chip that restarts: long enough for the guest to see that it is gone."""


class UsbBoard(Emulated):
    """Its serial number is its device id in hexadecimal. Without slots there is no board, and every byte comes back."""

    def __init__(self, guest: Guest, portal: BlockingPortal, name: str, slots: int, *, re_enumerates: bool) -> None:
        config = BoardConfig(id=name, slots=slots or 1)
        self.serial = config.device_id.hex()
        self._usb = WireletUsb(self.serial, loops_back=not slots)
        super().__init__(guest, portal, self._usb)
        self._re_enumerates = re_enumerates
        self._board: WireletUsbBoard | None = None
        self._life: Future[None] | None = None
        if slots:
            self._board = self._on_loop(WireletUsbBoard, self._usb, config, self._restart_usb)
            self._life = portal.start_task_soon(self._board.run)

    def await_plugged(self) -> str:
        """Its node below /dev/bus/usb."""
        return self._guest.call(await_usb, self.serial)

    def await_unplugged(self) -> None:
        self._guest.call(await_no_usb, self.serial)

    def remove(self) -> None:
        if self._life is not None:
            self._life.cancel()
        super().remove()

    # -- what it does wrong

    def stick(self, *, is_stuck: bool = True) -> None:
        """It takes nothing more: NAK for ever."""
        self._set(is_stuck=is_stuck)

    def mute(self, *, is_mute: bool = True) -> None:
        """It gives nothing more."""
        self._set(is_mute=is_mute)

    def forget_zero_packets(self) -> None:
        """Its bursts may end on a full packet without the host hearing of it."""
        self._set(sends_zero_packets=False)

    def _set(self, **flags: bool) -> None:
        def change() -> None:
            for name, value in flags.items():
                setattr(self._usb, name, value)
            self._usb.changed()

        self._on_loop(change)

    def zero_packets(self) -> int:
        """How many have come from the host."""
        return self._on_loop(lambda: self._usb.zero_packets)

    # -- the board

    def reset(self) -> None:
        """A power cycle of the board."""
        assert self._board is not None, "there is no board, but a loop"
        self._on_loop(self._board.reset)

    async def _restart_usb(self) -> None:
        """With the chip its USB part begins anew."""
        if self._re_enumerates and self._plug.is_plugged:
            await self._plug.unplug()
            await anyio.sleep(OFF_BUS_S)
            await self._plug.plug()

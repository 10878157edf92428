"""What may stand below `link: {usb: ...}`, and its bounds. Known without pyusb."""

from __future__ import annotations

from dataclasses import dataclass

from transports.discovery.facts import Kind
from transports.discovery.match import MatchRule
from transports.driver import BadOption
from transports.match_options import MAX_NUMBER, MatchOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class UsbMatchOptions:
    """Everything that is given must hold, and one device only may be left."""

    usb_serial: str | None = None
    vid_pids: tuple[str, ...] = ()
    """Any of them."""
    port: str | None = None
    """1-1.3, or udev's ID_PATH."""
    interface: int | None = None
    """Of a device that has several that speak the protocol."""

    def __post_init__(self) -> None:
        if not any((self.usb_serial, self.vid_pids, self.port)):
            raise ValueError("needs one of: usbSerial, vidPids, port")
        self._device()
        if self.interface is not None and not 0 <= self.interface <= MAX_NUMBER:
            raise BadOption("interface", f"must be 0 to {MAX_NUMBER}, not {self.interface}")

    def rule(self, boot_modes: tuple[str, ...] = ()) -> MatchRule:
        """Of the whole device. boot_modes: further VID:PIDs of the same board."""
        return self._device().rule(boot_modes, Kind.USB)

    def _device(self) -> MatchOptions:
        return MatchOptions(usb_serial=self.usb_serial, vid_pids=self.vid_pids, port=self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsbOptions:
    match: UsbMatchOptions

"""`link: {usb: ...}`: a bulk interface of a USB device as a driver."""

from __future__ import annotations

from transports.discovery.places import MatchedPlace
from transports.driver import DeviceFacts
from transports.link import LinkOpener
from transports.usb_backend import open_pipe
from transports.usb_link import UsbLinkOpener
from transports.usb_options import UsbOptions


class UsbDriver:
    """See transports.driver.LinkDriver."""

    options = UsbOptions

    def opener(self, options: UsbOptions, device: DeviceFacts) -> LinkOpener:
        if device.ports is None:
            raise ValueError(f"{device.name}: match finds devices only where somebody watches them")
        match = options.match
        place = MatchedPlace(match.rule(device.boot_modes), device.ports, device.last_hub_port)
        return UsbLinkOpener(place, lambda node, name: open_pipe(node, name, match.interface), interface=match.interface)

    def bytes_per_s(self, options: UsbOptions) -> float | None:
        return None

    def port(self, options: UsbOptions) -> str | None:
        match = options.match
        return str(match.rule()) if match.interface is None else f"{match.rule()}, interface {match.interface}"

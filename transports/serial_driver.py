"""`link: {serial: ...}`: a serial port as a driver."""

from __future__ import annotations

import os

from transports.baud import BITS_PER_BYTE
from transports.discovery.places import MatchedPlace, PathPlace, Place
from transports.driver import DeviceFacts
from transports.link import LinkOpener
from transports.serial import SerialLinkOpener
from transports.serial_options import SerialOptions


class SerialDriver:
    """See transports.driver.LinkDriver."""

    options = SerialOptions

    def opener(self, options: SerialOptions, device: DeviceFacts) -> LinkOpener:
        return SerialLinkOpener(_place(options, device), options)

    def bytes_per_s(self, options: SerialOptions) -> float | None:
        return options.baud / BITS_PER_BYTE

    def port(self, options: SerialOptions) -> str | None:
        if options.match is not None:
            return str(options.match.rule())
        return options.path and os.path.normpath(options.path)


def _place(options: SerialOptions, device: DeviceFacts) -> Place:
    if options.match is not None:
        if device.ports is None:
            raise ValueError(f"{device.name}: match finds ports only where somebody watches them")
        return MatchedPlace(options.match.rule(device.boot_modes), device.ports, device.last_hub_port)
    if options.path is None:
        raise AssertionError("the options were checked: they have a path or a match")
    return PathPlace(options.path)

"""`link: {serial: ...}`: a serial port as a driver."""

from __future__ import annotations

from typing import Final

from transports.driver import DeviceFacts
from transports.link import LinkOpener
from transports.serial import SerialLinkOpener
from transports.serial_options import SerialOptions

BITS_PER_BYTE: Final = 10
"""8N1: a start bit, eight data bits, a stop bit."""


class SerialDriver:
    """See transports.driver.LinkDriver."""

    options = SerialOptions

    def opener(self, options: SerialOptions, device: DeviceFacts) -> LinkOpener:
        return SerialLinkOpener(options.path, options)

    def bytes_per_s(self, options: SerialOptions) -> float | None:
        return options.baud / BITS_PER_BYTE

    def port(self, options: SerialOptions) -> str | None:
        return options.path

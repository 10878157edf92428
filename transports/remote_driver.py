"""`link: {rfc2217: ...}` and `link: {socket: ...}`: ports of other machines as drivers.

A server that speaks RFC 2217 is told how its port is to be set; behind a plain socket the port is as its server made it, so nothing of it
can be configured here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from transports import baud
from transports.baud import BITS_PER_BYTE, DEFAULT_BAUD
from transports.driver import BadOption, DeviceFacts
from transports.link import LinkOpener
from transports.rfc2217 import Rfc2217LinkOpener
from transports.serial_options import PortSettings
from transports.tcp_link import TcpLinkOpener, url

MAX_PORT: Final = 65535
_HOST: Final = re.compile(r"[^\s/\[\]@\0]{1,253}")
"""A name or an address; the longest name of the DNS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketOptions:
    host: str
    port: int
    baud: int | None = None
    """Of the port behind it, if it is one: what the line carries. It is not set from here."""

    def __post_init__(self) -> None:
        _check_address(self.host, self.port)
        if self.baud is not None:
            baud.check_option(self.baud)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rfc2217Options:
    host: str
    port: int
    baud: int = DEFAULT_BAUD
    flow_control: Literal["none", "rtscts", "xonxoff"] = "none"
    modem_lines: Literal["leave", "assert", "esp-autoreset"] = "leave"

    def __post_init__(self) -> None:
        _check_address(self.host, self.port)
        _ = self.settings

    @property
    def settings(self) -> PortSettings:
        return PortSettings(baud=self.baud, flow_control=self.flow_control, modem_lines=self.modem_lines)


class SocketDriver:
    """See transports.driver.LinkDriver."""

    options = SocketOptions

    def opener(self, options: SocketOptions, device: DeviceFacts) -> LinkOpener:
        return TcpLinkOpener(options.host, options.port)

    def bytes_per_s(self, options: SocketOptions) -> float | None:
        return None if options.baud is None else options.baud / BITS_PER_BYTE

    def port(self, options: SocketOptions) -> str | None:
        return url("tcp", options.host, options.port)


class Rfc2217Driver:
    """See transports.driver.LinkDriver."""

    options = Rfc2217Options

    def opener(self, options: Rfc2217Options, device: DeviceFacts) -> LinkOpener:
        return Rfc2217LinkOpener(options.host, options.port, options.settings)

    def bytes_per_s(self, options: Rfc2217Options) -> float | None:
        return options.baud / BITS_PER_BYTE

    def port(self, options: Rfc2217Options) -> str | None:
        return url("tcp", options.host, options.port)


def _check_address(host: str, port: int) -> None:
    if not _HOST.fullmatch(host):
        raise BadOption("host", f"must be a name or an address such as pi2.lab, not {host!r}")
    if not 1 <= port <= MAX_PORT:
        raise BadOption("port", f"must be 1 to {MAX_PORT}, not {port}")

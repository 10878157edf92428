"""What may stand below `link: {serial: ...}`, and its bounds. Known without pyserial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from transports import baud
from transports.baud import DEFAULT_BAUD
from transports.driver import BadOption, DurationS
from transports.latency import MAX_LATENCY_MS, MIN_LATENCY_MS
from transports.match_options import MatchOptions
from transports.modem_lines import ModemLines
from transports.rs485 import Rs485

NO_XONXOFF: Final = "none or rtscts: frames hold every byte value, also those that XON/XOFF takes for itself (SPEC.md 1.2)"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSettings:
    """How a port is set, however it is found."""

    baud: int = DEFAULT_BAUD
    flow_control: Literal["none", "rtscts", "xonxoff"] = "none"
    modem_lines: Literal["leave", "assert", "esp-autoreset"] = "leave"
    rs485: Rs485 | None = None
    low_latency: bool | None = None
    """None: as the system has it, which is what the udev rules say."""
    latency_timer: DurationS | None = None
    """Of an FTDI chip; None: as the system has it."""

    def __post_init__(self) -> None:
        baud.check_option(self.baud)
        if self.flow_control == "xonxoff":
            raise BadOption("flow_control", f"must be {NO_XONXOFF}")
        self._check_who_drives_rts()
        if self.latency_timer is None:
            return
        if self.low_latency:
            raise BadOption("latency_timer", "must be left out with lowLatency: true, which sets it to 1ms")
        if not MIN_LATENCY_MS <= self.latency_ms <= MAX_LATENCY_MS or abs(self.latency_timer * 1000 - self.latency_ms) > 1e-6:
            allowed = f"{MIN_LATENCY_MS}ms to {MAX_LATENCY_MS}ms in whole milliseconds"
            raise BadOption("latency_timer", f"must be {allowed}, not {self.latency_timer * 1000:g}ms")

    @property
    def lines(self) -> ModemLines:
        return ModemLines(self.modem_lines)

    @property
    def is_rtscts(self) -> bool:
        return self.flow_control == "rtscts"

    @property
    def latency_ms(self) -> int:
        """0 when it is not set."""
        return round((self.latency_timer or 0) * 1000)

    def _check_who_drives_rts(self) -> None:
        drivers = {
            "flowControl: rtscts": self.is_rtscts,
            "rs485": self.rs485 is not None,
            "modemLines: esp-autoreset": self.lines is ModemLines.ESP_AUTORESET,
        }
        claims = [key for key, does in drivers.items() if does]
        if len(claims) > 1:
            raise ValueError(f"{' and '.join(claims)} cannot be together: each drives RTS")


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialOptions(PortSettings):
    """One of path and match."""

    path: str | None = None
    """A tty; a symbolic link is followed anew at each attempt."""
    match: MatchOptions | None = None
    """Wherever it is plugged in."""

    def __post_init__(self) -> None:
        if (self.path is None) == (self.match is None):
            raise ValueError("needs exactly one of: path, match")
        if self.path is not None:
            self._check_path(self.path)
        PortSettings.__post_init__(self)  # super() does not know a class with slots

    def _check_path(self, path: str) -> None:
        if not path or "\0" in path:
            raise BadOption("path", f"must not be empty or hold a zero byte, not {path!r}")
        if "://" in path:
            raise BadOption("path", "must be a tty of this machine; that of another one is `link: {rfc2217: {host: ..., port: ...}}`")

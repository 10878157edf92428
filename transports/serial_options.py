"""What may stand below `link: {serial: ...}`, and its bounds. Known without pyserial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from transports.driver import BadOption

DEFAULT_BAUD: Final = 115200
MIN_BAUD: Final = 50
MAX_BAUD: Final = 12_000_000
"""What the fastest USB adapters run at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialOptions:
    path: str
    """A tty; a symbolic link is followed anew at each attempt."""
    baud: int = DEFAULT_BAUD

    def __post_init__(self) -> None:
        if not self.path or "\0" in self.path:
            raise BadOption("path", f"must not be empty or hold a zero byte, not {self.path!r}")
        if not MIN_BAUD <= self.baud <= MAX_BAUD:
            raise BadOption("baud", f"must be {MIN_BAUD} to {MAX_BAUD}, not {self.baud}")

"""Baud rates: which there are, and how far off one may be."""

from __future__ import annotations

import logging
from typing import Final

from transports.driver import BadOption
from transports.errors import LinkError

_logger = logging.getLogger(__name__)

DEFAULT_BAUD: Final = 115200
MIN_BAUD: Final = 50
MAX_BAUD: Final = 12_000_000
"""What the fastest USB adapters run at."""
BITS_PER_BYTE: Final = 10
"""8N1: a start bit, eight data bits, a stop bit."""
TOLERANCE: Final = 0.03
"""Two UARTs that differ by more do not understand each other."""
DOUBTFUL: Final = 0.02
"""More than one side's share of it: a device that is off by as much the other way is not understood."""


def check_option(baud: int) -> None:
    """Raises BadOption."""
    if not MIN_BAUD <= baud <= MAX_BAUD:
        raise BadOption("baud", f"must be {MIN_BAUD} to {MAX_BAUD}, not {baud}")


def check_achieved(name: str, baud: int, achieved: int) -> None:
    """Raises LinkError when the line runs at a rate at which nobody understands it: some drivers fall back to 9600 without a word."""
    error = abs(achieved - baud) / baud
    if error > TOLERANCE:
        raise LinkError(f"{name}: the port runs at {achieved} baud, not at {baud}")
    if error > DOUBTFUL:
        _logger.warning("baud rate is off by %.1f %%", error * 100, extra={"link": name, "asked": baud, "runs": achieved})

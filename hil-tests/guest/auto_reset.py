"""The circuit of two transistors that lets a computer reset a board, as ESP32 boards have it. Pure.

RTS alone holds the reset pin EN low, DTR alone holds the boot pin IO0 low, both or neither do nothing. A capacitor keeps EN low a little
longer; when EN has risen the chip looks at IO0: low, and it starts its ROM loader instead of the program.
"""

from __future__ import annotations

import enum
from typing import Final

from guest.ft232 import Lines

CAPACITOR_S: Final = 0.01
"""Without it the usual sequence, which lets go of EN and then pulls IO0, would start the program."""


class Boot(enum.Enum):
    PROGRAM = enum.auto()
    LOADER = enum.auto()


class AutoReset:
    """Feed it every change of the lines, and ask it again at next_deadline()."""

    def __init__(self) -> None:
        self._holds_reset = False
        self._is_boot_pin_low = False
        self._starts_at: float | None = None

    def set_lines(self, lines: Lines, now: float) -> None:
        was_held, self._holds_reset = self._holds_reset, lines.rts and not lines.dtr
        self._is_boot_pin_low = lines.dtr and not lines.rts
        if self._holds_reset:
            self._starts_at = None
        elif was_held:
            self._starts_at = now + CAPACITOR_S

    @property
    def is_in_reset(self) -> bool:
        """The chip does nothing."""
        return self._holds_reset or self._starts_at is not None

    def next_deadline(self) -> float | None:
        return self._starts_at

    def poll(self, now: float) -> Boot | None:
        """How the chip starts now, if it does."""
        if self._starts_at is None or now < self._starts_at:
            return None
        self._starts_at = None
        return Boot.LOADER if self._is_boot_pin_low else Boot.PROGRAM

"""DTR and RTS: what a board's class wants of them, and how a reset by them is done. Never one line before the other. Pure.

The kernel raises both at every open, before any program can speak: that cannot be avoided, only told (`effect_of_opening`). What is
avoided is everything after it: lines that are set one by one, which resets a board with the ESP circuit, and lines that fall when the port
is closed, so that the next open is an edge again (HUPCL, tty_line.py).

The ESP circuit joins both lines to EN and IO0: RTS alone holds the chip in reset, DTR alone asks for the boot loader, equal lines do
nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class ModemLines(enum.Enum):
    """What to do with DTR and RTS of an open port."""

    LEAVE = "leave"
    """Nothing: they are up, because the kernel raised them."""
    ASSERT = "assert"
    """Raise both, for firmware that is silent until a host shows itself by DTR."""
    ESP_AUTORESET = "esp-autoreset"
    """The same, and RTS alone is a reset."""


NONE: Final = 0
DTR: Final = 0x002
RTS: Final = 0x004
"""As TIOCMSET numbers them."""
BOTH: Final = DTR | RTS

RESET_S: Final = 0.1
"""The capacitor at EN needs some ms; esptool gives it as long."""


@dataclass(frozen=True, slots=True)
class Step:
    """Set the lines at once, and leave them so."""

    lines: int
    hold_s: float = 0.0


def lines_after_open(policy: ModemLines) -> int | None:
    """What to set once the port is open; None: nothing."""
    return None if policy is ModemLines.LEAVE else BOTH


def steps_of_reset(policy: ModemLines) -> tuple[Step, ...]:
    """A reset into the program, not the boot loader; nothing where the lines are no reset. Each step moves one line only, so it is the
    same over RFC 2217, which has no request for both.
    """
    return (Step(RTS, RESET_S), Step(BOTH)) if policy is ModemLines.ESP_AUTORESET else ()


def with_lines(now: int, lines: int) -> int:
    """The bits to set. Others stay: without OUT2 a PC's UART has no interrupts."""
    return now & ~BOTH | lines


def effect_of_opening(policy: ModemLines) -> str:
    """What opening the port does to the board, for people."""
    opened = (
        "the kernel raises DTR and RTS together when the port is opened; a board that resets at DTR (Arduino) restarts the first time"
        " after it was plugged in or another program let the lines fall"
    )
    match policy:
        case ModemLines.LEAVE:
            return f"{opened}; nothing else is done to them"
        case ModemLines.ASSERT:
            return f"{opened}; both are kept up"
        case ModemLines.ESP_AUTORESET:
            return f"{opened}; a board with the ESP circuit does not notice, because both lines are equal"

"""Under-voltage of a Raspberry Pi, as its firmware notices it: the most frequent hidden reason why USB devices reset. Needs no rights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from gateway.doctor.finding import Finding

THROTTLED: Final = "devices/platform/soc*/*:firmware/get_throttled"
"""In the maker's kernel, by `soc` or, on newer models, by the bus address too. Hexadecimal."""
HWMON: Final = "rpi_volt"
"""In every kernel since 4.20."""
LOW_NOW, LOW_SINCE_BOOT = 1 << 0, 1 << 16
_FIX: Final = "use the maker's power supply with a short cable, and a powered hub for the boards"


def of_supply(sys: Path) -> Iterator[Finding]:
    """sys is where sysfs is mounted."""
    bits = _throttled(sys)
    if bits & LOW_NOW or _alarm(sys):
        yield Finding("power", "the supply voltage of this machine is too low, which resets USB devices", _FIX, reason="UnderVoltage")
    elif bits & LOW_SINCE_BOOT:
        problem = "the supply voltage of this machine has been too low since it was started"
        yield Finding("power", problem, f"{_FIX}; a restart forgets it", reason="UnderVoltage")


def _throttled(sys: Path) -> int:
    for file in sys.glob(THROTTLED):
        with suppress(OSError, ValueError):
            return int(file.read_text(), 16)
    return 0


def _alarm(sys: Path) -> bool:
    for folder in sys.glob("class/hwmon/hwmon*"):
        with suppress(OSError):
            if (folder / "name").read_text().strip() == HWMON:
                return (folder / "in0_lcrit_alarm").read_text().strip() == "1"
    return False

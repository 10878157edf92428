"""How long an FTDI chip holds a few bytes back in the hope of more: 16 ms by its own choice, 1 to 255 ms by ours.

At 1 ms a request and its answer take 2 ms instead of 32; an idle port then costs a thousand USB packets a second, so it is a choice for
each port. Other chips have no such timer.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

MIN_LATENCY_MS: Final = 1
MAX_LATENCY_MS: Final = 255


def set_latency_timer(fd: int, latency_ms: int, *, sysfs: Path = Path("/sys")) -> str | None:
    """None when it is set; else why not and what would help, for people. May block."""
    timer = timer_of(os.fstat(fd).st_rdev, sysfs)
    try:
        if int(timer.read_text()) == latency_ms:
            return None
        timer.write_text(str(latency_ms))
    except FileNotFoundError:
        return "it has no latency timer, which only FTDI chips have"
    except PermissionError:
        return f"no permission to write {timer}; the rules of `wirelet udev install` set it when the adapter is plugged in"
    except OSError as error:
        return f"{timer}: {error.strerror}"
    return None


def timer_of(device_number: int, sysfs: Path) -> Path:
    return sysfs / "dev" / "char" / f"{os.major(device_number)}:{os.minor(device_number)}" / "device" / "latency_timer"

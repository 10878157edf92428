"""What an error number of a USB request means for the link. Pure.

Linux has more than one word for the same: at an unplug a transfer ends with EIO or ENODEV, whichever layer notices first.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


class Meaning(enum.Enum):
    GONE = "unplugged"
    STALLED = "stalled"
    """The device refuses the endpoint until its halt is cleared."""
    NOTHING_YET = "timed out"
    FORBIDDEN = "no permission"
    BUSY = "held by another process or kernel driver"
    UNKNOWN = "failed"


_MEANINGS: Final[Mapping[int, Meaning]] = MappingProxyType(
    {
        errno.EIO: Meaning.GONE,
        errno.ENODEV: Meaning.GONE,
        errno.ENXIO: Meaning.GONE,
        errno.ESHUTDOWN: Meaning.GONE,
        errno.ENOENT: Meaning.GONE,
        errno.EPIPE: Meaning.STALLED,
        errno.ETIMEDOUT: Meaning.NOTHING_YET,
        errno.EACCES: Meaning.FORBIDDEN,
        errno.EPERM: Meaning.FORBIDDEN,
        errno.EBUSY: Meaning.BUSY,
    }
)


def meaning_of(number: int | None) -> Meaning:
    return _MEANINGS.get(number or 0, Meaning.UNKNOWN)

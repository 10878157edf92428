"""Numbers that wrap: 32-bit offsets, uptimes and session ids (SPEC.md, streams and session).

Inside the program a stream offset is a full count that never wraps; on the wire it is its low half, read as the full count nearest to
one that is known.
"""

from __future__ import annotations

from typing import Final

MASK: Final = 0xFFFFFFFF
HALF: Final = 0x80000000
"""A distance of this or more cannot be told from one in the other direction."""
MAX_OFFSET_BITS: Final = 62
MAX_OFFSET: Final = 1 << MAX_OFFSET_BITS
"""No line fills so much in a thousand years: a device that tells more is broken, and what stores it has 63 bits."""
MAX_SID: Final = 255


def distance(wrapped: int, reference: int) -> int:
    """The signed 32-bit difference wrapped - reference: negative is back, or before."""
    return ((wrapped - reference + HALF) & MASK) - HALF


def unwrap(wrapped: int, near: int) -> int:
    """The full count nearest to `near` whose low half is wrapped."""
    return near + ((wrapped - near + HALF) & MASK) - HALF


def next_sid(sid: int) -> int:
    """The session id after sid; 0 never names a session."""
    return sid % MAX_SID + 1

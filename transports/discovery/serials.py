"""Which USB serial numbers are none. Pure.

Many chips say the same number in every unit, because nobody programmed one. Two such boards must never be taken for each other, so what
stands here counts as no serial number at all.
"""

from __future__ import annotations

from typing import Final

FAKE_SERIALS: Final = frozenset(
    {
        "0",
        "0000",
        "00000000",
        "0001",
        "00000001",
        "0123456789",
        "0123456789abcdef",
        "0x0001",
        "1",
        "1234",
        "12345",
        "123456",
        "1234567",
        "12345678",
        "123456789",
        "default",
        "none",
        "null",
        "serial",
        "ffffffff",
    }
)
"""In lower case. CP210x ships with 0001, PL2303 and CH34x clones with 0 or 12345678, boards with the examples of their USB stack."""


def is_fake_serial(serial: str | None) -> bool:
    """True when it tells no two units apart: absent, on the list, or one digit repeated."""
    if serial is None:
        return True
    plain = serial.strip().lower()
    return not plain or plain in FAKE_SERIALS or len(set(plain)) == 1

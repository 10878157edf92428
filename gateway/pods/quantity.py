"""Kubernetes quantities (100m, 1.5Gi, 2e3) as exact fractions. Pure."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

TEXTS_KEPT: Final = 256
"""A node's pods ask for the same few quantities again and again, at each look."""

_SUFFIXES: Final = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{suffix: Fraction(1000**power) for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Fraction(1024**power) for power, suffix in enumerate("KMGTPE", start=1)},
}
# The digits are bounded so that a hostile manifest cannot make a huge number; apimachinery's own limit is near 19 digits.
_QUANTITY: Final = re.compile(r"([+-]?[0-9]{0,30}(?:\.[0-9]{0,30})?)(?:[eE]([+-]?[0-9]{1,2})|([numkKMGTPE]i?|))")


def parse_quantity(value: Any) -> Fraction:
    """Raises ValueError with the quantity as written."""
    return _parse_text(value) if isinstance(value, str) else _parse(value)


def _parse(value: Any) -> Fraction:
    match = _QUANTITY.fullmatch(str(value))
    if match is None or not any(character.isdigit() for character in match[1]) or (match[3] or "") not in _SUFFIXES:
        raise ValueError(f"{value!r} is no quantity such as 100m, 2 or 64Mi")
    scale = Fraction(10) ** int(match[2]) if match[2] else _SUFFIXES[match[3] or ""]
    return Fraction(match[1]) * scale


_parse_text: Final = lru_cache(maxsize=TEXTS_KEPT)(_parse)

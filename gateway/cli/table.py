"""Rows as an aligned table, ages as kubectl writes them. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

_GAP = "   "
Paint = Callable[[str, str], str]
"""(title of its column, cell) -> the cell with what colours it around it."""


def plain(column: str, cell: str) -> str:
    """No colours."""
    return cell


def aligned(header: Sequence[str], rows: Sequence[Sequence[str]], paint: Paint = plain) -> str:
    """Lines with every column as wide as its widest cell; nothing trails."""
    shown = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *shown, strict=True)]
    lines = [_line(header, widths, plain, header), *(_line(row, widths, paint, header) for row in shown)]
    return "".join(f"{line}\n" for line in lines)


def _line(row: Sequence[str], widths: Sequence[int], paint: Paint, header: Sequence[str]) -> str:
    cells = zip(header, row, widths, strict=True)
    return _GAP.join(f"{paint(title, cell)}{' ' * (width - len(cell))}" for title, cell, width in cells).rstrip()


def age(seconds: float | None) -> str:
    """apimachinery's HumanDuration: 5s, 3m20s, 2h, 5d, 2y40d; `<unknown>` for None."""
    if seconds is None:
        return "<unknown>"
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    return _two(days // 365, "y", days % 365, "d") if days < 365 * 8 else f"{days // 365}y"


def age_since(stamp: str | None, now: float) -> str:
    """The age of an RFC 3339 time."""
    if not stamp:
        return age(None)
    try:
        then = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    except ValueError:
        return age(None)
    return age(now - (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp())


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def one_line(text: str) -> str:
    """Devices write what they like; a terminal must not obey it."""
    return "".join(" " if unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") else letter for letter in text)

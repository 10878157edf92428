"""The book-keeping of a log that counts: 1, 2, 3 and so on, every number once, and every missing one inside a named gap.

It judges what `kubectl logs` shows, or what is read straight from a ring; both must pass, and be equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from gateway.logs.clock import SystemClock
from gateway.logs.reader import LogOptions, read
from gateway.logs.store import LogKey, LogStore

GAP: Final = re.compile(r"--- wirelet gap: (?:(unknown size)|(?:(\d+) records)?(?:, )?(?:(\d+) bytes)?), (.+), [\d:.]+\.\.[\d:.]+ ---")


@dataclass(frozen=True, slots=True)
class Account:
    """delivered + missing = the last number, or what was produced; missing numbers lie all in gaps, whose lines are kept."""

    delivered: int
    missing: int
    gaps: tuple[str, ...]
    last: int
    ends_in_gap: bool
    """The last line is a gap."""


def account(lines: Iterable[str], produced: int | None = None) -> Account:
    """Raises AssertionError at the first number that comes twice, out of order, or is missing without a gap of its size.

    A gap that counts its records must be as long as it says; one that does not may be of any length. produced: how far it must have got;
    None: nobody knows.
    """
    last = delivered = missing = 0
    gaps: list[str] = []
    open_gaps: list[str] = []
    for line in lines:
        if line.startswith("--- wirelet gap:"):
            open_gaps.append(line)
            continue
        number = int(line)
        assert number > last, f"{number} after {last}"
        _check(last, number, open_gaps)
        missing += number - last - 1
        gaps += open_gaps
        last, delivered = number, delivered + 1
        open_gaps = []
    if produced is not None:
        _check(last, produced + 1, open_gaps)
        missing += produced - last
    return Account(delivered, missing, (*gaps, *open_gaps), last, bool(open_gaps))


def without_times(line: str) -> str:
    """A gap line without its two times, whose last digit is another one in another process: wall time and boot clock are read apart."""
    found = GAP.fullmatch(line)
    return line if found is None else line[: found.end(4)]


def _check(before: int, after: int, gaps: Sequence[str]) -> None:
    lost = after - before - 1
    if not gaps:
        assert lost == 0, f"{lost} numbers between {before} and {after} are missing without a word"
        return
    known, is_exact = 0, True
    for gap in gaps:
        found = GAP.fullmatch(gap)
        assert found, f"no gap line: {gap}"
        known += int(found[2] or 0)
        is_exact = is_exact and found[2] is not None
    assert lost == known if is_exact else lost >= known, f"{lost} numbers between {before} and {after} are missing, but told was {gaps}"


def read_rings(folder: Path) -> dict[LogKey, list[str]]:
    """The lines of every ring in folder, read without the gateway, which must not run."""

    async def read_all() -> dict[LogKey, list[str]]:
        store = LogStore(folder, budget_bytes=1 << 40)
        store.reopen_all()
        clock = SystemClock()
        found: dict[LogKey, list[str]] = {}
        for info in store.rings():
            pieces = [piece async for piece in read(store, info.key, LogOptions(), clock=clock)]
            found[info.key] = b"".join(pieces).decode(errors="replace").splitlines()
        store.close()
        return found

    return anyio.run(read_all)

"""Rests of busy ports, ended together: ports that rest equally long are woken by one timer, in few turns of the loop instead of many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

TURNS_PER_REST: Final = 4
"""Into so many groups ports fall by the moment at which they became busy. One group would hold up the loop, many wake it often."""


def rests_of_this_loop() -> Rests:
    """The ones that all ports share."""
    return _of_loops.setdefault(asyncio.get_running_loop(), Rests())


class Rests:
    """Of all ports of one event loop."""

    def __init__(self) -> None:
        self._ends: dict[float, list[Callable[[float], None]]] = {}

    def begin(self, pause_s: float, end: Callable[[float], None]) -> float:
        """Call end after pause_s, or up to a quarter of it earlier, with the time that is returned here. Nothing takes that back."""
        loop = asyncio.get_running_loop()
        turn_s = pause_s / TURNS_PER_REST
        at = (loop.time() + pause_s) // turn_s * turn_s
        ends = self._ends.get(at)
        if ends is None:
            ends = self._ends[at] = []
            loop.call_at(at, self._end, at)
        ends.append(end)
        return at

    def _end(self, at: float) -> None:
        for end in self._ends.pop(at):
            end(at)


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Rests] = WeakKeyDictionary()

"""What a kill at any byte leaves of a ring's memory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from gateway.logs import ring as ring_module


def snapshots(memory: bytearray, work: Callable[[], object]) -> list[bytes]:
    """The memory before every line of the ring's code that work runs, and after the last."""
    seen: list[bytes] = [bytes(memory)]

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_filename != ring_module.__file__:
            return None
        if seen[-1] != memory:
            seen.append(bytes(memory))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    if seen[-1] != memory:
        seen.append(bytes(memory))
    return seen


def prefixes(old: bytes, new: bytes) -> list[bytes]:
    """Every state on the way of one write, byte by byte; a single aligned word is written at once."""
    changed = [at for at in range(len(old)) if old[at] != new[at]]
    first, last = changed[0], changed[-1] + 1
    if first // 8 == (last - 1) // 8:
        return [new]
    return [new[:at] + old[at:] for at in range(first + 1, last + 1)]

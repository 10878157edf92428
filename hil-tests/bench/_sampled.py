"""`wirelet`, sampled: for every 5 ms of CPU time it notes which function runs. `_sampled.py FILE ARGUMENTS` writes the counts to FILE."""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

from gateway.cli import main as wirelet

PERIOD_S: Final = 0.005


def main() -> int:
    """A call into C, or into the kernel, counts for the function that made it."""
    root = Path(__file__).resolve().parents[2]
    counts: Counter[str] = Counter()

    def note(number: int, frame: FrameType | None) -> None:
        if frame is not None:
            counts[f"{Path(frame.f_code.co_filename)}:{frame.f_code.co_qualname}"] += 1

    signal.signal(signal.SIGPROF, note)
    signal.siginterrupt(signal.SIGPROF, False)
    # Starting is not what is asked about: the bench says when to begin.
    signal.signal(signal.SIGUSR1, lambda number, frame: signal.setitimer(signal.ITIMER_PROF, PERIOD_S, PERIOD_S))
    try:
        return wirelet(sys.argv[2:])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        told = {name.removeprefix(f"{root}/"): count for name, count in counts.items()}
        Path(sys.argv[1]).write_text(json.dumps(told))


if __name__ == "__main__":
    raise SystemExit(main())

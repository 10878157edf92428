"""What a bench prints: figures beside their limits, and an exit code that says whether one was missed."""

from __future__ import annotations

import math
import os
import statistics
import time
import timeit
from collections.abc import Sequence
from typing import Final

from transports.wire.framing import DATA, Deframer, encode_frame

WIDTH = 62
PACE_S: Final = 0.66e-6


class Figures:
    """Prints each figure as it is known."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def show(self, what: str, value: float, unit: str, limit: float | None = None) -> None:
        """A figure at most at its limit is good; without a limit it is only told."""
        verdict = ""
        if limit is not None:
            verdict = f"  at most {limit:g} {unit}"
            if value > limit:
                verdict = f"  MISSED:{verdict[1:]}"
                self.missed.append(what)
        print(f"{what:<{WIDTH}} {value:8.1f} {unit}{verdict}", flush=True)

    def show_least(self, what: str, value: float, unit: str, least: float | None) -> None:
        """A figure at least at its limit is good."""
        verdict = "" if least is None else f"  at least {least:g} {unit}"
        if least is not None and value < least:
            verdict = f"  MISSED:{verdict[1:]}"
            self.missed.append(what)
        print(f"{what:<{WIDTH}} {value:8.1f} {unit}{verdict}", flush=True)

    @property
    def exit_code(self) -> int:
        return 1 if self.missed else 0


def show_pace(figures: Figures) -> float:
    """How quick this machine is in these minutes: limits were set on one that decoded such a frame in 0.66 us of CPU time.

    What others do on it shows in the mean, which is returned: they share its caches.
    """
    frames = encode_frame(DATA, 0, 7, 2, 1234567, os.urandom(243)) * 200
    runs = timeit.repeat(lambda: Deframer(4096).feed(frames, 0.0), timer=time.process_time, number=10, repeat=100)
    least_s, mean_s = min(runs) / 2000, statistics.mean(runs) / 2000
    times = f"us, {least_s / PACE_S:.1f} times what limits assume; {mean_s / PACE_S:.1f} in the mean"
    figures.show("this machine now: decode a frame of 243 bytes", least_s * 1e6, times)
    return mean_s / PACE_S


def quantile(values: Sequence[float], share: float) -> float:
    """By nearest rank: the 99th of 100 values for 0.99, so never better than what was seen."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def median_of_runs(runs: Sequence[Sequence[float]], share: float) -> float:
    """The median over the runs of each run's quantile."""
    return statistics.median(quantile(run, share) for run in runs)

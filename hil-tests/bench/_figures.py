"""What a bench prints: figures beside their limits, and an exit code that says whether one was missed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

WIDTH = 62


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

    @property
    def exit_code(self) -> int:
        return 1 if self.missed else 0


def quantile(values: Sequence[float], share: float) -> float:
    """By nearest rank: the 99th of 100 values for 0.99, so never better than what was seen."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def median_of_runs(runs: Sequence[Sequence[float]], share: float) -> float:
    """The median over the runs of each run's quantile."""
    return statistics.median(quantile(run, share) for run in runs)

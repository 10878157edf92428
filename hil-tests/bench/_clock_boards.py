"""`wirelet simulate` with one more program: `clock --rate R` writes the machine's monotonic clock, so that a reader on the same machine
knows how old a line is. CLOCK_MONOTONIC is one clock for all processes of a Linux machine.
"""

from __future__ import annotations

import argparse
import time
from typing import ClassVar

from gateway.cli import simulate
from transports.simulated.outcomes import Outcome, Wait, Write
from transports.simulated.programs import PROGRAMS, Invocation, Program


class Clock:
    """A line every interval with the time at which it was written, in nanoseconds."""

    drops: ClassVar[bool] = True

    def __init__(self, rate_hz: float) -> None:
        self._interval_s = 1 / rate_hz
        self._next: float | None = None

    def poll(self, now: float, write: Write) -> Outcome:
        if self._next is None or now >= self._next:
            write(b"%d" % time.monotonic_ns())
            self._next = now + self._interval_s
        return Wait(self._next)

    def stop(self, now: float) -> bool:
        return True


def clock(call: Invocation) -> Program:
    (_, rate_hz) = call.args
    return Clock(float(rate_hz))


def main() -> int:
    PROGRAMS["clock"] = clock
    parser = argparse.ArgumentParser()
    simulate.add_arguments(parser)
    return simulate.run(parser.parse_args())


if __name__ == "__main__":
    raise SystemExit(main())

"""How much of a line of 921600 baud a device's log gets, by the size of its ring and the line's bit error rate.

A board behind a bad line writes without end, the gateway stores; the figure is stored bytes of the LOG stream over what the line carries
in that time. Frames of 243 bytes cost 5 % of it. A small ring runs full before its end is acknowledged; after an error all that is under
way is sent again: what the gateway has not read yet, and the 5 ms that the board's UART is given ahead.
"""

from __future__ import annotations

import sys
import time
from typing import Final

from bench._busy_table import BYTES_PER_S, busy_table
from bench._figures import Figures, show_pace
from processes import NotReady

RINGS_BYTES: Final = (1024, 2048, 4096, 8192)
BIT_ERROR_RATES: Final = (0.0, 1e-6, 1e-5)
MEASURE_S: Final = 10.0
"""Seven errors at the lower rate."""
SETTLE_S: Final = 0.5
SLICE_MS: Final = 1.0
"""As an adapter of USB hands bytes on."""
LEAST_PERCENT: Final = 90.0
LEAST_RING_BYTES: Final = 2048
LEAST_AT_RATE: Final = 1e-6


def measure(ring_bytes: int, figures: Figures) -> None:
    with busy_table(ring_bytes=ring_bytes, slice_ms=SLICE_MS) as table:
        table.start_gateway()
        for rate in BIT_ERROR_RATES:
            table.boards.tell(repr(rate))
            time.sleep(SETTLE_S)
            before, begun = table.stored_bytes(), time.monotonic()
            time.sleep(MEASURE_S)
            share = (table.stored_bytes() - before) / (time.monotonic() - begun) / BYTES_PER_S * 100
            is_bound = ring_bytes >= LEAST_RING_BYTES and rate <= LEAST_AT_RATE
            figures.show_least(f"ring {ring_bytes // 1024} KiB, bit error rate {rate:g}", share, "%", LEAST_PERCENT if is_bound else None)


def main() -> int:
    figures = Figures()
    show_pace(figures)
    for ring_bytes in RINGS_BYTES:
        try:
            measure(ring_bytes, figures)
        except NotReady as error:
            print(f"goodput: {error}", file=sys.stderr)
            return 1
    return figures.exit_code


if __name__ == "__main__":
    raise SystemExit(main())

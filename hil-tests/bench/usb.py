"""USB bulk in the guest: what Wirelet's link carries from and to an emulated device, beside pyusb alone on the same one in the same run.

The guest is emulated, so only the ratio says something. The device never waits; transfers are of 16 KiB on both sides.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import needs
from anyio.from_thread import start_blocking_portal
from bench._figures import Figures
from guest.emulated import Emulated
from guest.inside import await_usb
from guest.machine import Guest
from guest.tireless import Tireless
from guest.usb_loop import Lap, race
from processes import Reaper

TOTAL_BYTES: Final = 4 << 20
ROUNDS: Final = 5
LEAST_PERCENT: Final = 90.0
PRELOAD: Final = ("guest.inside", "guest.usb_loop")


def measure(folder: Path) -> list[dict[str, Lap]]:
    reaper = Reaper()
    guest = Guest(folder, reaper, PRELOAD)
    try:
        with start_blocking_portal() as portal:
            source, sink = (Emulated(guest, portal, Tireless(serial, has_output=talks)) for serial, talks in (("source", True), ("sink", False)))
            for serial, device in (("source", source), ("sink", sink)):
                device.plug()
                guest.call(await_usb, serial)
            return guest.call(race, "source", "sink", TOTAL_BYTES, ROUNDS)
    finally:
        guest.close()
        reaper.close()


def main() -> int:
    if why := needs.PROBES["guest"]():
        print(f"not measured: {why}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="wirelet-bench-") as folder:
        rounds = measure(Path(folder))

    def median(of: Callable[[Lap], float], name: str) -> float:
        return statistics.median(of(lap[name]) for lap in rounds)

    figures = Figures()
    mib = TOTAL_BYTES / (1 << 20)
    for way, words in (("in", "from the device"), ("out", "to the device")):
        for who in ("bare", "link"):
            rate = mib / median(lambda lap: lap.took_s, f"{who} {way}")
            cpu_ms = median(lambda lap: lap.cpu_s, f"{who} {way}") / mib * 1000
            figures.show(f"{words}, {'pyusb alone' if who == 'bare' else 'the link'}", rate * 1024, f"KiB/s, {cpu_ms:.0f} ms of CPU per MiB")
        # Neighbours on the machine come and go: the two of one round had the same ones.
        share = statistics.median(lap[f"bare {way}"].took_s / lap[f"link {way}"].took_s for lap in rounds)
        figures.show_least(f"{words}, the link against pyusb alone", 100 * share, "%", LEAST_PERCENT)
    return figures.exit_code


if __name__ == "__main__":
    raise SystemExit(main())

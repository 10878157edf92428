"""USB bulk in the guest: what Wirelet's link carries from and to an emulated device, beside pyusb alone on the same one in the same run.

The guest is emulated, so only the ratio says something. The device never waits; transfers are of 16 KiB on both sides.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import needs
from anyio.from_thread import start_blocking_portal
from bench._figures import Figures
from guest.bare_laps import Lap, bare_lap
from guest.emulated import Emulated
from guest.inside import await_usb
from guest.machine import Guest
from guest.tireless import Tireless
from guest.usb_loop import link_lap
from processes import Reaper

TOTAL_BYTES: Final = 4 << 20
ROUNDS: Final = 5
LEAST_PERCENT: Final = 90.0
SERIALS: Final = {"source": True, "sink": False}
"""Serial number -> the device talks; it takes everything."""
PRELOAD: Final = ("guest.inside", "guest.bare_laps", "anyio", "transports.discovery.monitor")
"""Not libusb itself: Wirelet's way to load it would be that of both."""


@dataclass(frozen=True, slots=True)
class Round:
    """One after the other, so that both had the same neighbours on the machine."""

    bare: Lap
    link: Lap


def measure(folder: Path) -> dict[str, list[Round]]:
    reaper = Reaper()
    guest = Guest(folder, reaper, PRELOAD)
    try:
        with start_blocking_portal() as portal:
            for serial, talks in SERIALS.items():
                Emulated(guest, portal, Tireless(serial, has_output=talks)).plug()
                guest.call(await_usb, serial)
            return {
                serial: [
                    Round(guest.call(bare_lap, serial, TOTAL_BYTES, talks), guest.call(link_lap, serial, TOTAL_BYTES, talks))
                    for _ in range(ROUNDS)
                ]
                for serial, talks in SERIALS.items()
            }
    finally:
        guest.close()
        reaper.close()


def main() -> int:
    if why := needs.PROBES["guest"]():
        print(f"not measured: {why}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="wirelet-bench-") as folder:
        rounds = measure(Path(folder))

    figures = Figures()
    mib = TOTAL_BYTES / (1 << 20)
    for serial, talks in SERIALS.items():
        way = "from the device" if talks else "to the device"
        for who, laps in (("pyusb alone", [each.bare for each in rounds[serial]]), ("the link", [each.link for each in rounds[serial]])):
            rate = mib * 1024 / statistics.median(lap.took_s for lap in laps)
            cpu_ms = statistics.median(lap.cpu_s for lap in laps) / mib * 1000
            figures.show(f"{way}, {who}", rate, f"KiB/s, {cpu_ms:.0f} ms of CPU per MiB")
        share = statistics.median(each.bare.took_s / each.link.took_s for each in rounds[serial])
        figures.show_least(f"{way}, the link against pyusb alone", 100 * share, "%", LEAST_PERCENT)
    return figures.exit_code


if __name__ == "__main__":
    raise SystemExit(main())

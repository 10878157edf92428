"""USB bulk in the guest: what Wirelet's link carries from and to an emulated device, beside pyusb alone on the same one in the same run.

The guest is emulated and its neighbours come and go, so only the ratio says something, and that of the best of several laps in turns. The
device never waits. pyusb alone moves 16 KiB at once, as loops mostly do, then 64 KiB, and then 256 KiB as the link does: what is missing
there is the way from a thread to the event loop, which an emulated processor takes longer for than for the transfer.
"""

from __future__ import annotations

import sys
import tempfile
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

from transports.usb_bursts import TRANSFER_BYTES

TOTAL_BYTES: Final = 4 << 20
ROUNDS: Final = 12
LEAST_PERCENT: Final = 90.0
SIZES: Final = (16384, 65536, TRANSFER_BYTES)
ALONE: Final = tuple(f"pyusb alone, {size // 1024} KiB" for size in SIZES)
SERIALS: Final = {"source": True, "sink": False}
"""Serial number -> the device talks; it takes everything."""
PRELOAD: Final = ("guest.inside", "guest.bare_laps", "anyio", "transports.discovery.monitor")
"""Not libusb itself: Wirelet's way to load it would be that of both."""


def measure(folder: Path) -> dict[str, list[tuple[Lap, ...]]]:
    """Of both devices, laps of pyusb alone with each size and of the link, in turns."""
    reaper = Reaper()
    guest = Guest(folder, reaper, PRELOAD)
    try:
        with start_blocking_portal() as portal:
            for serial, talks in SERIALS.items():
                Emulated(guest, portal, Tireless(serial, has_output=talks)).plug()
                guest.call(await_usb, serial)
            bare, link = guest.start_calls(), guest.start_calls()

            def turn(serial: str, talks: bool) -> tuple[Lap, ...]:
                alone = [bare.call(bare_lap, serial, TOTAL_BYTES, talks, size) for size in SIZES]
                return (*alone, link.call(link_lap, serial, TOTAL_BYTES, talks))

            return {serial: [turn(serial, talks) for _ in range(ROUNDS)] for serial, talks in SERIALS.items()}
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
        *alone, link = (min(laps, key=lambda lap: lap.took_s) for laps in zip(*rounds[serial], strict=True))
        for who, lap in (*zip(ALONE, alone, strict=True), ("the link", link)):
            figures.show(f"{way}, {who}", mib * 1024 / lap.took_s, f"KiB/s, {lap.cpu_s / mib * 1000:.0f} ms of CPU per MiB")
        for who, lap, least in zip(ALONE, alone, [LEAST_PERCENT] * len(SIZES), strict=True):
            figures.show_least(f"{way}, the link against {who}", 100 * lap.took_s / link.took_s, "%", least)
    return figures.exit_code


if __name__ == "__main__":
    raise SystemExit(main())

"""Replugs of one board below mock devices, for hotplug.py: a line of three times in ms for each, unplug to LinkLost, plug to link, plug to
session. Runs in umockdev.environment().

    _hotplug_replugs.py FOLDER COUNT
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio
from adapters import FT232R
from hotplug_stories import until
from umockdev import PRELOAD, Testbed
from usb_tree import host, text

from transports.cable import STEADY_S
from transports.device import Device
from transports.discovery.match import MatchRule
from transports.discovery.monitor import PortMonitor
from transports.discovery.places import MatchedPlace
from transports.errors import LinkNotFound
from transports.protocol import Event, Listed, Output
from transports.protocols.framed import FramedProtocol
from transports.serial import SerialLinkOpener

DEADLINE_S = 20.0
NODE = "ttyUSB1"


@dataclass
class Times:
    """A DeviceSink that notes when the link opened, was lost, and the device had told its runs."""

    opened: float = 0.0
    lost: float = 0.0
    absent: float = 0.0
    listed: float = 0.0
    changed: anyio.Event = field(default_factory=anyio.Event)

    def store(self, device: str, output: Output) -> bool:
        return False

    async def settle(self, device: str) -> None: ...

    async def happened(self, device: str, event: Event) -> None:
        if isinstance(event, Listed):
            self.listed = self._note()

    async def link_changed(self, device: str, error: Exception | None) -> None:
        if error is None:
            self.opened = self._note()
        elif isinstance(error, LinkNotFound):
            self.absent = self._note()
        else:
            self.lost = self._note()

    async def after(self, start: float, noted: Callable[[], float]) -> float:
        """In ms, once it has happened after start."""
        with anyio.fail_after(DEADLINE_S):
            while noted() <= start:
                self.changed = anyio.Event()
                await self.changed.wait()
        return (noted() - start) * 1e3

    def _note(self) -> float:
        self.changed.set()
        return anyio.current_time()


def plug(bed: Testbed, devnum: int, port: Path) -> None:
    """The adapter's tty leads to the board's pty."""
    (bed.root / "dev").mkdir(exist_ok=True)
    (bed.root / "dev" / NODE).symlink_to(os.readlink(port))
    records = [replace(record, node="") if record.node == NODE else record for record in FT232R.moved(devnum=devnum).records()]
    bed.add_from_string(text(records))


def main(folder: Path, count: int) -> None:
    port = folder / "board"
    argv = [sys.executable, "-m", "gateway", "simulate", "--link", str(port)]
    plain = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD" and not name.startswith("UMOCKDEV")}
    board = subprocess.Popen(argv, env=plain, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert board.stdout is not None
        assert board.stdout.readline().startswith("ready")
        anyio.run(replug, port, count)
    finally:
        board.kill()
        board.wait()


async def replug(port: Path, count: int) -> None:
    monitor, times, rng = PortMonitor(), Times(), random.Random(1)
    opener = SerialLinkOpener(MatchedPlace(MatchRule(usb_serial="A5069RR4"), monitor))
    device = Device("board", opener, FramedProtocol(None, gateway_id=1, rng=rng), times, rng=rng)
    with Testbed() as bed:
        bed.add_from_string(text(host()))
        bed.let_ioctls_through(NODE)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(monitor.run)
            tasks.start_soon(device.run)
            await until(monitor, lambda ports: not ports)
            for number in range(count + 1):
                plug(bed, number + 10, port)  # keeps the loop: nothing begins before the last event is out
                plugged = anyio.current_time()
                to_link, to_session = await times.after(plugged, lambda: times.opened), await times.after(plugged, lambda: times.listed)
                await anyio.sleep(STEADY_S + 0.1)
                bed.unplug(FT232R.moved(devnum=number + 10))
                unplugged = anyio.current_time()
                to_loss = await times.after(unplugged, lambda: times.lost)
                await times.after(unplugged, lambda: times.absent)  # nobody's back-off is in the figures
                if number:  # the first one loads libudev and pyserial
                    print(f"{to_loss:.3f} {to_link:.3f} {to_session:.3f}", flush=True)
            tasks.cancel_scope.cancel()


if __name__ == "__main__":
    assert PRELOAD in os.environ.get("LD_PRELOAD", "")
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""The gateway looks after its own machine: at its start and every some minutes, in a thread, as `wirelet doctor` does.

It asks no other machine, and udev only where a device has a real port here. A look that hangs is left to its thread, and none is begun
beside it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import anyio
from anyio import to_thread

from gateway.config import Configuration
from gateway.devices.port_addresses import Address
from gateway.doctor.told import Told, told

_logger = logging.getLogger(__name__)

LOOK_DEADLINE_S: Final = 60.0
"""udev's programs take a second on a small machine; a driver that hangs is not waited for."""
_REAL_PORTS: Final = ("/dev/tty", "/dev/bus/usb/")
"""A pty is none."""


class Rounds:
    """run() is its life. found is what is wrong now; None before the first look."""

    def __init__(self, configuration: Configuration, addresses: Callable[[], Awaitable[Mapping[str, Address]]]) -> None:
        """addresses: where the ports of the devices are that are not lent."""
        self._configuration = configuration
        self._addresses = addresses
        self._one_at_a_time = anyio.CapacityLimiter(1)
        self.found: Sequence[Told] | None = None
        self.changed: Callable[[Sequence[Told]], None] = lambda new: None
        """Called after a look that found something else than the one before, with what is new."""

    async def run(self) -> None:
        while True:
            await self.look()
            await anyio.sleep(self._configuration.doctor.every)

    async def look(self) -> None:
        """Once; what cannot be looked at stays as it was."""
        try:
            with anyio.fail_after(LOOK_DEADLINE_S):
                ports = await self._addresses()
                found = await to_thread.run_sync(_examined, self._configuration, ports, abandon_on_cancel=True, limiter=self._one_at_a_time)
                free = await self._addresses()
        except (TimeoutError, OSError) as error:
            _logger.warning("this machine could not be looked at", extra={"why": str(error) or f"not within {LOOK_DEADLINE_S:g} s"})
            return
        except Exception:
            # Machines differ in more ways than anybody has seen, and a look at one is worth no session of a device.
            _logger.exception("this machine could not be looked at")
            return
        # Who was lent a port meanwhile has it open rightly.
        self._take([one for one in found if one.subject in free or one.subject not in ports])

    def _take(self, found: Sequence[Told]) -> None:
        if found == self.found:
            return
        known = {one.key for one in self.found or ()}
        new = [one for one in found if one.key not in known]
        self.found = found
        for one in new:
            _logger.warning("this machine is not as it should be: %s", one.text, extra={"reason": one.reason})
        self.changed(new)


def _examined(configuration: Configuration, ports: Mapping[str, Address]) -> Sequence[Told]:
    """In a thread, and loaded there."""
    from gateway.doctor.examination import examine

    nodes = {port.path: device for device, port in ports.items() if port.path.startswith("/")}
    names = {name: device for node, device in nodes.items() for name in (node, os.path.realpath(node))}
    has_real_ports = any(name.startswith(_REAL_PORTS) for name in names)
    findings = examine(configuration, ports, os.getpid(), with_udev=has_real_ports)
    for subject in {finding.subject for finding in findings if finding.subject.startswith("/dev/")}:
        if (device := names.get(os.path.realpath(subject))) is not None:
            names[subject] = device
    return told(findings, names)

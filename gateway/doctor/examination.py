"""Everything that is looked for, the same for a person at the command line and for the gateway itself. Blocks; for a thread."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from gateway.config import Configuration
from gateway.devices.port_addresses import Address
from gateway.devices.ssh_target import Target
from gateway.doctor.clock import is_synchronised, of_clock
from gateway.doctor.finding import Finding
from gateway.doctor.hubs import BY_HUB, hubs_of, of_hubs
from gateway.doctor.ports import of_ports
from gateway.doctor.sshd import of_target
from gateway.doctor.supply import of_supply
from gateway.doctor.udev import findings_of_machine

SYSFS: Final = Path("/sys")


def examine(
    configuration: Configuration,
    ports: Mapping[str, Address],
    gateway: int | None,
    targets: Sequence[Target] = (),
    *,
    with_udev: bool = True,
) -> list[Finding]:
    """ports is where those of the configuration are, gateway the process that may have them open, targets what was asked over ssh."""
    return [
        *of_ports(ports, gateway),
        *(finding for target in targets for finding in of_target(target)),
        *_of_power(configuration, ports),
        *of_supply(SYSFS),
        *of_clock(time.time(), is_synchronised()),
        *(findings_of_machine() if with_udev else ()),
    ]


def _of_power(configuration: Configuration, ports: Mapping[str, Address]) -> Iterator[Finding]:
    """No hub is asked unless somebody wants to switch one."""
    cycled = []
    for section in configuration.devices:
        power = configuration.class_of(section).hooks.power
        hooks = () if power is None else (power.on, power.off, power.cycle)
        if any(BY_HUB in word for hook in hooks if hook is not None for word in hook.command):
            cycled.append(section.name)
    if cycled:
        nodes = {device: port.path for device, port in ports.items() if port.path.startswith("/")}
        yield from of_hubs(hubs_of(nodes, SYSFS), cycled)

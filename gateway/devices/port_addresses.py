"""Where the ports of a configuration are now, for somebody who wants to look at them. Nothing is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import anyio

from gateway import drivers
from gateway.config import Configuration
from transports.discovery.monitor import PortMonitor
from transports.driver import DeviceFacts
from transports.errors import LinkError
from transports.link import LendableOpener

LOOK_S: Final = 5.0
"""The ports of a machine are found in milliseconds; a hub that hangs is not waited for."""


@dataclass(frozen=True, slots=True)
class Address:
    """Of one device: path, a file or a URL; or why there is none. Neither for a link without a port."""

    path: str = ""
    why_not: str = ""


async def addresses(configuration: Configuration) -> Mapping[str, Address]:
    """By device, in the order of the configuration, where no gateway knows it."""
    monitor = PortMonitor()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(monitor.run)
        openers = {}
        for section in configuration.devices:
            class_section = configuration.class_of(section)
            facts = DeviceFacts(
                name=section.name,
                class_name=class_section.name,
                slots=class_section.slots,
                boot_modes=class_section.vid_pids,
                ports=monitor,
            )
            openers[section.name] = drivers.link(section.link.driver).opener(section.link.options, facts)
        found = await addresses_of(openers)
        tasks.cancel_scope.cancel()
    return found


async def addresses_of(openers: Mapping[str, object]) -> Mapping[str, Address]:
    """By device, as openers are."""
    return {device: await _address(opener) for device, opener in openers.items()}


async def _address(opener: object) -> Address:
    if not isinstance(opener, LendableOpener):
        return Address()
    with anyio.move_on_after(LOOK_S):
        try:
            path = await opener.address()
        except LinkError as error:
            return Address(why_not=str(error))
        is_there = "://" in path or await anyio.Path(path).exists()
        return Address(path) if is_there else Address(why_not=f"{path}: there is no such file")
    return Address(why_not=f"the ports of this machine could not be looked at within {LOOK_S:g} s")

"""DeviceSink: where a supervisor delivers what a device says. Declared here, implemented by the gateway."""

from __future__ import annotations

from typing import Protocol

from transports.protocol import Event, Output


class DeviceSink(Protocol):
    """One object for all devices of a gateway; device is the configured name. Calls for one device never overlap.

    Nothing here may block the event loop.
    """

    def store(self, device: str, output: Output) -> bool:
        """Return only when output.items and then output.checkpoint are stored; the supervisor acknowledges after that. Memory only.

        True: something follows from it; the supervisor settles that before it tells anything else.
        """
        ...

    async def settle(self, device: str) -> None:
        """Do what follows from what was stored last."""
        ...

    async def happened(self, device: str, event: Event) -> None:
        """Every other event of the core, in order, except answers to requests, which go to their caller."""
        ...

    async def link_changed(self, device: str, error: Exception | None) -> None:
        """The link is open (None), or could not be opened, or was lost, and why. Called once per change of the answer."""
        ...

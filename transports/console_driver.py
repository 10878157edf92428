"""`protocol: console`: text devices without firmware of ours, as a driver."""

from __future__ import annotations

from transports.driver import DeviceFacts, SessionFacts
from transports.protocol import Checkpoint, DeviceProtocol
from transports.protocols.console.core import ConsoleProtocol
from transports.protocols.console.options import ConsoleOptions
from transports.protocols.console.raw import RawProfile


class ConsoleDriver:
    """See transports.driver.ProtocolDriver."""

    options = ConsoleOptions
    max_slots = 1

    def protocol(
        self, options: ConsoleOptions, checkpoint: Checkpoint | None, device: DeviceFacts, session: SessionFacts
    ) -> DeviceProtocol:
        return ConsoleProtocol(checkpoint, profile=RawProfile(), marks=options.marks, rng=session.rng)

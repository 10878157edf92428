"""`protocol: framed`: devices that speak wirelet frames (firmware-protocol/SPEC.md), as a driver."""

from __future__ import annotations

from transports.driver import DeviceFacts, NoOptions, SessionFacts
from transports.protocol import Checkpoint, DeviceProtocol
from transports.protocols.framed import FramedProtocol


class FramedDriver:
    """See transports.driver.ProtocolDriver."""

    options = NoOptions

    def protocol(self, options: NoOptions, checkpoint: Checkpoint | None, device: DeviceFacts, session: SessionFacts) -> DeviceProtocol:
        return FramedProtocol(
            checkpoint,
            gateway_id=session.gateway_id,
            keepalive_s=session.keepalive_s,
            line_bytes_per_s=session.line_bytes_per_s,
            rng=session.rng,
            refuses=session.refuses,
        )

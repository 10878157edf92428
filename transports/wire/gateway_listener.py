"""What a gateway's session tells to whom it belongs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from transports.wire.datagrams import Hello, Ready
from transports.wire.messages import Away, ControlMessage


@dataclass(frozen=True, slots=True)
class Joining:
    """Everything that READY decides."""

    hello: Hello
    ready: Ready
    is_new_boot: bool
    is_new_epoch: bool
    """The LOG begins anew at ready.base."""


class GatewayListener(Protocol):
    """What the session tells, in the order of the bytes. Calls come from within receive_data, handle_deadline and link_down."""

    def on_joined(self, joining: Joining, now: float) -> None: ...

    def on_left(self, why: str, now: float) -> None: ...

    def on_message(self, message: ControlMessage, now: float) -> None: ...

    def on_log(self, offset: int, data: bytes) -> None:
        """LOG bytes from offset on, each byte once, in order."""
        ...

    def on_gap(self, end: int, records: int | None, reason: int) -> None:
        """LOG goes on at end; what is missing before it will never come."""
        ...

    def on_away(self, away: Away | None) -> None:
        """The device sleeps, erases, reboots or updates; None: it is back in the same session."""
        ...

    def on_uptime(self, uptime_ms: int, now: float) -> None:
        """The device just told its uptime."""
        ...

    def on_text(self, data: bytes) -> None: ...

    def on_problem(self, reason: str, message: str) -> None: ...

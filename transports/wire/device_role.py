"""What surrounds a device's session: what the device is built with, the firmware behind it, and what a warm reset leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from transports.wire.numbers import Body, Caps
from transports.wire.send_stream import Overflow, SendStream


class DeviceApplication(Protocol):
    """The firmware behind the session."""

    def on_request(self, method: int, body: Mapping[int, object], now: float) -> tuple[int, Body]:
        """The answer's code and body; RemoteProtocolError from from_map becomes INVALID. May call notify, go_away and log."""
        ...

    def on_joined(self, now: float) -> None: ...

    def on_link_loss(self, now: float) -> None:
        """The session ended in silence; after an RST, or with a peer that takes nothing, it does not come."""
        ...

    def on_gone(self, now: float) -> None:
        """After go_away(): the gateway knows, or had its time. Sleep, erase or reset now; back() ends it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """What a device is built with."""

    device_id: bytes
    level: int = 1
    mtu: int = 243
    """The longest payload it takes and sends."""
    max_msg: int = 1024
    """The longest request, and the credit for CTRL."""
    answer_bytes: int = 4096
    """Room for answers and notifications; a request waits unacknowledged until the longest answer fits."""
    max_answer_bytes: int = 1024
    talk_bytes: int = 256
    """Of a conversation: what is read but not taken, and what each output holds until it is acknowledged."""
    ring_bytes: int = 4096
    reserve_bytes: int = 64
    """The part of the ring that only start records may use."""
    caps: int = int(Caps.RLOG)
    overflow: Overflow = Overflow.REFUSE
    line_bytes_per_s: float | None = None
    first_offset: int = 0
    """LOG offset of the first byte; other than 0 only in tests of wrapping."""


@dataclass(frozen=True, slots=True)
class Retained:
    """RAM that a warm reset keeps: the ring and the epoch that names its content."""

    log: SendStream
    epoch: int
    boot_id: int = 0
    """Of the boot that ended. It names nobody any more, but a late WELCOME may still grant it."""

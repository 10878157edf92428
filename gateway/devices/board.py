"""What the gateway holds of one configured device: its class, what it last said, and the way to ask it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import anyio

from gateway.devices.allocation import DeviceView
from gateway.devices.output import DeviceOutput
from transports.protocol import Inventory, Request, WorkloadStatus


class Requester(Protocol):
    """The supervisor, as far as workloads need it."""

    async def request(self, request: Request) -> WorkloadStatus | None:
        """Raises DeviceError, SessionLost or LocalProtocolError."""
        ...


@dataclass(slots=True, eq=False)
class Hook:
    command: tuple[str, ...]
    deadline_s: float


@dataclass(slots=True, eq=False)
class Board:
    """Mutable; changed only by DeviceEvents and DeviceWorkloads, on the event loop."""

    name: str
    class_name: str
    slots: int
    shared: bool
    grace_s: float
    link_name: str
    requester: Requester
    output: DeviceOutput
    reset_hook: Hook | None = None
    power_hook: Hook | None = None

    is_ready: bool = False
    """Its session has told what runs on it."""
    has_ever_listed: bool = False
    inventory: Inventory = field(default_factory=Inventory)
    new_boot: bool = False
    boot_id: int = 0
    boot_off: int = 0
    reset_cause: int = 0
    boots: int = 0
    away_since: float | None = None
    """Loop time at which the session was lost; None while there is one or before the first."""
    is_away_by_itself: bool = False
    """It said AWAY: asleep or busy, no fault."""
    problem: str = ""
    """Why there is no session, or what is wrong with it, for people."""
    is_dirty: bool = False
    last_seen_s: float | None = None
    """Unix seconds of its last message."""
    changed: anyio.Event = field(default_factory=anyio.Event)
    """Set and renewed at every change; waiters take it before they look."""

    def touch(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    @property
    def state(self) -> str:
        """One CamelCase word for a table."""
        if self.is_dirty:
            return "Dirty"
        if self.is_ready:
            return "Away" if self.is_away_by_itself else "Ready"
        return "Disconnected" if self.has_ever_listed else "Connecting"

    def is_allocatable(self, now: float) -> bool:
        """Its slots count: connected, or away for no longer than the class's grace, and not dirty."""
        if self.is_dirty:
            return False
        return self.is_ready or (self.away_since is not None and now - self.away_since <= self.grace_s)

    def view(self, used: int, ending: int) -> DeviceView:
        return DeviceView(self.name, self.class_name, self.shared, self.slots, used, ending, self.is_ready, self.is_dirty)

"""What the gateway holds of one configured device: its class, what it last said, and the way to ask it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import anyio

from gateway.devices.allocation import DeviceView
from gateway.devices.ladder import Rung
from gateway.devices.ledger import RunKey
from gateway.devices.node_names import without_nodes
from gateway.devices.output import DeviceOutput
from gateway.devices.steadiness import Steadiness
from transports.discovery.facts import Kind, PortFacts
from transports.protocol import DeviceStats, Inventory, Request, WorkloadStatus


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
class LineReset:
    """A reset by the modem lines of the device's port."""

    run: Callable[[], Awaitable[None]]
    """Raises LinkError."""


MOMENT_S: Final = 3.0
"""A device that is away for less is no problem of the Node; a board's restart and a replug take about a second."""
RESTART_S: Final = 10.0
"""A board that is a USB device itself leaves the bus when it restarts. One that is back so soon was reset, not unplugged (SPEC.md 10.2)."""
BLINK_S: Final = 4.0
"""For so long nothing is told of it: most are back by then. A cable that was pulled must be told within 5 s."""
CDC_ACM: Final = "cdc_acm"
MAX_EXCUSED_S: Final = 24 * 3600.0
"""A device may say that it is away for any time; a session waits no longer for one either."""
EXCUSED_EXTRA_S: Final = 2.0
"""The announced time is over then (SPEC.md 5.15)."""
_LOOPS: Final = "it restarts, or its connection is lost, again and again; look at its power, its cable and its own log"


@dataclass(frozen=True, slots=True)
class Dirt:
    """A run that does not end, and the boot in which it does not."""

    run: RunKey
    boot_id: int
    why: str


@dataclass(slots=True, eq=False)
class Board:
    """Mutable; changed only by DeviceEvents and Stops, on the event loop."""

    name: str
    class_name: str
    slots: int
    shared: bool
    grace_s: float
    link_name: str
    requester: Requester
    output: DeviceOutput
    port: Callable[[], PortFacts | None] = lambda: None
    """Where it is plugged in, or was; None on no port of this machine."""
    wanted_id: str | None = None
    """The configuration's deviceId."""
    names_a_board: bool = False
    """Its link means one board, wherever that is plugged in."""
    reset_hook: Hook | LineReset | None = None
    power_hook: Hook | None = None
    power_on_hook: Hook | None = None
    power_off_hook: Hook | None = None

    has_session: bool = False
    """It has joined; LIST may still be on its way."""
    is_ready: bool = False
    """Its session has told what runs on it."""
    has_ever_listed: bool = False
    """And what it said has been taken up."""
    joins: int = 0
    """Sessions that began: an answer from another one than the newest says nothing about now."""
    inventory: Inventory | None = None
    """Of this boot; None until it was told."""
    tells_stats: bool = False
    stats: DeviceStats | None = None
    """Of this boot, as it last told them when it was asked."""
    stats_at: float | None = None
    """Loop time."""
    boot_id: int = 0
    """0 before the first session."""
    boot_off: int = 0
    reset_cause: int = 0
    boots: int = 0
    """New boots seen since the gateway began, for a metric."""
    away_since: float | None = None
    """Loop time at which the session was lost; None while there is one or before the first."""
    is_away_by_itself: bool = False
    """It said AWAY: asleep or busy, no fault."""
    excused_until: float = 0.0
    """Loop time until which that excuses the loss of its session, too."""
    stranger: str = ""
    """Why the board that answers now gets no session."""
    swapped_boot: int = 0
    """The boot of a board that answers instead of the one before it; 0: none does."""
    trouble: str = ""
    """Why there is no session, or what is wrong with it, for people."""
    dirt: Dirt | None = None
    borrower: str = ""
    """Who has its port now instead of the gateway, and for what."""
    typists: dict[tuple[int, int], str] = field(default_factory=dict)
    """(wid, gen) -> who types to that run."""
    is_off: bool = False
    """A person has switched its power off, and nobody uses its port until it is switched on."""
    steadiness: Steadiness = field(default_factory=Steadiness)
    last_seen_s: float | None = None
    """Unix seconds of its last message."""
    changed: anyio.Event = field(default_factory=anyio.Event)
    """Set and renewed at every change; waiters take it before they look."""
    _seen: DeviceView | None = None
    """What allocation was shown last."""

    def goes_away(self, now: float, duration_s: float) -> None:
        """It said that it will be silent for so long."""
        self.is_away_by_itself = True
        self.excused_until = now + min(duration_s, MAX_EXCUSED_S) + EXCUSED_EXTRA_S

    def touch(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    @property
    def is_dirty(self) -> bool:
        return self.dirt is not None

    @property
    def problem(self) -> str:
        """For people; what needs a hand comes first. The same words all through a loop."""
        if self.borrower:
            return f"lent to {self.borrower}"
        if self.is_off:
            return f"switched off; switch it on with: wirelet power {self.name} on"
        if self.dirt is not None:
            return self.dirt.why
        return _LOOPS if self.steadiness.is_looping else self.stranger or self.trouble

    @property
    def told_problem(self) -> str:
        """The same for others than this machine's users: without the names of nodes, which are other ones tomorrow."""
        return without_nodes(self.problem, self.link_name)

    @property
    def hooks(self) -> Mapping[Rung, Hook | LineReset]:
        """What a stop may use. Nobody but a person switches a board on again that a person has switched off."""
        if self.is_off:
            return {}
        pairs = ((Rung.RESET, self.reset_hook), (Rung.POWER_CYCLE, self.power_hook))
        return {rung: hook for rung, hook in pairs if hook is not None}

    @property
    def state(self) -> str:
        """One CamelCase word for a table."""
        if self.borrower:
            return "Lent"
        if self.is_off:
            return "Off"
        if self.is_dirty:
            return "Dirty"
        if self.stranger:
            return "Swapped"
        if self.steadiness.is_looping:
            return "Faulted"
        if self.is_ready:
            return "Away" if self.is_away_by_itself else "Ready"
        return "Disconnected" if self.has_ever_listed else "Connecting"

    @property
    def is_given_up(self) -> bool:
        """The gateway does not use its port, because a person wants that."""
        return self.is_off or bool(self.borrower)

    @property
    def is_usb_itself(self) -> bool:
        """The board is the USB device: there is no adapter that stays when the board restarts."""
        port = self.port()
        return port is not None and (port.kind is Kind.USB or port.driver == CDC_ACM)

    def is_connected(self, now: float) -> bool:
        """As its pods are told: an absence that is mostly a restart is not told at once."""
        return self.is_ready or self._has_left_for(BLINK_S, now)

    def is_restarting(self, now: float) -> bool:
        """It has left, and may be back in a moment as it does when it restarts."""
        return not self.is_ready and self._has_left_for(RESTART_S, now)

    def connection_changes_at(self, now: float) -> float | None:
        """When is_connected or is_restarting will have changed, if it does not come back before."""
        if self.is_ready or self.is_given_up or not self.is_usb_itself or self.away_since is None:
            return None
        return min((at for wait_s in (BLINK_S, RESTART_S) if (at := self.away_since + wait_s) > now), default=None)

    def _has_left_for(self, at_most_s: float, now: float) -> bool:
        return self.is_usb_itself and not self.is_given_up and self.away_since is not None and now - self.away_since < at_most_s

    def is_allocatable(self, now: float) -> bool:
        """Its slots count: connected, or away for no longer than the class's grace, and neither given up, dirty nor in a loop."""
        if self.is_given_up or self.is_dirty or self.steadiness.is_looping:
            return False
        return self.is_ready or (self.away_since is not None and now - self.away_since <= self.grace_s)

    def has_problem(self, now: float) -> bool:
        """It cannot take workloads, and not because of a moment: a replug and a restart are told by its pods, not by the Node."""
        if self.is_given_up or self.is_dirty or self.steadiness.is_looping:
            return True
        if self.is_ready or (self.is_away_by_itself and now < self.excused_until):
            return False
        return self.away_since is None or now - self.away_since >= MOMENT_S

    def view(self, used: int, ending: int) -> DeviceView:
        """used: without the container that asks. The same object while nothing differs: each start looks at every board."""
        seen = self._seen
        now = (used, ending, self.slots, self.is_ready, self.is_dirty)
        if seen is None or (seen.used, seen.ending, seen.slots, seen.is_ready, seen.is_dirty) != now:
            seen = DeviceView(self.name, self.class_name, self.shared, self.slots, used, ending, self.is_ready, self.is_dirty)
            self._seen = seen
        return seen

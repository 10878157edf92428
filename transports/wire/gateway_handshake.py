"""What a HELLO means to the gateway: the same boot or a new one, and which session and boot id to offer (SPEC.md, session, gateway).

An offer is only pending: nothing that the gateway knows changes before READY with the offered session id. So a stale or copied HELLO
costs a WELCOME that nobody takes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from transports.protocol import Checkpoint
from transports.wire.datagrams import Hello
from transports.wire.offsets import MASK, MAX_SID, distance, next_sid


@dataclass(slots=True)
class Identity:
    """Whom we last had a session with. boot_id and epoch 0: nobody."""

    boot_id: int = 0
    epoch: int = 0
    sid: int = 0
    """The last one that was offered; 0 before the first."""
    uptime_ms: int = 0
    """The newest that boot_id told."""
    has_offered: bool = False
    """By this process."""

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint | None) -> Identity:
        if checkpoint is None:
            return cls()
        return cls(checkpoint.boot_id, checkpoint.epoch, checkpoint.sid, checkpoint.uptime_ms)

    def went_back(self, uptime_ms: int) -> bool:
        return distance(uptime_ms, self.uptime_ms) < 0

    def saw(self, uptime_ms: int) -> None:
        if not self.went_back(uptime_ms):
            self.uptime_ms = uptime_ms


@dataclass(slots=True)
class Pending:
    """An offer that waits for its READY."""

    sid: int
    boot_id: int
    """Granted: the device's own, or a fresh one."""
    is_new_boot: bool
    first_uptime_ms: int
    hello: Hello
    """The newest; WELCOME echoes its uptime."""
    stored_told: int | None = None
    """What the newest WELCOME said of the LOG."""

    @property
    def epoch(self) -> int:
        """What the LOG's content is named once the device has taken the offer."""
        return self.boot_id if self.hello.log_epoch is None else self.hello.log_epoch

    def continues(self, hello: Hello) -> bool:
        """hello is a later one of the row of HELLOs that this offer answers."""
        mine = self.hello
        same = (hello.boot_id, hello.log_epoch, hello.device_id) == (mine.boot_id, mine.log_epoch, mine.device_id)
        return same and distance(hello.uptime_ms, mine.uptime_ms) >= 0


def offer(hello: Hello, known: Identity, pending: Pending | None, rng: random.Random) -> Pending:
    """The session to offer. A later HELLO of the same row gets the same offer; every other one takes a new session id."""
    if pending is not None and pending.continues(hello):
        pending.hello = hello
        return pending
    is_known = hello.boot_id != 0 and hello.boot_id == known.boot_id
    went_back = is_known and known.went_back(hello.uptime_ms)
    known.sid = next_sid(known.sid) if known.has_offered else _first_sid(rng, known)
    known.has_offered = True
    boot_id = hello.boot_id if hello.boot_id and not went_back else fresh_boot_id(rng, known)
    return Pending(known.sid, boot_id, not is_known or went_back, hello.uptime_ms, hello)


def _first_sid(rng: random.Random, known: Identity) -> int:
    """Random: a process that was killed may have offered the next one, and a device may have taken it."""
    while (sid := rng.randint(1, MAX_SID)) == known.sid:
        pass
    return sid


def fresh_boot_id(rng: random.Random, known: Identity) -> int:
    """Random, never 0 and never one that names what we know."""
    while (boot_id := rng.randint(1, MASK)) in (known.boot_id, known.epoch):
        pass
    return boot_id

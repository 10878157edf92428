"""A machine with sshd, as those who log in to it find it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Target:
    """One machine, and the devices there. said is the answer of the first that was let in; refused is why one was not."""

    name: str
    devices: list[str]
    logins_at_once: int = 1
    said: str = ""
    refused: dict[str, str] = field(default_factory=dict)

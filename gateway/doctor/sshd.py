"""What an sshd allows, and what the gateway needs of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gateway.devices.ssh_target import Target
from gateway.doctor.finding import Finding

ADVICE: Final = {"MaxStartups": "10:30:100", "MaxSessions": "10", "ClientAliveInterval": "15"}
"""The first two as OpenSSH has them when nobody says otherwise."""
_TITLE: Final = re.compile(r" \[listener\] \d+ of (\d+)-\d+ startups")
_SETTING: Final = re.compile(r"^(\w+) (\d+)", re.MULTILINE)
_NOT_STARTED: Final = "the command was not started"


@dataclass(frozen=True, slots=True)
class Limits:
    """None where nobody tells."""

    startups: int | None = None
    """Logins under way from which on sshd drops some."""
    client_alive_s: int | None = None
    """How often it asks whether a silent client is there; 0: never."""


def limits_of(said: str) -> Limits:
    """From the title of the listener, which knows what runs, and from `sshd -T`."""
    settings = {name: int(value) for name, value in _SETTING.findall(said)}
    title = _TITLE.search(said)
    return Limits(int(title[1]) if title else settings.get("maxstartups"), settings.get("clientaliveinterval"))


def of_target(target: Target) -> Iterator[Finding]:
    limits, needed = limits_of(target.said), target.logins_at_once
    for device, why in target.refused.items():
        fix = _setting("MaxSessions") if _NOT_STARTED in why else "until then its pods wait"
        yield Finding(device, why, fix, reason="SshLoginFailed")
    first = target.devices[0]
    if limits.startups is not None and limits.startups < needed:
        problem = f"{needed} devices log in to {target.name} at once, and its sshd drops logins from {limits.startups} on"
        yield Finding(first, problem, _setting("MaxStartups"), reason="SshdLimits")
    if limits.client_alive_s == 0:
        problem = f"sshd of {target.name} never looks whether its clients live: what a gateway ran there outlives its power by hours"
        yield Finding(first, problem, _setting("ClientAliveInterval"), is_note=True, reason="SshdLimits")


def _setting(name: str) -> str:
    return f"in its sshd_config: {name} {ADVICE[name]}; then reload it"

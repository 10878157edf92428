"""What of the findings is told in the cluster, and in which words. Pure.

Only what hinders this gateway's own devices and needs somebody to act. No object of the API names a tty, which is another board tomorrow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.doctor.finding import Finding

WORST_FIRST: Final = (
    "UnderVoltage",
    "ClockNotSet",
    "PortHeld",
    "KernelConsole",
    "PortForbidden",
    "XonXoff",
    "GangedPower",
    "UdevRules",
)
TOLD_ELSEWHERE: Final = frozenset({"PortAbsent"})
"""The condition DeviceProblem says so at once."""
ASK_THERE: Final = "run `wirelet doctor` there to see how to mend it"
_TTY: Final = re.compile(r"/dev/\S+|\btty[A-Z]\w*\d\b")


@dataclass(frozen=True, slots=True)
class Told:
    """One finding for the API. (subject, reason) is what it is the same by: a text may have a process id in it."""

    subject: str
    reason: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        return self.subject, self.reason


def told(findings: Iterable[Finding], devices: Mapping[str, str]) -> list[Told]:
    """The worst first. devices: node in /dev -> device, by every name that a finding may have for it."""
    found: dict[tuple[str, str], Told] = {}
    for finding in findings:
        subject = devices.get(finding.subject, finding.subject)
        is_foreign = subject.startswith("/dev/")  # a port of this machine that is none of ours
        if finding.is_note or is_foreign or finding.reason in TOLD_ELSEWHERE:
            continue
        fix = ASK_THERE if _without_ttys(finding.fix, devices) != finding.fix else finding.fix
        one = Told(subject, finding.reason, f"{subject}: {_without_ttys(finding.problem, devices)}; {fix}")
        found.setdefault(one.key, one)
    return sorted(found.values(), key=lambda one: WORST_FIRST.index(one.reason) if one.reason in WORST_FIRST else len(WORST_FIRST))


def _without_ttys(text: str, devices: Mapping[str, str]) -> str:
    for name in sorted(devices, key=len, reverse=True):
        text = text.replace(name, "its port")
    return _TTY.sub("its port", text)

"""How the end of a run is told to Kubernetes: exit code, signal, reason and message. Pure tables.

Kubernetes knows Completed, Error and OOMKilled; the others are ours, CamelCase and stable.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from transports.protocol import ExitReason, WorkloadStatus

KILLED_CODE: Final = 137
"""128 + SIGKILL: what a container runtime reports for what was ended without being asked."""

UNKNOWN_REASON: Final = "ContainerStatusUnknown"
"""The kubelet's word for an end that nobody saw."""

_REASONS: Final[dict[ExitReason, tuple[str, str, int]]] = {
    ExitReason.COMPLETED: ("Completed", "", 0),
    ExitReason.ERROR: ("Error", "", 1),
    ExitReason.OOM: ("OOMKilled", "the program ran out of memory", KILLED_CODE),
    ExitReason.WATCHDOG: ("DeviceWatchdog", "the watchdog ended the program", KILLED_CODE),
    ExitReason.PANIC: ("DevicePanic", "the program panicked", KILLED_CODE),
    ExitReason.STOPPED: ("Completed", "", 0),
    ExitReason.LINK_LOSS: ("LinkLoss", "the program was told to end when the link was lost", KILLED_CODE),
    ExitReason.START_FAILED: ("StartError", "the device could not start the program", 128),
}
"""reason -> (reason, message, exit code if the device tells none)."""

RESET_CAUSES: Final = ("unknown", "power", "reset pin", "software", "watchdog", "brown-out", "panic", "wake from sleep")
"""HELLO key 11, by number."""


@dataclass(frozen=True, slots=True)
class Exit:
    exit_code: int
    signal: int
    reason: str
    message: str


def of_status(status: WorkloadStatus) -> Exit:
    """The end that a device reports."""
    told = status.reason if status.reason is not None else ExitReason.ERROR if status.exit_code else ExitReason.COMPLETED
    reason, message, code = _REASONS[told]
    signal = status.signal or 0
    exit_code = _int32(status.exit_code) if status.exit_code is not None else 128 + signal if signal else code
    if reason == "Completed" and exit_code:
        reason = "Error"
    return Exit(exit_code, signal, reason, status.message or message)


def _int32(code: int) -> int:
    """Kubernetes refuses a whole status for an exit code beyond 31 bits; firmware sends -1 as 4294967295."""
    return (code + (1 << 31)) % (1 << 32) - (1 << 31)


def of_reboot(cause: int) -> Exit:
    """The device restarted under a run; the reset cause is what it says in HELLO."""
    text = RESET_CAUSES[cause] if 0 <= cause < len(RESET_CAUSES) else f"cause {cause}"
    return Exit(KILLED_CODE, 0, "DeviceRebooted", f"the device restarted: {text}")


def of_swap(device_id: str) -> Exit:
    """Another board answers where the run was; what became of it nobody can say."""
    return Exit(KILLED_CODE, 0, UNKNOWN_REASON, f"another board, {device_id}, answers on the device now")


def of_removed_device(name: str) -> Exit:
    """Nobody will ever hear of this run again."""
    return Exit(KILLED_CODE, 0, UNKNOWN_REASON, f"device {name} is not in the configuration any more")


def unconfirmed(end: Exit) -> Exit:
    """The same for a run of which nobody knows whether it had begun."""
    return replace(end, message=f"{end.message}; it had not confirmed the start")


NEVER_STARTED: Final = Exit(KILLED_CODE, 0, UNKNOWN_REASON, "the device never confirmed the start")
VANISHED: Final = Exit(KILLED_CODE, 0, UNKNOWN_REASON, "the device does not know the run any more, and did not restart")

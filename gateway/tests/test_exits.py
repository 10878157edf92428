"""How the end of a run is told: the words of Kubernetes where it has them, and a code it accepts."""

from __future__ import annotations

import pytest

from gateway.devices import exits
from gateway.devices.exits import Exit
from transports.protocol import ExitReason, WorkloadState, WorkloadStatus


def status(reason: ExitReason | None, code: int | None = None, signal: int | None = None) -> WorkloadStatus:
    return WorkloadStatus(7, 1, 0, WorkloadState.EXITED, exit_code=code, signal=signal, reason=reason)


@pytest.mark.parametrize(
    ("told", "code", "reason"),
    [
        (status(ExitReason.COMPLETED, 0), 0, "Completed"),
        (status(ExitReason.COMPLETED), 0, "Completed"),
        (status(ExitReason.COMPLETED, 3), 3, "Error"),
        (status(ExitReason.ERROR, 2), 2, "Error"),
        (status(ExitReason.ERROR), 1, "Error"),
        (status(ExitReason.OOM), 137, "OOMKilled"),
        (status(ExitReason.WATCHDOG), 137, "DeviceWatchdog"),
        (status(ExitReason.PANIC, 134, 6), 134, "DevicePanic"),
        (status(ExitReason.STOPPED, 0), 0, "Completed"),
        (status(ExitReason.STOPPED, 137, 9), 137, "Error"),
        (status(ExitReason.STOPPED, None, 15), 143, "Error"),
        (status(ExitReason.LINK_LOSS, 137, 9), 137, "LinkLoss"),
        (status(ExitReason.START_FAILED), 128, "StartError"),
        (status(None, 0), 0, "Completed"),
        (status(None, 5), 5, "Error"),
        (status(None), 0, "Completed"),
        (status(ExitReason.ERROR, -1), -1, "Error"),
        (status(ExitReason.ERROR, 2**32 - 1), -1, "Error"),
        (status(ExitReason.ERROR, -(2**31)), -(2**31), "Error"),
    ],
)
def test_what_a_device_reports(told: WorkloadStatus, code: int, reason: str) -> None:
    end = exits.of_status(told)
    assert (end.exit_code, end.reason) == (code, reason)


@pytest.mark.parametrize("reason", ExitReason)
def test_every_reason_has_words(reason: ExitReason) -> None:
    assert exits.of_status(status(reason)).reason


@pytest.mark.parametrize(("cause", "words"), [(1, "power"), (4, "watchdog"), (7, "wake from sleep"), (99, "cause 99"), (-1, "cause -1")])
def test_a_reset_names_its_cause(cause: int, words: str) -> None:
    assert exits.of_reboot(cause) == Exit(137, 0, "DeviceRebooted", f"the device restarted: {words}")


@pytest.mark.parametrize("end", [exits.NEVER_STARTED, exits.VANISHED, exits.of_removed_device("board-a")])
def test_an_end_that_nobody_saw_has_the_kubelets_word(end: Exit) -> None:
    assert (end.exit_code, end.reason) == (137, "ContainerStatusUnknown")
    assert end.message

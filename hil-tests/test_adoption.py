"""A gateway that comes back finds its devices at work and takes them over: nothing is started twice, whatever of its own files is gone.

Each test has its outcome from the order of writing (ARCHITECTURE.md): what a wiped directory, a lost commit, a rebooted host and a power
cut may cost is a named gap, or an end that is told; never a second run beside a first.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from control_plane import KubectlFailed
from counted import account
from lab import Lab, condition, container

from gateway.directories import BOOT_FILE

RATE_HZ = 200
BIG_RING = ("--ring", str(1 << 20))
SMALL_RING = ("--ring", "4096")
POD = "counter"


def run_counter(lab: Lab, *options: str, **spec: Any) -> dict[str, Any]:
    """A counter on a board that traces what it is asked; returns the pod when its log has begun."""
    lab.set_up(options=["--trace", *(options or BIG_RING)])
    lab.run(POD, "counter", "--rate", str(RATE_HZ), request=True, **spec)
    pod = lab.wait_for_ready(POD)
    wait_for_number(lab, 100)
    return pod


def log(lab: Lab, *args: str) -> list[str]:
    """`kubectl logs`; nothing while the gateway does not answer."""
    try:
        return lab.kubectl("logs", POD, *args).splitlines()
    except KubectlFailed:
        return []


def wait_for_number(lab: Lab, number: int) -> None:
    lab.wait(lambda: any(line.isdigit() and int(line) >= number for line in log(lab, "--tail=1")), f"{number} in the log")


def trace(lab: Lab) -> str:
    return lab.boards.process.log.read_text()


def starts(lab: Lab) -> int:
    return len(re.findall(r": START ", trace(lab)))


def boot_ids(lab: Lab) -> list[str]:
    return re.findall(r": session, boot id ([0-9a-f]{8})$", trace(lab), re.MULTILINE)


def run_of(pod: dict[str, Any]) -> tuple[int, str, str]:
    status = container(pod)
    return status["restartCount"], status["containerID"], status["state"]["running"]["startedAt"]


def come_back(lab: Lab, sessions: int) -> dict[str, Any]:
    """Start the gateway; return the pod when the device's session stands and the log goes on for a while after it."""
    lab.gateway.process.start()
    lab.wait(lambda: len(boot_ids(lab)) > sessions, "the next session")
    seen = newest_number(lab)
    wait_for_number(lab, seen + RATE_HZ)
    return lab.wait_for_ready(POD)


def newest_number(lab: Lab) -> int:
    return max((int(line) for line in log(lab, "--tail=5") if line.isdigit()), default=0)


def assert_adopted(lab: Lab, before: dict[str, Any], after: dict[str, Any]) -> None:
    """The same run of the same boot, and the device saw no START and no STOP."""
    assert run_of(after) == run_of(before)
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert len(set(boot_ids(lab))) == 1
    assert starts(lab) == 1
    assert ": STOP " not in trace(lab)


def wipe_runtime(lab: Lab) -> None:
    shutil.rmtree(lab.gateway.folder / "run")


def wipe_state(lab: Lab) -> None:
    shutil.rmtree(lab.gateway.folder / "state")


def age_runtime(lab: Lab) -> None:
    """As if it lay on a disk and the machine had restarted."""
    (lab.gateway.folder / "run" / BOOT_FILE).write_text("another boot")


def wipe_checkpoints(lab: Lab) -> None:
    shutil.rmtree(lab.gateway.folder / "run" / "checkpoints")


# -- nothing is lost


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_ended_gateway_leaves_its_devices_running(lab: Lab, end: str) -> None:
    """SIGTERM and SIGKILL: the same run, the same boot, no START; and the log has every number."""
    before = run_counter(lab)
    getattr(lab.gateway, end)()
    after = come_back(lab, sessions=1)
    assert_adopted(lab, before, after)
    assert account(log(lab)).gaps == ()


@pytest.mark.parametrize("wipe", [(wipe_state,), (wipe_state, wipe_checkpoints)], ids=["ledger", "ledger and checkpoints"])
def test_a_wiped_ledger_starts_nothing_again(lab: Lab, wipe: tuple[Callable[[Lab], None], ...]) -> None:
    """The device's tag and the API's status say that it runs; the rings are there, so the log has every number, and once."""
    before = run_counter(lab)
    lab.gateway.kill()
    for each in wipe:
        each(lab)
    after = come_back(lab, sessions=1)
    assert_adopted(lab, before, after)
    assert account(log(lab)).gaps == ()


def test_a_ledger_that_lost_the_intent_starts_nothing_again(lab: Lab) -> None:
    """A power cut of the host took the commits since before the pod; LIST says what ran."""
    lab.set_up(options=["--trace", *BIG_RING])
    lab.gateway.stop()
    older = lab.gateway.folder / "older"
    shutil.copytree(lab.gateway.folder / "state", older)
    lab.gateway.start()
    lab.run(POD, "counter", "--rate", str(RATE_HZ), request=True)
    before = lab.wait_for_ready(POD)
    wait_for_number(lab, 100)

    lab.gateway.kill()
    wipe_state(lab)
    older.rename(lab.gateway.folder / "state")
    after = come_back(lab, sessions=2)
    assert_adopted(lab, before, after)
    assert account(log(lab)).gaps == ()


def test_a_ledger_that_lost_its_last_commit_starts_nothing_again(lab: Lab) -> None:
    """The intent is there, STARTED is not; LIST says what ran."""
    before = run_counter(lab)
    lab.gateway.kill()
    with sqlite3.connect(lab.gateway.folder / "state" / "ledger.sqlite") as ledger:
        ledger.execute("UPDATE attempts SET state = 'intended', epoch = NULL, slot = NULL, start_off = NULL, started_at = NULL")
        assert ledger.total_changes == 1
    ledger.close()
    after = come_back(lab, sessions=1)
    assert_adopted(lab, before, after)
    assert account(log(lab)).gaps == ()


@pytest.mark.parametrize(
    "wipe", [(wipe_runtime,), (wipe_runtime, wipe_state), (age_runtime,)], ids=["runtime", "both", "runtime on a disk"]
)
def test_a_rebooted_host_finds_the_containers_that_went_on(lab: Lab, wipe: tuple[Callable[[Lab], None], ...]) -> None:
    """The runtime directory is gone, or of another boot, and with an SD card that died the ledger too. What the device still holds it sends
    again: here all."""
    before = run_counter(lab)
    lab.gateway.kill()
    for each in wipe:
        each(lab)
    after = come_back(lab, sessions=1)
    assert_adopted(lab, before, after)
    assert account(log(lab)).gaps == ()
    assert ("this machine has restarted" in lab.gateway.log()) is (age_runtime in wipe)


# -- a named gap


def test_a_wiped_runtime_directory_is_a_gap_at_the_begin_of_the_log(lab: Lab) -> None:
    """The device has overwritten what the gateway had taken before."""
    before = run_counter(lab, *SMALL_RING)
    wait_for_number(lab, 600)
    lab.gateway.kill()
    wipe_runtime(lab)
    after = come_back(lab, sessions=1)
    assert_adopted(lab, before, after)
    lines = log(lab)
    found = account(lines)
    assert lines[0].startswith("--- wirelet gap:")
    assert found.missing >= 100


# -- the device was reset too


@pytest.mark.parametrize("wipe", [(), (wipe_runtime,), (wipe_runtime, wipe_state)], ids=["nothing", "runtime", "both"])
def test_a_power_cut_of_device_and_host_restarts_the_container_once(lab: Lab, wipe: tuple[Callable[[Lab], None], ...]) -> None:
    """The attempt has ended with the device and its tail is unknown; the next one begins."""
    run_counter(lab)
    lab.gateway.kill()
    lab.boards.reset()
    for each in wipe:
        each(lab)
    lab.gateway.start()
    pod = lab.wait_for_pod(POD, lambda pod: container(pod).get("restartCount") == 1 and "running" in container(pod)["state"])
    ended = container(pod)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "DeviceRebooted" if wipe_state not in wipe else "ContainerStatusUnknown")
    lab.wait(lambda: log(lab)[:2] == ["1", "2"], "the log of the second attempt")
    assert starts(lab) == 2
    assert len(set(boot_ids(lab))) == 2


def test_a_power_cut_of_a_device_ends_the_attempt_with_a_gap(lab: Lab) -> None:
    run_counter(lab)
    lab.boards.reset()
    pod = lab.wait_for_pod(POD, lambda pod: container(pod).get("restartCount") == 1 and condition(pod, "Ready")["status"] == "True")
    ended = container(pod)["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (137, "DeviceRebooted", "the device restarted: power")
    found = account(log(lab, "--previous"))
    assert found.ends_in_gap
    assert len(found.gaps) == 1
    assert "unknown size" in found.gaps[0]
    lab.wait(lambda: log(lab)[:2] == ["1", "2"], "the log of the second attempt")
    assert starts(lab) == 2


def test_a_pod_that_never_restarts_does_not_run_again_after_everything_was_lost(lab: Lab) -> None:
    """Only the API server remembers that it ran."""
    run_counter(lab, restartPolicy="Never")
    lab.gateway.kill()
    lab.boards.reset()
    wipe_runtime(lab)
    wipe_state(lab)
    lab.gateway.start()
    pod = lab.wait_for_phase(POD, "Failed")
    ended = container(pod)["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "ContainerStatusUnknown")
    assert starts(lab) == 1

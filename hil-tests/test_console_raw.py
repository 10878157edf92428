"""Pods on consoles that are only listened to, behind a real port and a real gateway; the device is the test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from console_lab import ConsoleDesk, ConsoleLab
from control_plane import ControlPlane
from lab import condition, container
from pod_lab import terminated
from raw_port import RawPort
from workbench import Workbench

ZTEST = {
    "ready": ["^Running TESTSUITE"],
    "ok": ["PROJECT EXECUTION SUCCESSFUL"],
    "fail": ["PROJECT EXECUTION FAILED"],
    "reboot": ["Booting Zephyr OS"],
    "panic": ["ZEPHYR FATAL ERROR"],
}
BOOT = b"*** Booting Zephyr OS build v3.7.0 ***\r\nRunning TESTSUITE calc\r\n"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[RawPort]:
    with contextlib.closing(RawPort(tmp_path / "port")) as made:
        yield made


# -- without a cluster


def test_a_console_is_heard_before_any_pod_and_nothing_is_sent(workbench: Workbench, tmp_path: Path, port: RawPort) -> None:
    desk = ConsoleDesk(workbench, tmp_path, port.link, **ZTEST)
    port.send(b"power on\r\n" + BOOT)
    desk.wait(lambda: "TESTSUITE" in desk.device_log, "its text")

    desk.put("first")
    desk.wait_for("first", "Running")
    port.send(b"PASS - test_a\r\nPROJECT EXECUTION FAILED\r\n")
    desk.wait_for("first", "Error")
    assert desk.log("first") == "PASS - test_a\nPROJECT EXECUTION FAILED\n"

    desk.put("second", {"wirelet.dev/log-from": "boot"})
    desk.wait_for("second", "Error")
    whole = [line.decode() for line in BOOT.splitlines()]
    assert desk.log("second").splitlines() == [*whole, "PASS - test_a", "PROJECT EXECUTION FAILED"]
    assert desk.device_log.splitlines() == ["power on", *whole, "PASS - test_a", "PROJECT EXECUTION FAILED"]
    assert bytes(port.received) == b""


# -- with the real control plane


@pytest.fixture
def lab(control_plane: ControlPlane, workbench: Workbench, namespace: str, port: RawPort) -> Iterator[ConsoleLab]:
    made = ConsoleLab(control_plane, workbench, namespace)
    made.begin(port.link, **ZTEST)
    yield made
    made.close()


def test_a_job_is_complete_or_failed_by_what_the_board_says(lab: ConsoleLab, port: RawPort) -> None:
    lab.job("good")
    pod = lab.pod_of_job("good")
    lab.wait_for_pod(pod, lambda pod: "running" in container(pod).get("state", {}))
    assert condition(lab.pod(pod) or {"status": {}}, "Ready").get("status") == "False"
    port.send(b"Running TESTSUITE calc\r\n")
    lab.wait_for_ready(pod)
    port.send(b"PASS - test_add\r\nPROJECT EXECUTION SUCCESSFUL\r\n")
    lab.wait_for_job("good", "Complete")
    assert lab.logs(pod) == ["Running TESTSUITE calc", "PASS - test_add", "PROJECT EXECUTION SUCCESSFUL"]

    lab.job("bad")
    pod = lab.pod_of_job("bad")
    lab.wait_for_pod(pod, lambda pod: "running" in container(pod).get("state", {}))
    port.send(b"FAIL - test_sub\r\nPROJECT EXECUTION FAILED\r\n")
    lab.wait_for_job("bad", "Failed")
    ended = terminated(lab.wait_for_phase(pod, "Failed"))
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (1, "Error", "PROJECT EXECUTION FAILED")
    assert bytes(port.received) == b""


def test_a_reboot_and_a_panic_are_restarts_with_a_reason(lab: ConsoleLab, port: RawPort) -> None:
    manifest = lab.pod_manifest("watch", "firmware", request=True, metadata={"annotations": {"wirelet.dev/log-from": "boot"}})
    del manifest["spec"]["containers"][0]["args"]
    port.send(BOOT)
    lab.kubectl("create", "-f", "-", stdin=manifest)
    lab.wait_for_ready("watch")
    port.send(b"one\r\n" + BOOT + b"two\r\n")
    again = lab.wait_for_pod("watch", lambda pod: container(pod).get("restartCount") == 1 and "running" in container(pod)["state"])
    assert container(again)["lastState"]["terminated"]["reason"] == "DeviceRebooted"
    boot = [line.decode() for line in BOOT.splitlines()]
    assert lab.kubectl("logs", "--previous", "watch").splitlines() == [*boot, "one"]
    lab.wait(lambda: lab.logs("watch") == [*boot, "two"], "the log from its boot on")

    port.send(b"E: >>> ZEPHYR FATAL ERROR 4: Kernel panic on CPU 0\r\nE: r0/a1: 00000004\r\n")
    third = lab.wait_for_pod("watch", lambda pod: container(pod)["lastState"].get("terminated", {}).get("reason") == "DevicePanic")
    assert container(third)["lastState"]["terminated"]["message"] == "E: >>> ZEPHYR FATAL ERROR 4: Kernel panic on CPU 0"


def test_a_killed_gateway_adopts_the_pod_and_names_what_it_did_not_hear(lab: ConsoleLab, port: RawPort) -> None:
    lab.job("long")
    pod = lab.pod_of_job("long")
    lab.wait_for_pod(pod, lambda pod: "running" in container(pod).get("state", {}))
    port.send(b"Running TESTSUITE calc\r\n")
    before = container(lab.wait_for_ready(pod))
    lab.gateway.kill()
    lab.gateway.start()
    lab.wait(lambda: "Ready" in lab.gateway.cli("get", "devices"), "the console to be open")
    after = container(lab.wait_for_ready(pod))
    assert (after["containerID"], after["restartCount"], after["state"]) == (before["containerID"], 0, before["state"])
    port.send(b"PROJECT EXECUTION SUCCESSFUL\r\n")
    lab.wait_for_job("long", "Complete")
    first, gap, last = lab.logs(pod)
    assert (first, last) == ("Running TESTSUITE calc", "PROJECT EXECUTION SUCCESSFUL")
    assert gap.startswith("--- wirelet gap: unknown size, nobody was reading,")

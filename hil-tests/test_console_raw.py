"""Pods on consoles that are only listened to, behind a real port and a real gateway; the device is the test."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_plane import ControlPlane
from gateways import Gateway, device
from lab import Lab, condition, container
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
WAIT_S = 20.0


@pytest.fixture
def port(tmp_path: Path) -> Iterator[RawPort]:
    with contextlib.closing(RawPort(tmp_path / "port")) as made:
        yield made


# -- without a cluster


def test_a_console_is_heard_before_any_pod_and_nothing_is_sent(workbench: Workbench, tmp_path: Path, port: RawPort) -> None:
    (tmp_path / "pods").mkdir()
    gateway = workbench.gateway(
        {
            "node": {"name": "desk"},
            "classes": [{"name": "board", "shared": True, "protocol": {"console": ZTEST}}],
            "devices": [device("board-a", "board", port.link)],
        },
        "--standalone",
        "--manifests",
        str(tmp_path / "pods"),
    )
    wait(gateway, lambda: "Ready" in gateway.cli("get", "devices"), "the console to be open")
    port.send(b"power on\r\n" + BOOT)
    wait(gateway, lambda: "TESTSUITE" in gateway.cli("logs", "device/board-a"), "its text")

    put(tmp_path, "first", {})
    wait(gateway, lambda: "first" in gateway.cli("get", "pods"), "the pod")
    wait(gateway, lambda: "Running" in gateway.cli("get", "pods"), "the pod to run")
    port.send(b"PASS - test_a\r\nPROJECT EXECUTION FAILED\r\n")
    wait(gateway, lambda: "Error" in gateway.cli("get", "pods"), "the verdict")
    assert gateway.cli("logs", "first") == "PASS - test_a\nPROJECT EXECUTION FAILED\n"

    put(tmp_path, "second", {"wirelet.dev/log-from": "boot"})
    wait(gateway, lambda: gateway.cli("get", "pods").count("Error") == 2, "the verdict of the boot before")
    whole = [line.decode() for line in BOOT.splitlines()]
    assert gateway.cli("logs", "second").splitlines() == [*whole, "PASS - test_a", "PROJECT EXECUTION FAILED"]
    assert gateway.cli("logs", "device/board-a").splitlines() == ["power on", *whole, "PASS - test_a", "PROJECT EXECUTION FAILED"]
    assert bytes(port.received) == b""


def put(folder: Path, name: str, annotations: dict[str, str]) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "tests"}]},
    }
    (folder / "pods" / f"{name}.yaml").write_text(json.dumps(manifest))


def wait(gateway: Gateway, met: Any, what: str) -> None:
    gateway.process.wait_for(lambda: bool(met()), what, timeout_s=WAIT_S)


# -- with the real control plane


class ConsoleLab(Lab):
    """One board, whose console is the test's."""

    def begin(self, port: RawPort, **options: Any) -> None:
        configuration = self.configuration(boards=0, slots=1, shared=False)
        configuration["classes"] = [{"name": self.class_name, "protocol": {"console": options}}]
        configuration["devices"] = [device("board-0", self.class_name, port.link)]
        self.gateway = self._workbench.gateway(configuration, wait=False)
        self.wait_for_node(lambda node: node["status"].get("allocatable", {}).get(self.resource) == "1")

    def logs(self, pod: str) -> list[str]:
        return self.kubectl("logs", pod).splitlines()

    def pod_of_job(self, name: str) -> str:
        found = self.wait(lambda: [pod for pod in self.pods() if pod["metadata"]["labels"].get("job-name") == name], f"a pod of {name}")
        return str(found[0]["metadata"]["name"])

    def job(self, name: str, **annotations: str) -> None:
        template = self.pod_manifest("x", "tests", request=True, restartPolicy="Never", metadata={"annotations": annotations})
        del template["spec"]["containers"][0]["args"]
        metadata = {"annotations": annotations}
        spec = {"backoffLimit": 0, "template": {"metadata": metadata, "spec": template["spec"]}}
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": self.namespace}, "spec": spec}
        self.kubectl("create", "-f", "-", stdin=job)

    def wait_for_job(self, name: str, kind: str) -> None:
        self.wait(lambda: condition(self.object_of("job", name), kind).get("status") == "True", f"job {name} {kind}", timeout_s=60)

    def object_of(self, kind: str, name: str) -> dict[str, Any]:
        return dict(json.loads(self.kubectl("get", kind, name, "-o", "json")))


@pytest.fixture
def lab(control_plane: ControlPlane, workbench: Workbench, namespace: str, port: RawPort) -> Iterator[ConsoleLab]:
    made = ConsoleLab(control_plane, workbench, namespace)
    made.begin(port, **ZTEST)
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

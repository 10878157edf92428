"""The whole path on real parts: kubectl, scheduler, API server, node identity, gateway, tty, framed protocol, board in its own process."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from control_plane import KubectlFailed
from lab import Lab, assert_counted, condition, container, waiting_reason

# -- the node


def test_the_node_is_what_a_cluster_expects(lab: Lab) -> None:
    lab.set_up(boards=2, slots=4)
    node = lab.wait_for_node(lambda node: condition(node, "Ready").get("status") == "True")

    assert node["status"]["capacity"][lab.resource] == "8"
    assert node["metadata"]["labels"]["type"] == "virtual-kubelet"
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == lab.node
    assert {"key": "virtual-kubelet.io/provider", "value": "wirelet", "effect": "NoSchedule"} in node["spec"]["taints"]
    assert {found["type"] for found in node["status"]["conditions"]} >= {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}
    assert node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] > 0
    assert all(node["status"]["nodeInfo"][key] for key in ("machineID", "bootID", "kernelVersion", "osImage", "kubeletVersion"))
    lease = lab.wait(lab.lease, "the lease")
    assert lease["spec"]["leaseDurationSeconds"] == 40
    assert lease["metadata"]["ownerReferences"][0]["uid"] == node["metadata"]["uid"]


def test_a_port_that_is_missing_is_told_on_the_node_and_disturbs_nobody(lab: Lab) -> None:
    lab.boards = lab._workbench.boards(1, "--slots", "4")
    configuration = lab.configuration(boards=1, slots=4, shared=True)
    configuration["devices"].append({"name": "gone", "class": lab.class_name, "link": {"serial": {"path": "/nowhere/ttyUSB0"}}})
    lab.gateway = lab._workbench.gateway(configuration, wait=False)

    node = lab.wait_for_node(lambda node: node["status"]["allocatable"].get(lab.resource) == "4")
    assert node["status"]["capacity"][lab.resource] == "8"
    node = lab.wait_for_node(lambda node: "gone: no such port" in condition(node, "DeviceProblem").get("message", ""))
    assert condition(node, "DeviceProblem")["status"] == "True"
    lab.run("hello", "hello")
    lab.wait_for_phase("hello", "Running")


# -- a pod's life


def test_kubectl_run_works_on_a_shared_class(lab: Lab) -> None:
    lab.set_up()
    overrides = {"spec": {"nodeName": lab.node, "tolerations": [{"operator": "Exists"}]}}
    lab.kubectl("run", "hello", "--image=hello", f"--overrides={json.dumps(overrides)}")

    pod = lab.wait_for_ready("hello")
    assert pod["status"]["phase"] == "Running"
    assert pod["status"]["hostIP"] == pod["status"]["podIP"] == "127.0.0.1"
    assert pod["status"]["startTime"]
    assert pod["status"]["qosClass"] == "BestEffort"
    assert container(pod, "hello")["containerID"].startswith("wirelet://")
    lab.wait(lambda: lab.kubectl("logs", "hello"), "a line of its log")
    lab.wait(lambda: {"Pulled", "Created", "Started"} <= set(lab.event_reasons("hello")), "its events")


def test_the_scheduler_places_a_pod_that_requests_a_board(lab: Lab) -> None:
    lab.set_up(boards=1, slots=1, shared=False)
    lab.run("first", "hello", request=True)
    lab.wait_for_ready("first")
    lab.run("second", "hello", request=True)
    waiting = lab.wait_for_pod("second", lambda pod: condition(pod, "PodScheduled").get("reason") == "Unschedulable")
    assert f"Insufficient {lab.resource}" in condition(waiting, "PodScheduled")["message"]

    lab.kubectl("delete", "pod", "first", "--wait=false")
    lab.wait_for_ready("second")
    lab.wait(lambda: {"Scheduled", "Pulled", "Created", "Started"} <= set(lab.event_reasons("second")), "its events")


@pytest.mark.parametrize(
    ("image", "args", "phase", "exit_code", "reason"),
    [("exit", ["0"], "Succeeded", 0, "Completed"), ("exit", ["3"], "Failed", 3, "Error"), ("crash", [], "Failed", 134, "DevicePanic")],
)
def test_a_pod_that_never_restarts_ends_as_its_program(
    lab: Lab, image: str, args: list[str], phase: str, exit_code: int, reason: str
) -> None:
    lab.set_up()
    lab.run("job", image, *args, restartPolicy="Never")
    pod = lab.wait_for_phase("job", phase)
    terminated = container(pod)["state"]["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (exit_code, reason)
    assert container(pod)["restartCount"] == 0


def test_a_finished_pod_gives_its_slot_to_the_next(lab: Lab) -> None:
    lab.set_up(boards=1, slots=1)
    for number in range(3):
        lab.run(f"job-{number}", "echo", f"this is {number}", restartPolicy="Never", request=True)
        lab.wait_for_phase(f"job-{number}", "Succeeded")
    assert [lab.kubectl("logs", f"job-{number}") for number in range(3)] == [f"this is {number}\n" for number in range(3)]


def test_a_program_that_ends_is_restarted_with_back_off(lab: Lab) -> None:
    lab.set_up()
    lab.run("again", "exit", "1")
    pod = lab.wait_for_pod("again", lambda pod: waiting_reason(pod) == "CrashLoopBackOff")
    assert container(pod)["lastState"]["terminated"]["exitCode"] == 1
    pod = lab.wait_for_pod("again", lambda pod: container(pod).get("restartCount", 0) >= 1)
    assert pod["status"]["phase"] == "Running"


def test_everything_a_program_can_be_told_arrives(lab: Lab) -> None:
    lab.set_up()
    lab.control_plane.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "lab", "namespace": lab.namespace},
            "data": {"SSID": "desk"},
        },
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key", "namespace": lab.namespace}, "stringData": {"psk": "horse"}},
    )
    environment = [
        {"name": "PSK", "valueFrom": {"secretKeyRef": {"name": "key", "key": "psk"}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "HELLO", "value": "$(POD) on $(WIFI_SSID), $$(POD)"},
        {"name": "OPTIONAL", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "none", "optional": True}}},
    ]
    told = {"env": environment, "envFrom": [{"prefix": "WIFI_", "configMapRef": {"name": "lab"}}]}
    lab.run("env", "env", restartPolicy="Never", container=told)
    lab.wait_for_phase("env", "Succeeded")
    lines = lab.kubectl("logs", "env").splitlines()
    expected = ["HELLO=env on desk, $(POD)", "IP=127.0.0.1", f"NODE={lab.node}", "POD=env", "PSK=horse", "WIFI_SSID=desk"]
    assert lines == expected

    lab.run("args", "args", "$(POD)", "$(NOBODY)", restartPolicy="Never", container={**told, "command": ["-v", "$(WIFI_SSID)"]})
    lab.wait_for_phase("args", "Succeeded")
    assert json.loads(lab.kubectl("logs", "args")) == ["-v", "desk", "args", "$(NOBODY)"]


# -- logs and the cable


def test_same_pod_and_log_after_replug(lab: Lab) -> None:
    lab.set_up()
    lab.run("counter", "counter", "--rate", "200")
    before = lab.wait_for_ready("counter")
    follower = lab.follow("counter")
    follower.wait_for_lines(50)

    pulled = time.monotonic()
    lab.boards.unplug()
    away = lab.wait_for_ready("counter", "False")
    assert time.monotonic() - pulled < 5
    assert "running" in container(away)["state"]
    assert condition(away, "Ready")["reason"] == "DeviceDisconnected"
    seen = len(follower.lines)
    lab.boards.plug()
    lab.wait_for_ready("counter")
    lines = follower.wait_for_lines(seen + 200)

    assert_counted(lines, first=1)
    after = lab.wait_for_ready("counter")
    assert container(after)["containerID"] == container(before)["containerID"]
    assert container(after)["state"] == container(before)["state"]
    assert container(after)["restartCount"] == 0


def test_a_long_pulled_cable_names_the_gap(lab: Lab) -> None:
    lab.set_up(options=["--ring", "2048"])
    lab.run("counter", "counter", "--rate", "1000")
    lab.wait_for_ready("counter")
    follower = lab.follow("counter")
    follower.wait_for_lines(100)
    lab.boards.unplug()
    time.sleep(1.5)  # 1500 lines of 10 bytes into 2 KiB: the ring must overflow
    lab.boards.plug()
    lab.wait(lambda: any("wirelet gap" in line for line in follower.lines), "the named gap")
    seen = len(follower.lines)
    lines = follower.wait_for_lines(seen + 200)
    assert_counted(lines, first=1)


def test_the_tail_of_a_log(lab: Lab) -> None:
    lab.set_up()
    lab.run("counter", "counter", "--rate", "1000", "--count", "100", restartPolicy="Never")
    lab.wait_for_phase("counter", "Succeeded")
    assert lab.kubectl("logs", "counter", "--tail=3") == "98\n99\n100\n"
    assert lab.kubectl("logs", "counter", "--tail=0") == ""
    assert lab.kubectl("logs", "counter").splitlines() == [str(number) for number in range(1, 101)]
    assert lab.follow("counter").wait_for_end() == [str(number) for number in range(1, 101)]


def test_a_killed_device_restarts_its_pod(lab: Lab) -> None:
    lab.set_up(options=["--id", "board"])
    lab.run("counter", "counter", "--rate", "50")
    before = lab.wait_for_ready("counter")
    lab.boards.kill()
    lab.wait_for_ready("counter", "False")
    lab.boards.start()

    after = lab.wait_for_pod("counter", lambda pod: container(pod).get("restartCount") == 1 and "running" in container(pod)["state"])
    assert container(after)["lastState"]["terminated"]["reason"] == "DeviceRebooted"
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    lab.wait(lambda: lab.kubectl("logs", "counter").startswith("1\n2\n"), "the log of the second attempt")


def test_a_killed_gateway_finds_its_pods_running(lab: Lab) -> None:
    lab.set_up()
    lab.run("counter", "counter", "--rate", "200")
    before = lab.wait_for_ready("counter")
    lab.wait(lambda: len(lab.kubectl("logs", "counter").splitlines()) > 50, "some log")
    lab.gateway.kill()
    lab.gateway.start()

    def is_back() -> bool:
        try:
            return len(lab.kubectl("logs", "counter").splitlines()) > 500
        except KubectlFailed:
            return False

    lab.wait(is_back, "the log after the restart")
    assert_counted(lab.kubectl("logs", "counter").splitlines(), first=1)
    after = lab.wait_for_ready("counter")
    assert container(after) == container(before)


# -- deleting


def test_a_delete_ends_as_soon_as_the_device_does(lab: Lab) -> None:
    lab.set_up()
    lab.run("hello", "hello")
    lab.wait_for_ready("hello")
    lab.kubectl("delete", "pod", "hello", "--wait=false")
    assert lab.wait_gone("hello") < 5  # the grace is 30 s
    lab.wait(lambda: "Killing" in lab.event_reasons("hello"), "the Killing event")


def test_a_pod_that_never_started_is_gone_at_once(lab: Lab) -> None:
    lab.set_up()
    lab.run("nothing", "no-such-program")
    lab.wait_for_pod("nothing", lambda pod: container(pod).get("state", {}).get("waiting"))
    lab.kubectl("delete", "pod", "nothing", "--wait=false")
    assert lab.wait_gone("nothing") < 5


def test_a_name_used_again_is_another_pod(lab: Lab) -> None:
    lab.set_up()
    lab.run("same", "echo", "first", restartPolicy="Never")
    first = lab.wait_for_phase("same", "Succeeded")
    lab.kubectl("delete", "pod", "same")
    lab.run("same", "echo", "second", restartPolicy="Never")
    second = lab.wait_for_phase("same", "Succeeded")
    assert first["metadata"]["uid"] != second["metadata"]["uid"]
    assert lab.kubectl("logs", "same") == "second\n"


def test_a_finalizer_is_left_alone(lab: Lab) -> None:
    lab.set_up()
    lab.run("kept", "hello", metadata={"finalizers": ["example.com/hold"]})
    lab.wait_for_ready("kept")
    lab.kubectl("delete", "pod", "kept", "--wait=false")
    pod = lab.wait_for_pod("kept", lambda pod: "terminated" in container(pod).get("state", {}))
    assert pod["metadata"]["finalizers"] == ["example.com/hold"]
    lab.kubectl("patch", "pod", "kept", "--type=json", '-p=[{"op":"remove","path":"/metadata/finalizers"}]')
    lab.wait_gone("kept")


def test_a_force_deleted_pod_frees_its_slot_when_the_device_has_stopped(lab: Lab) -> None:
    lab.set_up(boards=1, slots=1)
    lab.run("first", "hello", request=True)
    lab.wait_for_ready("first")
    lab.kubectl("delete", "pod", "first", "--force", "--grace-period=0")
    lab.run("second", "hello", request=True)
    lab.wait_for_ready("second")


# -- bad input


def test_an_unknown_image_waits_with_the_list_of_programs(lab: Lab) -> None:
    lab.set_up()
    lab.run("pod", "nginx")
    pod = lab.wait_for_pod("pod", lambda pod: waiting_reason(pod) == "ErrImageNeverPull")
    assert "counter" in container(pod)["state"]["waiting"]["message"]
    assert pod["status"]["phase"] == "Pending"
    with pytest.raises(KubectlFailed, match="is waiting to start"):
        lab.kubectl("logs", "pod")


def test_a_missing_config_map_is_named_and_the_pod_starts_when_it_comes(lab: Lab) -> None:
    lab.set_up()
    lab.run("pod", "env", container={"envFrom": [{"configMapRef": {"name": "later"}}]}, restartPolicy="Never")
    pod = lab.wait_for_pod("pod", lambda pod: waiting_reason(pod) == "CreateContainerConfigError")
    assert "later" in container(pod)["state"]["waiting"]["message"]
    lab.kubectl("create", "configmap", "later", "--from-literal=A=1")
    lab.wait_for_phase("pod", "Succeeded")
    assert lab.kubectl("logs", "pod") == "A=1\n"


def test_a_volume_that_no_device_can_hold_is_refused_by_name(lab: Lab) -> None:
    lab.set_up()
    volumes = [{"name": "data", "emptyDir": {}}]
    lab.run("pod", "hello", volumes=volumes, container={"volumeMounts": [{"name": "data", "mountPath": "/data"}]})
    pod = lab.wait_for_pod("pod", lambda pod: waiting_reason(pod) == "CreateContainerConfigError")
    assert "data" in container(pod)["state"]["waiting"]["message"]


# -- many


def test_thirty_pods_on_ten_devices(lab: Lab) -> None:
    lab.set_up(boards=10, slots=4)
    names = [f"pod-{number}" for number in range(30)]
    items = [lab.pod_manifest(name, "counter", "--rate", "20", request=True) for name in names]
    lab.kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": items})

    def all_ready() -> bool:
        pods = lab.pods()
        return len(pods) == 30 and all(condition(pod, "Ready").get("status") == "True" for pod in pods)

    lab.wait(all_ready, "30 pods ready", timeout_s=60)
    devices = json.loads(lab.gateway.cli("get", "devices", "-o", "json"))["items"]
    assert sum(row["slots"]["used"] for row in devices) == 30
    assert all(row["slots"]["used"] <= 4 for row in devices)
    for name in names[::10]:
        lab.wait(has_counted(lab, name), f"the log of {name}")
    lab.kubectl("delete", "pods", "--all", "--wait=false")
    lab.wait(lambda: not lab.pods(), "all pods gone")


def has_counted(lab: Lab, name: str) -> Callable[[], bool]:
    def look() -> bool:
        lines = lab.kubectl("logs", name).splitlines()
        assert_counted(lines, first=1)
        return len(lines) >= 3

    return look

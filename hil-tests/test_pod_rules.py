"""A kubelet's rules for pods, kept for programs on boards: restarts, several containers, deadlines, ends and what a pod is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from lab import condition, container, waiting_reason
from pod_lab import OWN, PodLab, is_ready, is_running, lab, pod_lab, terminated

__all__ = ["lab", "pod_lab"]  # fixtures


# -- restarts


def test_the_restart_policy_decides_what_an_end_means(lab: PodLab) -> None:
    for policy in ("Never", "OnFailure", "Always"):
        for code in ("0", "3"):
            lab.run(f"{policy.lower()}-{code}", "exit", code, restartPolicy=policy)

    for name, phase in (("never-0", "Succeeded"), ("never-3", "Failed"), ("onfailure-0", "Succeeded")):
        pod = lab.wait_for_phase(name, phase)
        assert terminated(pod)["exitCode"] == int(name[-1])
        assert container(pod)["restartCount"] == 0
    for name in ("onfailure-3", "always-0", "always-3"):
        pod = lab.wait_for_pod(name, lambda pod: container(pod).get("restartCount", 0) >= 1 and waiting_reason(pod) == "CrashLoopBackOff")
        assert container(pod)["lastState"]["terminated"]["exitCode"] == int(name[-1])
        assert pod["status"]["phase"] in ("Running", "Pending")
        assert condition(pod, "Ready")["status"] == "False"


def test_a_crash_loop_goes_on_as_slowly_after_a_restart_of_the_gateway(lab: PodLab) -> None:
    lab.run("again", "exit", "1")
    lab.wait_for_pod("again", lambda pod: container(pod).get("restartCount") == 1 and waiting_reason(pod) == "CrashLoopBackOff")
    lab.gateway.kill()
    lab.gateway.start()

    after = lab.wait_for_pod("again", lambda pod: container(pod).get("restartCount") == 2 and waiting_reason(pod) == "CrashLoopBackOff")
    assert container(after)["state"]["waiting"]["message"].startswith("back-off 20s restarting failed container=main pod=again_")
    first, second = container(after)["lastState"]["terminated"], terminated(after)
    assert first["exitCode"] == 1
    assert second == {}
    lab.wait(lambda: "BackOff" in lab.event_reasons("again"), "the BackOff event")


def test_how_a_program_ended_is_the_termination_message(lab: PodLab) -> None:
    lab.run("crash", "crash", restartPolicy="Never")
    lab.run("reboot", "reboot", "0.2", restartPolicy="Never", container=lab.own())
    crashed = terminated(lab.wait_for_phase("crash", "Failed"))
    assert (crashed["reason"], crashed["exitCode"], crashed["signal"]) == ("DevicePanic", 134, 6)
    assert crashed["message"] == "the program panicked"
    rebooted = terminated(lab.wait_for_phase("reboot", "Failed"))
    assert (rebooted["reason"], rebooted["exitCode"]) == ("DeviceRebooted", 137)
    assert rebooted["message"] == "the device restarted: software"
    assert rebooted["containerID"].startswith("wirelet://")


@pytest.mark.parametrize("policy", ["Always", "Never"])
def test_a_new_image_for_a_running_pod_replaces_its_program(lab: PodLab, policy: str) -> None:
    lab.run("pod", "counter", restartPolicy=policy, container=lab.own())
    before = lab.wait_for_pod("pod", is_ready)
    lab.kubectl("set", "image", "pod/pod", "main=hello")
    after = lab.wait_for_pod("pod", lambda pod: container(pod)["image"] == "hello" and is_ready(pod))
    assert container(after)["restartCount"] == 1
    assert assigned(after) == assigned(before)
    assert container(after)["lastState"]["terminated"]["containerID"] == container(before)["containerID"]
    lab.wait(lambda: lab.kubectl("logs", "pod").startswith("hello"), "the log of the new program")


# -- several containers


def test_init_containers_run_in_order_before_the_others(lab: PodLab) -> None:
    lab.run("pod", "hello", initContainers=[{"name": "a", "image": "sleep", "args": ["1"]}, {"name": "b", "image": "echo", "args": ["b"]}])
    early = lab.wait_for_pod("pod", lambda pod: is_running_init(pod, "a"))
    assert waiting_reason(early) == "PodInitializing"
    assert condition(early, "Initialized")["reason"] == "ContainersNotInitialized"
    assert early["status"]["phase"] == "Pending"
    assert "waiting" in init(early, "b")["state"]

    done = lab.wait_for_pod("pod", is_ready)
    assert [init(done, name)["state"]["terminated"]["reason"] for name in "ab"] == ["Completed", "Completed"]
    assert condition(done, "Initialized")["status"] == "True"
    assert lab.kubectl("logs", "pod", "-c", "b") == "b\n"


def test_a_failed_init_container_keeps_the_others_from_running(lab: PodLab) -> None:
    failing = [{"name": "a", "image": "exit", "args": ["4"]}]
    lab.run("never", "hello", restartPolicy="Never", initContainers=failing)
    lab.run("always", "hello", initContainers=failing)
    failed = lab.wait_for_phase("never", "Failed")
    assert init(failed, "a")["state"]["terminated"]["exitCode"] == 4
    assert "waiting" in container(failed)["state"]
    again = lab.wait_for_pod("always", lambda pod: init(pod, "a").get("restartCount", 0) >= 1)
    assert again["status"]["phase"] == "Pending"
    assert container(again)["restartCount"] == 0


@pytest.mark.parametrize("request_in_init", [False, True])
def test_init_containers_use_the_slot_that_is_there_for_the_others(lab: PodLab, request_in_init: bool) -> None:
    more = lab.own() if request_in_init else {}
    lab.run("pod", "hello", container=lab.own(), initContainers=[{"name": "a", "image": "echo", "args": ["first"], **more}])
    pod = lab.wait_for_pod("pod", is_ready)
    assert assigned(pod) in OWN  # it has one slot
    assert init(pod, "a")["state"]["terminated"]["reason"] == "Completed"
    assert lab.kubectl("logs", "pod", "-c", "a") == "first\n"


def test_containers_that_request_boards_have_one_each(lab: PodLab) -> None:
    containers = [{"name": name, "image": "hello", **lab.own()} for name in ("left", "right")]
    lab.run("pair", "hello", containers=containers)
    pod = lab.wait_for_pod("pair", is_ready)

    held = {name: container(pod, name)["allocatedResourcesStatus"][0]["resources"][0] for name in ("left", "right")}
    assert held["left"]["resourceID"] != held["right"]["resourceID"]
    assert {board["resourceID"] for board in held.values()} < set(OWN)
    assert {board["health"] for board in held.values()} == {"Healthy"}
    assert pod["metadata"]["annotations"]["wirelet.dev/assigned-device"] == ",".join(sorted(board["resourceID"] for board in held.values()))


def test_containers_without_a_request_run_beside_the_others_on_one_board(lab: PodLab) -> None:
    containers = [
        {"name": "main", "image": "hello", "resources": {"limits": {lab.resource: 1}}},
        {"name": "beside", "image": "counter"},
    ]
    lab.run("pod", "hello", containers=containers)
    pod = lab.wait_for_pod("pod", is_ready)
    board = container(pod)["allocatedResourcesStatus"][0]["resources"][0]["resourceID"]
    assert pod["metadata"]["annotations"]["wirelet.dev/assigned-device"] == board
    lab.wait(lambda: lab.kubectl("logs", "pod", "-c", "beside").startswith("1\n"), "the log of the second container")
    (row,) = [row for row in json.loads(lab.gateway.cli("get", "devices", "-o", "json"))["items"] if row["name"] == board]
    assert row["slots"]["used"] == 2


def test_a_pod_that_requests_nothing_says_which_board_it_has(lab: PodLab) -> None:
    lab.run("pod", "hello")
    pod = lab.wait_for_pod("pod", is_ready)
    assert pod["metadata"]["annotations"]["wirelet.dev/assigned-device"] in ("board-0", "board-1")
    assert "allocatedResourcesStatus" not in container(pod)  # the API server takes it only for what was requested


def test_one_container_that_ends_leaves_the_others_alone(lab: PodLab) -> None:
    containers = [{"name": "main", "image": "hello"}, {"name": "job", "image": "exit", "args": ["2"]}]
    lab.run("pod", "hello", restartPolicy="Never", containers=containers)
    pod = lab.wait_for_pod("pod", lambda pod: terminated(pod, "job"))
    pod = lab.wait_for_pod("pod", is_running)
    assert pod["status"]["phase"] == "Running"
    assert condition(pod, "Ready")["reason"] == "ContainersNotReady"
    assert terminated(pod, "job")["exitCode"] == 2


# -- ends


def test_a_pod_over_its_deadline_is_stopped_and_failed(lab: PodLab) -> None:
    lab.run("late", "hello", activeDeadlineSeconds=2)
    pod = lab.wait_for_pod("late", lambda pod: pod["status"]["phase"] == "Failed" and terminated(pod))
    assert pod["status"]["reason"] == "DeadlineExceeded"
    assert terminated(pod)["finishedAt"]
    assert lab.kubectl("logs", "late")


def test_a_second_delete_shortens_the_grace(lab: PodLab) -> None:
    lab.run("stubborn", "stubborn", terminationGracePeriodSeconds=600)
    lab.wait_for_pod("stubborn", is_ready)
    lab.kubectl("delete", "pod", "stubborn", "--wait=false")
    ending = lab.wait_for_pod("stubborn", lambda pod: pod["metadata"].get("deletionGracePeriodSeconds") == 600)
    lab.wait(lambda: "Killing" in lab.event_reasons("stubborn"), "the Killing event")
    assert is_running(ending)
    lab.kubectl("delete", "pod", "stubborn", "--wait=false", "--grace-period=1")
    lab.wait_gone("stubborn")


def test_an_eviction_is_a_delete_with_grace(lab: PodLab) -> None:
    lab.run("pod", "hello")
    lab.wait_for_pod("pod", is_ready)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "pod", "namespace": lab.namespace}}
    status, answer = lab.control_plane.request("POST", f"/api/v1/namespaces/{lab.namespace}/pods/pod/eviction", eviction)
    assert status == 201, answer
    lab.wait_gone("pod")


def test_a_pod_that_somebody_declared_failed_is_stopped_and_stays_so(lab: PodLab) -> None:
    lab.run("pod", "counter", container=lab.own())
    lab.wait_for_pod("pod", is_ready)
    lab.kubectl("patch", "pod", "pod", "--subresource=status", "-p", json.dumps({"status": {"phase": "Failed", "reason": "Evicted"}}))
    pod = lab.wait_for_pod("pod", terminated)
    assert pod["status"]["phase"] == "Failed"
    lab.run("next", "hello", container=lab.own(), metadata={"annotations": {"wirelet.dev/device": assigned(pod)}})
    lab.wait_for_pod("next", is_ready)


# -- what a pod is told


def test_the_whole_downward_api(lab: PodLab) -> None:
    lab.control_plane.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": lab.namespace}},
    )
    fields = {
        "NAME": "metadata.name",
        "NAMESPACE": "metadata.namespace",
        "UID": "metadata.uid",
        "APP": "metadata.labels['app']",
        "NOTE": "metadata.annotations['example.com/note']",
        "NODE": "spec.nodeName",
        "ACCOUNT": "spec.serviceAccountName",
        "HOST": "status.hostIP",
        "HOSTS": "status.hostIPs",
        "POD_IP": "status.podIP",
        "POD_IPS": "status.podIPs",
    }
    resources = {
        "CPU": {"resource": "limits.cpu"},
        "CPU_MILLI": {"resource": "limits.cpu", "divisor": "1m"},
        "MEMORY_MI": {"resource": "requests.memory", "divisor": "1Mi"},
        "NODE_CPU": {"resource": "limits.cpu", "containerName": "other"},
    }
    env = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]
    env += [{"name": name, "valueFrom": {"resourceFieldRef": reference}} for name, reference in resources.items()]
    limits = {"limits": {"cpu": "1500m"}, "requests": {"memory": "64Mi"}}
    lab.run(
        "told",
        "env",
        restartPolicy="Never",
        serviceAccountName="robot",
        metadata={"labels": {"app": "blinky"}, "annotations": {"example.com/note": "left bench"}},
        containers=[{"name": "main", "image": "env", "env": env, "resources": limits}, {"name": "other", "image": "echo"}],
    )
    pod = lab.wait_for_phase("told", "Succeeded")

    told = dict(line.split("=", 1) for line in lab.kubectl("logs", "told", "-c", "main").splitlines())
    assert told == {
        "NAME": "told",
        "NAMESPACE": lab.namespace,
        "UID": pod["metadata"]["uid"],
        "APP": "blinky",
        "NOTE": "left bench",
        "NODE": lab.node,
        "ACCOUNT": "robot",
        "HOST": pod["status"]["hostIP"],
        "HOSTS": pod["status"]["hostIP"],
        "POD_IP": pod["status"]["podIP"],
        "POD_IPS": pod["status"]["podIP"],
        "CPU": "2",
        "CPU_MILLI": "1500",
        "MEMORY_MI": "64",
        "NODE_CPU": "100",
    }


def test_conditions_and_readiness_gates_of_others_are_read_and_never_written(lab: PodLab) -> None:
    gate = "example.com/calibrated"
    lab.run("pod", "hello", readinessGates=[{"conditionType": gate}])
    pod = lab.wait_for_pod("pod", is_running)
    pod = lab.wait_for_pod("pod", lambda pod: condition(pod, "Ready").get("reason") == "ReadinessGatesNotReady")
    assert condition(pod, "ContainersReady")["status"] == "True"

    theirs = {"type": gate, "status": "True", "reason": "Measured", "message": "0.3 mm"}
    foreign = {"type": "example.com/unrelated", "status": "False"}
    lab.kubectl("patch", "pod", "pod", "--subresource=status", "-p", json.dumps({"status": {"conditions": [theirs, foreign]}}))
    # The gateway writes Ready after them, and both stay as they were written.
    pod = lab.wait_for_pod("pod", is_ready)
    for kind in (theirs, foreign):
        assert kind.items() <= condition(pod, str(kind["type"])).items()


def test_the_health_of_its_board_is_on_the_pod(lab: PodLab) -> None:
    lab.run("pod", "hello", container=lab.own())
    pod = lab.wait_for_pod("pod", is_ready)
    board = assigned(pod)
    lab.boards.unplug(lab.number_of(board))
    away = lab.wait_for_pod("pod", lambda pod: condition(pod, "Ready").get("reason") == "DeviceDisconnected")
    assert health(away) == "Unhealthy"
    assert is_running(away)
    assert container(away)["ready"] is False
    lab.wait(lambda: "DeviceDisconnected" in lab.event_reasons("pod"), "the event")
    lab.boards.plug(lab.number_of(board))
    back = lab.wait_for_pod("pod", is_ready)
    assert health(back) == "Healthy"
    assert container(back)["containerID"] == container(pod)["containerID"]


@pytest.mark.parametrize("policy", ["Never", "OnFailure"])
def test_a_board_that_restarts_runs_its_pod_again_only_as_the_policy_allows(lab: PodLab, policy: str) -> None:
    lab.run("pod", "hello", restartPolicy=policy, container=lab.own())
    before = lab.wait_for_pod("pod", is_ready)
    lab.boards.reset(lab.number_of(assigned(before)))
    if policy == "Never":
        ended = terminated(lab.wait_for_phase("pod", "Failed"))
        assert (ended["reason"], ended["exitCode"]) == ("DeviceRebooted", 137)
        return
    after = lab.wait_for_pod("pod", lambda pod: container(pod)["restartCount"] == 1 and is_ready(pod))
    assert container(after)["lastState"]["terminated"]["reason"] == "DeviceRebooted"
    assert assigned(after) == assigned(before)


# -- helpers of these stories


def init(pod: dict[str, Any], name: str) -> dict[str, Any]:
    return next((dict(found) for found in pod["status"].get("initContainerStatuses", ()) if found["name"] == name), {})


def is_running_init(pod: dict[str, Any], name: str) -> bool:
    return "running" in init(pod, name).get("state", {})


def assigned(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["annotations"]["wirelet.dev/assigned-device"])


def health(pod: dict[str, Any]) -> str:
    return str(container(pod)["allocatedResourcesStatus"][0]["resources"][0]["health"])

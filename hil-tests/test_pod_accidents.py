"""Accidents, each with its rule: what docs/explanation/what-happens-when.md promises, on the real control plane."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from control_plane import ControlPlane, KubectlFailed
from gateways import Gateway
from lab import assert_counted, condition, container, waiting_reason
from pod_lab import OWN, PodLab, is_ready, is_running, lab, pod_lab, terminated

from gateway.node.host import read_host

__all__ = ["lab", "pod_lab"]  # fixtures

OUTAGE_S: Final = 60.0
"""More than the lease's 40 s; ten minutes and an hour are in gateway/tests/test_controller.py, with a clock turned by hand."""
WATCH_IS_TOO_OLD: Final = "watch is too old, listing again path=/api/v1/pods"


def assigned(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["annotations"]["wirelet.dev/assigned-device"])


def slots_used(lab: PodLab, board: str) -> int:
    rows = json.loads(lab.gateway.cli("get", "devices", "-o", "json"))["items"]
    return int(next(row["slots"]["used"] for row in rows if row["name"] == board))


def pinned(board: str) -> dict[str, Any]:
    return {"annotations": {"wirelet.dev/device": board}}


# -- the board


def test_a_pod_force_deleted_while_its_board_is_away_keeps_the_slot_until_the_board_says_stopped(lab: PodLab) -> None:
    lab.run("first", "counter", container=lab.own())
    board = assigned(lab.wait_for_ready("first"))
    lab.boards.unplug(lab.number_of(board))
    lab.wait_for_ready("first", "False")
    lab.kubectl("delete", "pod", "first", "--force", "--grace-period=0")
    assert lab.pod("first") is None

    lab.run("second", "hello", nodeName=lab.node, container=lab.own(), metadata=pinned(board))
    waiting = lab.wait_for_pod("second", waiting_reason)
    assert waiting_reason(waiting) in ("DeviceBusy", "DeviceDisconnected")
    assert slots_used(lab, board) == 1
    lab.boards.plug(lab.number_of(board))
    lab.wait_for_ready("second")
    assert lab.kubectl("logs", "second").startswith("hello")
    assert slots_used(lab, board) == 1


def test_a_pod_deleted_while_its_board_is_away_goes_when_the_board_is_back(lab: PodLab) -> None:
    lab.run("pod", "counter", container=lab.own())
    board = assigned(lab.wait_for_ready("pod"))
    lab.boards.unplug(lab.number_of(board))
    lab.wait_for_ready("pod", "False")
    lab.kubectl("delete", "pod", "pod", "--wait=false")
    lab.wait(lambda: "Killing" in lab.event_reasons("pod"), "the Killing event")
    assert is_running(lab.pod("pod") or {})
    lab.boards.plug(lab.number_of(board))
    lab.wait_gone("pod")


def test_a_board_that_stays_away_offers_no_slot_until_it_is_back(lab: PodLab) -> None:
    board = OWN[-1]
    lab.boards.unplug(lab.number_of(board))
    lab.wait_for_node(lambda node: node["status"]["allocatable"][lab.own_resource] == str(len(OWN) - 1))
    node = lab.wait_for_node(lambda node: f"{board}: " in condition(node, "DeviceProblem")["message"])
    assert node["status"]["capacity"][lab.own_resource] == str(len(OWN))
    assert condition(node, "Ready")["status"] == "True"
    lab.run("early", "hello", nodeName=lab.node, container=lab.own(), metadata=pinned(board))
    waiting = lab.wait_for_pod("early", waiting_reason)
    assert waiting_reason(waiting) == "DeviceDisconnected"
    lab.boards.plug(lab.number_of(board))
    lab.wait_for_ready("early")
    node = lab.wait_for_node(lambda node: condition(node, "DeviceProblem")["status"] == "False")
    assert node["status"]["allocatable"][lab.own_resource] == str(len(OWN))


def test_a_program_that_cannot_be_stopped_costs_its_board_a_restart(lab: PodLab) -> None:
    lab.run("stuck", "stuck", container=lab.own(), terminationGracePeriodSeconds=1)
    board = assigned(lab.wait_for_ready("stuck"))
    lab.kubectl("delete", "pod", "stuck", "--wait=false")
    lab.wait_gone("stuck")
    assert "software" in lab.gateway.cli("logs", f"device/{board}")
    lab.run("next", "hello", container=lab.own(), metadata=pinned(board))
    lab.wait_for_ready("next")


# -- people


def test_a_drained_node_lets_its_pods_go_and_takes_no_new_one(lab: PodLab) -> None:
    lab.run("pod", "hello")
    lab.wait_for_ready("pod")
    try:
        lab.kubectl("drain", lab.node, "--force", "--timeout=50s")
        assert lab.pod("pod") is None
        lab.run("next", "hello")
        lab.wait_for_pod("next", lambda pod: condition(pod, "PodScheduled").get("reason") == "Unschedulable")
    finally:
        lab.kubectl("uncordon", lab.node)
    lab.wait_for_ready("next")


def test_a_deleted_namespace_takes_its_pods_along(lab: PodLab) -> None:
    stays, lab.namespace = lab.namespace, f"{lab.namespace}-short"
    lab.control_plane.create_namespace(lab.namespace)
    try:
        lab.run("pod", "counter", container=lab.own())
        board = assigned(lab.wait_for_ready("pod"))
        lab.control_plane.kubectl("delete", "namespace", lab.namespace, "--wait=false")
        lab.wait_gone("pod")
    finally:
        lab.namespace = stays
    lab.wait(lambda: slots_used(lab, board) == 0, "the board to be free")


# -- the gateway


def test_what_ended_while_the_gateway_was_down_is_told_and_not_run_again(lab: PodLab) -> None:
    lab.run("job", "sleep", "1", restartPolicy="Never")
    lab.run("loop", "counter", "--rate", "50")
    lab.wait_for_ready("job")
    before = lab.wait_for_ready("loop")
    lab.gateway.kill()
    lab.wait(lambda: has_been_down(before, 2.0), "the job's end on its board")
    lab.gateway.start()
    done = lab.wait_for_phase("job", "Succeeded")
    assert container(done)["restartCount"] == 0
    after = lab.wait_for_ready("loop")
    assert container(after) == container(before)


def has_been_down(pod: dict[str, Any], seconds: float) -> bool:
    started = datetime.fromisoformat(container(pod)["state"]["running"]["startedAt"].replace("Z", "+00:00"))
    return time.time() - started.timestamp() > seconds + 1  # startedAt has whole seconds


def test_a_pod_deleted_while_the_gateway_was_down_goes_when_it_is_back(lab: PodLab) -> None:
    lab.run("pod", "counter")
    lab.wait_for_ready("pod")
    lab.gateway.kill()
    lab.kubectl("delete", "pod", "pod", "--wait=false")
    lab.gateway.start()
    lab.wait_gone("pod")


def test_a_pod_deleted_by_force_while_the_gateway_was_down_is_stopped_when_it_is_back(lab: PodLab) -> None:
    lab.run("gone", "counter", container=lab.own())
    board = assigned(lab.wait_for_ready("gone"))
    lab.gateway.kill()
    lab.kubectl("delete", "pod", "gone", "--force", "--grace-period=0")
    lab.gateway.start()
    lab.wait(lambda: slots_used(lab, board) == 0, "the board to be free")
    lab.run("next", "hello", container=lab.own(), metadata=pinned(board))
    lab.wait_for_ready("next")


def test_the_same_gateway_started_twice_refuses_and_disturbs_nobody(lab: PodLab) -> None:
    lab.run("pod", "counter", "--rate", "50")
    before = lab.wait_for_ready("pod")
    ran = lab.gateway.run_cli("run", "--config", str(lab.gateway.config_file))
    assert ran.returncode != 0
    assert "another gateway" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert container(lab.wait_for_ready("pod")) == container(before)


@pytest.mark.parametrize("clock", ["ours", "theirs"])
def test_a_gateway_with_the_name_of_another_living_machine_ends_and_writes_nothing(lab: PodLab, clock: str) -> None:
    """Its pods are not started here either, while it is found out whether the other one lives: by the time in its lease, or, where that is
    of a clock that nobody set, by a renewal."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "taken"}}
    info = {**node_info(lab), "machineID": "0123456789abcdef0123456789abcdef"}
    assert info["machineID"] != read_host().machine_id
    assert lab.control_plane.request("POST", "/api/v1/nodes", node)[0] == 201
    lab.kubectl("patch", "node", "taken", "--subresource=status", "-p", json.dumps({"status": {"nodeInfo": info}}))
    lab.run("theirs", "hello", nodeName="taken", nodeSelector={})
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    renewals = itertools.count()

    def lease_spec() -> dict[str, Any]:
        now = datetime.now(UTC) if clock == "ours" else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=next(renewals))
        return {"holderIdentity": "taken", "leaseDurationSeconds": 40, "renewTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}

    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "taken"}, "spec": lease_spec()}
    assert lab.control_plane.request("POST", leases, lease)[0] == 201
    try:
        second = second_gateway(lab, "taken", {"name": "sim", "class": "sim", "link": {"simulated": {"seed": 1}}})

        def has_ended() -> bool:
            lab.control_plane.request("PATCH", f"{leases}/taken", {"spec": lease_spec()}, "application/merge-patch+json")
            return second.process.has_ended

        second.process.wait_for(has_ended, "the second gateway's end", timeout_s=40)
        assert "give this gateway a name of its own" in second.log()
        assert "Traceback" not in second.log()
        assert "Container started" not in second.log()
        writes = [event for event in lab.control_plane.audit_events("system:node:taken") if event["verb"] in ("create", "patch", "update")]
        assert writes == []
    finally:
        lab.control_plane.request("DELETE", f"{leases}/taken")
        lab.kubectl("delete", "node", "taken")
        lab.kubectl("delete", "pod", "theirs", "--force", "--grace-period=0")


def test_a_second_gateway_with_the_same_node_name_on_this_machine_refuses_and_disturbs_nobody(lab: PodLab) -> None:
    lab.run("pod", "counter", "--rate", "50")
    before = lab.wait_for_ready("pod")
    second = second_gateway(lab, lab.node)  # with directories, a port and devices of its own
    second.process.wait_for(lambda: second.process.has_ended, "the second gateway's end", timeout_s=30)
    assert f"another gateway on this machine is node {lab.node}" in second.log()
    assert "Traceback" not in second.log()
    assert container(lab.wait_for_ready("pod")) == container(before)
    lab.wait_until_offered()


def node_info(lab: PodLab) -> dict[str, Any]:
    node = lab.node_object() or {}
    return dict(node["status"]["nodeInfo"])


def second_gateway(lab: PodLab, name: str, *devices: dict[str, Any]) -> Gateway:
    """Another one at this machine, with boards of its own."""
    classes = [{"name": "sim", "slots": 4, "shared": True}]
    configuration = lab.configuration(boards=0, slots=1, shared=False, classes=classes, devices=list(devices))
    cert, key = map(str, lab.control_plane.serving_certificate(name))
    configuration["node"] = {"name": name}
    configuration["cluster"] = {"kubeconfig": str(lab.control_plane.node_identity(name))}
    configuration["server"] |= {"certFile": cert, "keyFile": key}
    return lab._workbench.gateway(configuration, wait=False)


# -- the Node and its lease


def test_a_deleted_node_comes_back_when_its_pods_have_gone(lab: PodLab) -> None:
    lab.run("pod", "counter", container=lab.own())
    board = assigned(lab.wait_for_ready("pod"))
    before = (lab.node_object() or {})["metadata"]["uid"]
    lab.kubectl("delete", "node", lab.node)
    assert lab.node_object() is None or is_running(lab.pod("pod") or {})
    lab.kubectl("delete", "pod", "pod", "--wait=false")  # the cluster's garbage collector does it too, a minute later
    lab.wait_gone("pod")
    after = lab.wait_for_node(lambda node: condition(node, "Ready").get("status") == "True")
    assert after["metadata"]["uid"] != before
    lab.wait_until_offered()
    lab.wait(lambda: lease_owner(lab) == after["metadata"]["uid"], "a lease of the new node")
    lab.run("next", "hello", container=lab.own(), metadata=pinned(board))
    lab.wait_for_ready("next")


def lease_owner(lab: PodLab) -> str:
    lease = lab.lease()
    return str(lease["metadata"]["ownerReferences"][0]["uid"]) if lease else ""


def test_a_lost_lease_is_made_again(lab: PodLab) -> None:
    lab.wait(lab.lease, "a lease")
    lab.kubectl("delete", "lease", lab.node, "-n", "kube-node-lease")
    node = lab.node_object() or {}
    lab.wait(lambda: lease_owner(lab) == node["metadata"]["uid"], "another lease")


def test_a_node_that_was_declared_unreachable_is_ready_again_and_its_pods_too(lab: PodLab) -> None:
    lab.run("pod", "hello")
    before = lab.wait_for_ready("pod")
    unknown = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting node status."}
    lab.kubectl("patch", "node", lab.node, "--subresource=status", "-p", json.dumps({"status": {"conditions": [unknown]}}))
    lab.wait_for_node(lambda node: condition(node, "Ready").get("status") == "True")
    # What the node lifecycle controller does to the pods of a node that it cannot reach:
    lost = {"type": "Ready", "status": "False"}
    lab.kubectl("patch", "pod", "pod", "--subresource=status", "-p", json.dumps({"status": {"conditions": [lost]}}))
    after = lab.wait_for_ready("pod")
    assert container(after) == container(before)


# -- the API server


def test_a_delete_that_the_watch_missed_and_a_history_that_is_gone(lab: PodLab) -> None:
    lab.run("gone", "counter", container=lab.own())
    lab.run("stays", "counter", "--rate", "50")
    board = assigned(lab.wait_for_ready("gone"))
    before = lab.wait_for_ready("stays")
    before_log = lab.gateway.log()
    os.kill(lab.gateway.process.pid, signal.SIGSTOP)
    try:
        lab.control_plane.restart("kube-apiserver")  # the watch is cut before the delete: nothing of it is on the way
        lab.kubectl("delete", "pod", "gone", "--force", "--grace-period=0")
        lab.control_plane.compact()
        lab.control_plane.restart("kube-apiserver")
    finally:
        os.kill(lab.gateway.process.pid, signal.SIGCONT)

    # The board may be free before: a status that is written meanwhile is answered with 404.
    lab.wait(lambda: WATCH_IS_TOO_OLD in lab.gateway.log()[len(before_log) :], "the 410", timeout_s=60)
    lab.wait(lambda: slots_used(lab, board) == 0, "the board of the pod that is gone to be free")
    assert container(lab.wait_for_ready("stays")) == container(before)
    lab.run("next", "hello", container=lab.own(), metadata=pinned(board))
    lab.wait_for_ready("next")


@pytest.mark.timeout(300)
def test_pods_go_on_while_the_api_server_is_away_and_their_ends_are_told_afterwards(lab: PodLab) -> None:
    lab.run("job", "counter", "--rate", "100", "--count", "300", restartPolicy="Never")
    lab.run("loop", "counter", "--rate", "100")
    lab.run("crash", "exit", "1")
    lab.run("reset", "counter", "--rate", "100", container=lab.own())
    lab.wait_for_pod("job", is_running)
    before = lab.wait_for_ready("loop")
    board = assigned(lab.wait_for_ready("reset"))
    lab.wait_for_pod("crash", lambda pod: waiting_reason(pod) == "CrashLoopBackOff")
    lab.control_plane.kill("kube-apiserver")
    gone = time.monotonic()
    try:
        lab.wait(lambda: lines_of(lab, "job") == 300, "the job's last line in the gateway")
        lab.boards.reset(lab.number_of(board))
        lab.wait(lambda: time.monotonic() - gone > OUTAGE_S, "the end of the outage", timeout_s=2 * OUTAGE_S)
    finally:
        lab.control_plane.restart("kube-apiserver")
    try:
        assert_told_after_the_outage(lab, before)
    finally:
        for patient in ("kube-controller-manager", "kube-scheduler"):
            lab.control_plane.restart(patient)  # after such a time they look again only after up to a minute


def assert_told_after_the_outage(lab: PodLab, before: dict[str, Any]) -> None:
    done = lab.wait_for_phase("job", "Succeeded")
    assert terminated(done)["exitCode"] == 0
    assert_counted(lab.kubectl("logs", "job").splitlines(), first=1)
    assert container(lab.wait_for_ready("loop")) == container(before)
    lab.wait(lambda: has_counted(lab, "loop"), "the log of the pod that goes on")
    crashed = lab.wait_for_pod("crash", lambda pod: container(pod)["restartCount"] >= 3)  # after 10 and 20 more seconds
    assert crashed["status"]["phase"] == "Running"
    restarted = lab.wait_for_pod("reset", lambda pod: container(pod)["restartCount"] == 1 and is_ready(pod))
    assert container(restarted)["lastState"]["terminated"]["reason"] == "DeviceRebooted"
    started = datetime.fromisoformat(container(restarted)["state"]["running"]["startedAt"].replace("Z", "+00:00"))
    assert time.time() - started.timestamp() > OUTAGE_S / 2  # not when the API server was back
    lab.wait_for_node(lambda node: condition(node, "Ready").get("status") == "True" and not conditions_as_taints(node))


def conditions_as_taints(node: dict[str, Any]) -> list[str]:
    return [taint["key"] for taint in node["spec"]["taints"] if taint["key"].startswith("node.kubernetes.io/")]


def lines_of(lab: PodLab, pod: str) -> int:
    """As the gateway itself tells it, without the cluster."""
    return len(lab.gateway.cli("logs", "-n", lab.namespace, pod, check=False).splitlines())


def has_counted(lab: PodLab, pod: str) -> bool:
    try:
        lines = lab.kubectl("logs", pod).splitlines()
    except KubectlFailed:
        return False
    assert_counted(lines, first=1)
    return len(lines) > 300


def test_ten_idle_pods_cost_no_status_write(lab: PodLab) -> None:
    names = [f"pod-{number}" for number in range(10)]
    for name in names:
        lab.run(name, "counter", "--rate", "5")
    for name in names:
        lab.wait_for_ready(name)
    lab.run("waits", "nginx")
    lab.wait(lambda: "ErrImageNeverPull" in lab.event_reasons("waits"), "a pod that waits")
    lab.wait(lambda: all("Started" in lab.event_reasons(name) for name in names), "the events")
    seen = len(writes_of(lab))
    leases = [write for write in writes_of(lab) if write[1] == "leases"]
    lab.wait(lambda: len([write for write in writes_of(lab) if write[1] == "leases"]) > len(leases), "the lease to be renewed")
    assert [write for write in writes_of(lab)[seen:] if write[1] != "leases"] == []


def writes_of(lab: PodLab) -> list[tuple[str, str, str]]:
    """What the gateway changed in the cluster, by the audit log."""
    plane: ControlPlane = lab.control_plane
    found = []
    for event in plane.audit_events(f"system:node:{lab.node}"):
        what = event.get("objectRef", {})
        if event["verb"] in ("create", "patch", "update", "delete") and what.get("resource") != "subjectaccessreviews":
            found.append((event["verb"], str(what.get("resource")), str(what.get("name", ""))))
    return found


def test_everything_is_as_before_after_all_this(lab: PodLab) -> None:
    lab.run("pod", "hello", container=lab.own())
    assert is_ready(lab.wait_for_ready("pod"))
    assert "Traceback" not in lab.gateway.log()

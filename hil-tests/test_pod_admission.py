"""What a node refuses, and how: real rejections fail a pod, what a template cannot have waits, and no owner makes pods without end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from control_plane import ControlPlane
from lab import Lab, condition, container, waiting_reason
from pod_lab import OWN, PodLab, is_ready, lab, pod_lab, terminated
from workbench import Workbench

__all__ = ["lab", "pod_lab"]  # fixtures

EXAMPLES: Final = Path(__file__).resolve().parents[1] / "examples"
PROBE: Final = {"exec": {"command": ["true"]}}
SIDECAR: Final = {"name": "beside", "image": "hello", "restartPolicy": "Always"}
TOLERATIONS: Final = [{"operator": "Exists"}]


def wait_for_failed(lab: Lab, name: str, reason: str) -> dict[str, Any]:
    pod = lab.wait_for_phase(name, "Failed")
    assert pod["status"]["reason"] == reason
    lab.wait(lambda: reason in lab.event_reasons(name), f"the event {reason}")
    return pod


def out_of(resource: str, *, requested: int, used: int, capacity: int) -> str:
    return f"Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"


# -- pods that chose this node themselves


def test_a_pod_beyond_the_last_board_is_out_of_it(lab: PodLab) -> None:
    names = [f"pod-{number}" for number in range(len(OWN))]
    for name in names:
        lab.run(name, "hello", nodeName=lab.node, container=lab.own())
    for name in names:
        lab.wait_for_ready(name)
    lab.run("late", "hello", nodeName=lab.node, container=lab.own())
    pod = wait_for_failed(lab, "late", f"OutOf{lab.own_resource}")
    assert pod["status"]["message"] == out_of(lab.own_resource, requested=1, used=3, capacity=3)
    assert all(is_ready(pod) for pod in lab.pods() if pod["metadata"]["name"] in names)


def test_a_pod_that_finds_boards_for_some_of_its_containers_starts_none(lab: PodLab) -> None:
    lab.run("there", "hello", nodeName=lab.node, container=lab.own())
    lab.wait_for_ready("there")
    pod = lab.pod_manifest("wide", "hello", nodeName=lab.node, container=lab.own())
    pod["spec"]["containers"] = [{**pod["spec"]["containers"][0], "name": name} for name in ("a", "b", "c")]
    lab.kubectl("create", "-f", "-", stdin=pod)
    pod = wait_for_failed(lab, "wide", f"OutOf{lab.own_resource}")
    assert pod["status"]["message"] == out_of(lab.own_resource, requested=3, used=1, capacity=3)
    assert "Started" not in lab.event_reasons("wide")


def test_a_pod_beyond_the_nodes_own_resources_is_out_of_them(control_plane: ControlPlane, workbench: Workbench, namespace: str) -> None:
    lab = Lab(control_plane, workbench, namespace)
    lab.set_up(slots=8, node={"name": lab.node, "capacity": {"cpu": "2", "memory": "1Gi", "pods": "4"}})

    def ask(name: str, image: str = "hello", **requests: str) -> None:
        container = {"resources": {"requests": requests}}
        lab.run(name, image, nodeName=lab.node, restartPolicy="Never", container=container)

    ask("ended", "exit", cpu="2", memory="1Gi")
    lab.wait_for_phase("ended", "Succeeded")
    ask("there", cpu="1500m", memory="1000Mi")
    lab.wait_for_ready("there")  # what has ended holds nothing
    late: list[tuple[str, dict[str, str], tuple[int, int, int]]] = [
        ("cpu", {"cpu": "501m"}, (501, 1500, 2000)),
        ("memory", {"cpu": "1m", "memory": "25Mi"}, (25 << 20, 1000 << 20, 1 << 30)),
        ("ephemeral-storage", {"ephemeral-storage": "1k"}, (1000, 0, 0)),
    ]
    for resource, requests, (requested, used, capacity) in late:
        ask(f"late-{resource}", **requests)
        pod = wait_for_failed(lab, f"late-{resource}", f"OutOf{resource}")
        assert pod["status"]["message"] == out_of(resource, requested=requested, used=used, capacity=capacity)
    for name in ("b", "c", "d"):
        ask(name, cpu="100m")
        lab.wait_for_ready(name)  # what was rejected holds nothing
    ask("late-pods")
    pod = wait_for_failed(lab, "late-pods", "OutOfpods")
    assert pod["status"]["message"] == out_of("pods", requested=1, used=4, capacity=4)

    lab.gateway.restart()
    ask("late-again")
    wait_for_failed(lab, "late-again", "OutOfpods")
    lab.kubectl("delete", "pod", "b", "--grace-period=1")
    ask("in-time")
    lab.wait_for_ready("in-time")
    assert lab.refused_requests() == []


def test_a_pod_that_wants_another_node_is_rejected(lab: PodLab) -> None:
    lab.run("selector", "hello", nodeName=lab.node, nodeSelector={"bench": "right"})
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [lab.node]}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    lab.run("affinity", "hello", nodeName=lab.node, affinity={"nodeAffinity": required})
    lab.run("windows", "hello", nodeName=lab.node, os={"name": "windows"})
    for name in ("selector", "affinity"):
        pod = wait_for_failed(lab, name, "NodeAffinity")
        assert pod["status"]["message"] == "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    wait_for_failed(lab, "windows", "PodOSNotSupported")


def test_a_node_that_evicts_takes_no_new_pod(lab: PodLab) -> None:
    lab.run("there", "hello", container=lab.own(), tolerations=[*TOLERATIONS])
    lab.wait_for_ready("there")
    lab.kubectl("taint", "node", lab.node, "broken=yes:NoExecute")
    try:
        lab.wait_for_node(lambda node: any(taint["key"] == "broken" for taint in node["spec"]["taints"]))
        lab.run("late", "hello", nodeName=lab.node)
        lab.wait(lambda: (pod := lab.pod("late")) is None or pod["status"]["phase"] == "Failed", "an end of the pod that came late")
        assert is_ready(lab.pod("there") or {})
    finally:
        lab.kubectl("taint", "node", lab.node, "broken-")


# -- what a template cannot have


@pytest.mark.parametrize(
    ("where", "fields", "path"),
    [
        ("pod", {"hostNetwork": True}, "spec.hostNetwork"),
        ("pod", {"shareProcessNamespace": True}, "spec.shareProcessNamespace"),
        ("pod", {"volumes": [{"name": "data", "hostPath": {"path": "/data"}}]}, "spec.volumes[0].hostPath"),
        ("pod", {"initContainers": [SIDECAR]}, "spec.initContainers[0].restartPolicy"),
        ("container", {"livenessProbe": PROBE}, "spec.containers[0].livenessProbe"),
        ("container", {"readinessProbe": PROBE}, "spec.containers[0].readinessProbe"),
        ("container", {"startupProbe": PROBE}, "spec.containers[0].startupProbe"),
        ("container", {"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}, "spec.containers[0].lifecycle"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_a_refused_field_waits_with_its_path(lab: PodLab, where: str, fields: dict[str, Any], path: str) -> None:
    lab.run("pod", "hello", **(fields if where == "pod" else {"container": fields}))
    pod = lab.wait_for_pod("pod", refusals)
    assert f"({path})" in refusals(pod)[0]
    assert pod["status"]["phase"] == "Pending"
    lab.wait(lambda: "Failed" in lab.event_reasons("pod"), "the event")
    assert "Started" not in lab.event_reasons("pod")


def test_a_board_without_directories_refuses_a_working_directory(lab: PodLab) -> None:
    lab.run("pod", "hello", container={"workingDir": "/home"})
    pod = lab.wait_for_pod("pod", refusals)
    assert "workingDir /home: a device that speaks frames has no directories" in refusals(pod)[0]
    assert pod["status"]["phase"] == "Pending"


def refusals(pod: dict[str, Any]) -> list[str]:
    """What the containers say that wait with CreateContainerConfigError, init containers first."""
    statuses = (*pod["status"].get("initContainerStatuses", ()), *pod["status"].get("containerStatuses", ()))
    waiting = [status.get("state", {}).get("waiting", {}) for status in statuses]
    return [found["message"] for found in waiting if found.get("reason") == "CreateContainerConfigError"]


def test_a_refused_field_of_one_container_keeps_the_others_from_starting(lab: PodLab) -> None:
    init = {"name": "init", "image": "echo", "args": ["init"]}
    other = {"name": "other", "image": "hello", "livenessProbe": PROBE}
    lab.run("pod", "hello", initContainers=[init], containers=[{"name": "main", "image": "hello"}, other])
    pod = lab.wait_for_pod("pod", refusals)
    assert "(spec.containers[1].livenessProbe)" in refusals(pod)[0]
    assert pod["status"]["phase"] == "Pending"
    assert "Started" not in lab.event_reasons("pod")


def test_ignored_fields_do_no_harm(lab: PodLab) -> None:
    ports = [{"containerPort": 80}]
    security = {"runAsNonRoot": True, "runAsUser": 1000}
    ignored = {
        "ports": ports,
        "imagePullPolicy": "Always",
        "securityContext": security,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    lab.run(
        "pod",
        "hello",
        container=ignored,
        dnsPolicy="None",
        dnsConfig={"nameservers": ["192.0.2.53"]},
        hostAliases=[{"ip": "192.0.2.1", "hostnames": ["desk"]}],
        securityContext={"fsGroup": 2000},
        imagePullSecrets=[{"name": "none"}],
    )
    lab.wait_for_ready("pod")


def test_a_board_that_is_not_there_is_named(lab: PodLab) -> None:
    lab.run("pod", "hello", container=lab.own(), metadata={"annotations": {"wirelet.dev/device": "rig-9"}})
    pod = lab.wait_for_pod("pod", lambda pod: waiting_reason(pod) == "CreateContainerConfigError")
    assert "'rig-9'" in container(pod)["state"]["waiting"]["message"]
    assert "rig-2" in container(pod)["state"]["waiting"]["message"]


def test_a_pod_without_a_request_gets_no_exclusive_board(lab: PodLab) -> None:
    lab.run("pod", "hello", metadata={"annotations": {"wirelet.dev/device": OWN[0]}})
    pod = lab.wait_for_pod("pod", lambda pod: waiting_reason(pod) == "CreateContainerConfigError")
    assert f"request one of: {lab.own_resource}" in container(pod)["state"]["waiting"]["message"]


# -- owners


def template(lab: PodLab, image: str, *args: str, **spec: Any) -> dict[str, Any]:
    pod = lab.pod_manifest("unused", image, *args, **spec)
    return {"metadata": {"labels": {"app": "x"}}, "spec": pod["spec"]}


def owner(kind: str, name: str, pods: dict[str, Any], **spec: Any) -> dict[str, Any]:
    pods["metadata"]["labels"] = {"app": name}
    selector = {"matchLabels": {"app": name}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": {"selector": selector, "template": pods, **spec}}


def test_owners_of_pods_that_cannot_run_here_do_not_make_pods_without_end(lab: PodLab) -> None:
    everywhere: dict[str, Any] = {"nodeSelector": {"kubernetes.io/hostname": lab.node}, "tolerations": TOLERATIONS}
    missing = {"envFrom": [{"configMapRef": {"name": "missing"}}]}
    made = [
        owner("Deployment", "volume", template(lab, "hello", volumes=[{"name": "data", "emptyDir": {}}])),
        owner("Deployment", "image", template(lab, "nginx")),
        owner("Deployment", "config", template(lab, "hello", container=missing)),
        owner("Deployment", "elsewhere", template(lab, "hello", nodeName=lab.node, nodeSelector={"bench": "right"})),
        owner("DaemonSet", "proxy", template(lab, "kube-proxy", hostNetwork=True, **everywhere)),
        owner("DaemonSet", "agent", template(lab, "node-exporter", **everywhere)),
        owner("DaemonSet", "wanted", template(lab, "hello", **everywhere)),
    ]
    lab.kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": made})
    begun = time.monotonic()
    lab.wait(lambda: any(is_ready(pod) for pod in pods_of(lab, "wanted")), "the DaemonSet that this node can run")
    lab.wait(lambda: "NodeAffinity" in reasons_of(lab, "elsewhere"), "a rejection")
    lab.wait(lambda: time.monotonic() - begun > 30, "half a minute", timeout_s=60)

    for name in ("volume", "image", "config"):
        (pod,) = pods_of(lab, name)
        assert pod["status"]["phase"] == "Pending"
    assert len(pods_of(lab, "elsewhere")) <= 3
    for name in ("proxy", "agent"):
        assert len(pods_of(lab, name)) <= 1
        assert 1 <= pods_created(lab, name) <= 4  # its controller replaces a failed pod, and waits longer each time too
    held = json.loads(lab.gateway.cli("get", "devices", "-o", "json"))["items"]
    assert sum(row["slots"]["used"] for row in held) == 1


def pods_of(lab: PodLab, name: str) -> list[dict[str, Any]]:
    return [pod for pod in lab.pods() if pod["metadata"].get("labels", {}).get("app") == name]


def reasons_of(lab: PodLab, name: str) -> set[str]:
    """Why an owner's pods have failed."""
    return {pod["status"].get("reason", "") for pod in pods_of(lab, name) if pod["status"]["phase"] == "Failed"}


def pods_created(lab: PodLab, name: str) -> int:
    """How often an owner made a pod, as the audit log says."""
    made = [
        event
        for event in lab.control_plane.audit_events()
        if event["verb"] == "create" and event.get("objectRef", {}).get("resource") == "pods"
    ]
    named = [event for event in made if event["objectRef"].get("namespace") == lab.namespace]
    return sum(1 for event in named if event["objectRef"].get("name", "").startswith(f"{name}-"))


def test_a_new_image_is_rolled_out_on_exclusive_boards(lab: PodLab) -> None:
    text = (EXAMPLES / "deployment.yaml").read_text().replace("wirelet.dev/sim", lab.own_resource)
    deployment = yaml.safe_load(text)
    deployment["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": lab.node}
    replicas = deployment["spec"]["replicas"]
    assert replicas == len(OWN)  # every board is taken: a rolling update could not begin
    lab.kubectl("create", "-f", "-", stdin=deployment)
    lab.kubectl("rollout", "status", "deployment/blinky", "--timeout=50s")
    before = {pod["metadata"]["uid"] for pod in pods_of(lab, "blinky")}

    lab.kubectl("set", "image", "deployment/blinky", "blinky=hello")
    lab.kubectl("rollout", "status", "deployment/blinky", "--timeout=50s")
    after = pods_of(lab, "blinky")
    assert len(after) == replicas
    assert not before & {pod["metadata"]["uid"] for pod in after}
    boards = {container(pod, "blinky")["allocatedResourcesStatus"][0]["resources"][0]["resourceID"] for pod in after}
    assert boards == set(OWN)
    assert {container(pod, "blinky")["image"] for pod in after} == {"hello"}


def test_a_job_runs_to_its_end_on_boards_of_its_own(lab: PodLab) -> None:
    pods = template(lab, "echo", "measured", restartPolicy="Never", container=lab.own())
    spec = {"completions": 3, "parallelism": 3, "template": pods}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "measure"}, "spec": spec}
    lab.kubectl("create", "-f", "-", stdin=job)
    lab.kubectl("wait", "--for=condition=complete", "job/measure", "--timeout=50s")
    done = [pod for pod in lab.pods() if pod["metadata"].get("labels", {}).get("job-name") == "measure"]
    assert [terminated(pod)["exitCode"] for pod in done] == [0, 0, 0]
    lab.kubectl("delete", "job", "measure", "--wait=false")
    assert condition(done[0], "Ready")["reason"] == "PodCompleted"

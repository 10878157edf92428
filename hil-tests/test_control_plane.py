"""The control plane of the tests is a real one, with a real kubelet's narrow rights."""

from __future__ import annotations

import json
from typing import Any

import pytest
from control_plane import ControlPlane, KubectlFailed


def node(name: str, **status: Any) -> str:
    metadata = {"name": name, "labels": {"kubernetes.io/hostname": name}}
    return json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status})


def pod(name: str, node_name: str | None = None) -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [{"name": "main", "image": "hello"}], "tolerations": [{"operator": "Exists"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec | ({"nodeName": node_name} if node_name else {})}


def test_the_api_server_answers_kubectl(control_plane: ControlPlane) -> None:
    assert json.loads(control_plane.kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"].startswith("v1.")


def test_a_node_identity_registers_its_own_node_and_no_other(control_plane: ControlPlane) -> None:
    own = control_plane.node_identity("fixture-a")
    control_plane.kubectl("create", "-f", "-", input=node("fixture-a"), kubeconfig=own)

    with pytest.raises(KubectlFailed, match="is not allowed to modify node"):
        control_plane.kubectl("create", "-f", "-", input=node("fixture-b"), kubeconfig=own)

    # Node restriction: a node does not delete itself either.
    with pytest.raises(KubectlFailed, match="forbidden"):
        control_plane.kubectl("delete", "node", "fixture-a", kubeconfig=own)
    control_plane.kubectl("delete", "node", "fixture-a")


def test_a_node_reads_only_the_secrets_of_its_pods(control_plane: ControlPlane, namespace: str) -> None:
    own = control_plane.node_identity("fixture-c")
    control_plane.kubectl("-n", namespace, "create", "secret", "generic", "of-nobody", "--from-literal=key=value")
    with pytest.raises(KubectlFailed, match="no relationship found"):
        control_plane.kubectl("-n", namespace, "get", "secret", "of-nobody", kubeconfig=own)


def test_pods_are_admitted_and_get_the_automatic_token_volume(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("-n", namespace, "create", "-f", "-", input=json.dumps(pod("p", "nowhere")))
    made = json.loads(control_plane.kubectl("-n", namespace, "get", "pod", "p", "-o", "json"))
    assert made["spec"]["volumes"][0]["name"].startswith("kube-api-access-")


def test_the_scheduler_binds_to_a_node_that_is_ready(control_plane: ControlPlane, namespace: str) -> None:
    own = control_plane.node_identity("fixture-d")
    capacity = {"cpu": "1", "memory": "1Gi", "pods": "10"}
    ready = {"type": "Ready", "status": "True", "reason": "Test", "message": ""}
    registration = node("fixture-d", capacity=capacity, allocatable=capacity, conditions=[ready])
    control_plane.kubectl("create", "-f", "-", input=registration, kubeconfig=own)
    control_plane.kubectl("-n", namespace, "create", "-f", "-", input=json.dumps(pod("scheduled")))
    control_plane.kubectl("-n", namespace, "wait", "pod/scheduled", "--for=condition=PodScheduled", "--timeout=30s")
    control_plane.kubectl("-n", namespace, "delete", "pod", "scheduled", "--force", "--grace-period=0")
    control_plane.kubectl("delete", "node", "fixture-d")


def test_the_audit_log_counts_writes_and_refusals(control_plane: ControlPlane, namespace: str) -> None:
    before = len(control_plane.audit_events("system:node:fixture-e"))
    own = control_plane.node_identity("fixture-e")
    with pytest.raises(KubectlFailed):
        control_plane.kubectl("-n", namespace, "get", "secrets", kubeconfig=own)
    refused = control_plane.audit_events("system:node:fixture-e")[before:]
    assert [event["responseStatus"]["code"] for event in refused if event["objectRef"]["resource"] == "secrets"] == [403]


def test_an_old_resource_version_is_gone_after_compaction(control_plane: ControlPlane, namespace: str) -> None:
    _, old = control_plane.request("GET", "/api/v1/pods")
    for number in range(3):
        control_plane.kubectl("-n", namespace, "create", "configmap", f"c{number}")
    control_plane.compact()
    control_plane.restart("kube-apiserver")
    status, answer = control_plane.request(
        "GET", f"/api/v1/pods?watch=1&timeoutSeconds=1&resourceVersion={old['metadata']['resourceVersion']}"
    )
    assert status == 410 or answer["object"]["code"] == 410


def test_a_restarted_api_server_still_knows_everything(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.restart("kube-apiserver")
    assert control_plane.kubectl("get", "namespace", namespace, "-o", "name").strip() == f"namespace/{namespace}"

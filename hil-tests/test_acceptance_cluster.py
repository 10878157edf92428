"""What a person on a cluster may expect of single sentences of the documentation, tried with kubectl against real parts."""

from __future__ import annotations

import json

from lab import Lab


def test_a_gateway_of_one_namespace_leaves_other_namespaces_alone(lab: Lab) -> None:
    cluster = {"kubeconfig": str(lab.control_plane.node_identity(lab.node)), "namespace": lab.namespace}
    lab.set_up(cluster=cluster)
    foreign = lab.pod_manifest("foreign", "hello")
    foreign["metadata"]["namespace"] = "default"
    foreign["spec"]["nodeName"] = lab.node
    lab.control_plane.kubectl("create", "-f", "-", input=json.dumps(foreign))
    try:
        lab.run("own", "hello")
        lab.wait_for_phase("own", "Running")
        _, found = lab.control_plane.request("GET", "/api/v1/namespaces/default/pods/foreign")
        assert found["status"]["phase"] == "Pending"
        assert "own" in lab.gateway.cli("get", "pods", "-A")
        assert "foreign" not in lab.gateway.cli("get", "pods", "-A")
    finally:
        lab.control_plane.kubectl("-n", "default", "delete", "pod", "foreign", "--force", "--grace-period=0")

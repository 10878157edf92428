"""Admission says what the kubelet's would: pkg/kubelet/lifecycle/predicate.go and the scheduler's node affinity."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.pods.admission import admit
from gateway.pods.reservations import Reservations
from gateway.pods.seams import AdmissionRejected, JsonObject
from gateway.pods.view import PodView
from gateway.tests.fakes_pods import pod

NODE: JsonObject = {
    "metadata": {"name": "pi", "labels": {"kubernetes.io/os": "linux", "kubernetes.io/hostname": "pi", "bench": "left", "floor": "3"}},
    "spec": {"taints": [{"key": "broken", "value": "yes", "effect": "NoExecute"}, {"key": "ours", "effect": "NoSchedule"}]},
}
TOLERANT = [{"key": "broken", "operator": "Exists"}]


def affinity(*terms: JsonObject) -> JsonObject:
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}}


def label(key: str, operator: str, *values: str) -> JsonObject:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def on_name(operator: str, *values: str) -> JsonObject:
    return {"matchFields": [{"key": "metadata.name", "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"os": {"name": "linux"}},
        {"nodeSelector": {"bench": "left", "kubernetes.io/os": "linux"}},
        {"affinity": {"nodeAffinity": {}}},
        {"affinity": affinity(label("bench", "In", "left", "right"))},
        {"affinity": affinity(label("bench", "In", "right"), label("floor", "Gt", "2"))},
        {"affinity": affinity(label("floor", "Lt", "4"))},
        {"affinity": affinity(label("bench", "NotIn", "right"))},
        {"affinity": affinity(label("nothing", "NotIn", "right"))},
        {"affinity": affinity(label("bench", "Exists"))},
        {"affinity": affinity(label("nothing", "DoesNotExist"))},
        {"affinity": affinity(on_name("In", "pi"))},
    ],
)
def test_what_fits_is_admitted(spec: dict[str, Any]) -> None:
    admit(PodView(pod(**{"tolerations": TOLERANT, **spec})), NODE, Reservations())


@pytest.mark.parametrize(
    "spec",
    [
        {"nodeSelector": {"bench": "right"}},
        {"nodeSelector": {"kubernetes.io/os": "windows"}},
        {"nodeSelector": {"nothing": ""}},
        {"affinity": affinity()},
        {"affinity": affinity({})},
        {"affinity": affinity(label("bench", "In", "right"))},
        {"affinity": affinity(label("bench", "NotIn", "left"))},
        {"affinity": affinity(label("nothing", "Exists"))},
        {"affinity": affinity(label("bench", "DoesNotExist"))},
        {"affinity": affinity(label("floor", "Gt", "3"))},
        {"affinity": affinity(label("floor", "Lt", "3"))},
        {"affinity": affinity(label("bench", "Gt", "3"))},
        {"affinity": affinity(label("nothing", "Lt", "3"))},
        {"affinity": affinity(label("bench", "Resembles", "left"))},
        {"affinity": affinity({**label("bench", "Exists"), **on_name("NotIn", "pi")})},
    ],
)
def test_what_asks_for_another_node_is_rejected(spec: dict[str, Any]) -> None:
    with pytest.raises(AdmissionRejected) as rejected:
        admit(PodView(pod(**{"tolerations": TOLERANT, **spec})), NODE, Reservations())
    assert rejected.value.reason == "NodeAffinity"
    assert rejected.value.message == "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"


@pytest.mark.parametrize(
    "tolerations",
    [
        [{"operator": "Exists"}],
        [{"key": "broken", "operator": "Exists", "effect": "NoExecute"}],
        [{"key": "broken", "value": "yes"}],
        [{"key": "broken", "operator": "Equal", "value": "yes", "tolerationSeconds": 3}],
    ],
)
def test_a_tolerated_taint_admits(tolerations: list[JsonObject]) -> None:
    admit(PodView(pod(tolerations=tolerations)), NODE, Reservations())


@pytest.mark.parametrize(
    "tolerations",
    [[], [{"key": "broken", "value": "no"}], [{"key": "other", "operator": "Exists"}], [{"operator": "Exists", "effect": "NoSchedule"}]],
)
def test_a_taint_that_evicts_is_not_entered(tolerations: list[JsonObject]) -> None:
    with pytest.raises(AdmissionRejected) as rejected:
        admit(PodView(pod(tolerations=tolerations)), NODE, Reservations())
    assert rejected.value.reason == "TaintToleration"


@pytest.mark.parametrize("node", [NODE, None])
def test_another_operating_system_is_rejected_with_or_without_a_node(node: JsonObject | None) -> None:
    with pytest.raises(AdmissionRejected) as rejected:
        admit(PodView(pod(os={"name": "windows"}, tolerations=TOLERANT)), node, Reservations())
    assert rejected.value.reason == "PodOSNotSupported"
    labelled = pod(tolerations=TOLERANT)
    labelled["metadata"]["labels"] = {"kubernetes.io/os": "windows"}
    with pytest.raises(AdmissionRejected) as rejected:
        admit(PodView(labelled), node, Reservations())
    assert rejected.value.reason == "PodOSSelectorNodeLabelDoesNotMatch"


def test_where_there_is_no_node_nothing_else_is_asked() -> None:
    admit(PodView(pod(nodeSelector={"bench": "right"})), None, Reservations())


def test_what_does_not_fit_is_told_before_what_does_not_match() -> None:
    """AdmissionCheck in pkg/scheduler/eventhandlers.go: resources, then affinity; the kubelet gives the first reason."""
    full = {**NODE, "status": {"allocatable": {"pods": "0"}}}
    table: list[dict[str, Any]] = [{"nodeSelector": {"bench": "right"}}, {"tolerations": []}]
    for spec in table:
        with pytest.raises(AdmissionRejected) as rejected:
            admit(PodView(pod(**spec)), full, Reservations())
        assert rejected.value.reason == "OutOfpods"


def test_a_node_that_says_nothing_of_its_resources_is_not_asked() -> None:
    admit(PodView(pod(tolerations=TOLERANT)), {**NODE, "status": {}}, Reservations())

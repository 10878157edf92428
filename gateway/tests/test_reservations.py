"""One more pod fits on the node, or is out of something, as the kubelet counts and says it: fitsRequest in
pkg/scheduler/framework/plugins/noderesources/fit.go, InsufficientResourceError in pkg/kubelet/lifecycle/predicate.go."""

from __future__ import annotations

import pytest

from gateway.pods.reservations import Reservations
from gateway.pods.seams import AdmissionRejected, PodUid
from gateway.pods.view import PodView
from gateway.tests.fakes_pods import pod

NODE = {
    "cpu": "4",
    "memory": "1Gi",
    "pods": "3",
    "ephemeral-storage": "1M",
    "hugepages-2Mi": "4Mi",
    "example.org/dongle": "2",
    "wirelet.dev/esp32": "1",
}


def asking(name: str, **requests: str) -> PodView:
    return PodView(pod(name, containers=[{"name": "main", "image": "hello", "resources": {"requests": requests}}]))


def holding(*pods: PodView) -> Reservations:
    reservations = Reservations()
    for each in pods:
        reservations.hold(each)
    return reservations


@pytest.mark.parametrize(
    ("resource", "held", "asked", "numbers"),
    [
        ("cpu", "1500m", "3", "requested: 3000, used: 1500, capacity: 4000"),
        ("cpu", "0", "5", "requested: 5000, used: 0, capacity: 4000"),
        ("memory", "1023Mi", "2Mi", "requested: 2097152, used: 1072693248, capacity: 1073741824"),
        ("ephemeral-storage", "500k", "500001", "requested: 500001, used: 500000, capacity: 1000000"),
        ("hugepages-2Mi", "2Mi", "4Mi", "requested: 4194304, used: 2097152, capacity: 4194304"),
        ("hugepages-1Gi", "0", "1Gi", "requested: 1073741824, used: 0, capacity: 0"),
        ("example.org/dongle", "2", "1", "requested: 1, used: 2, capacity: 2"),
    ],
)
def test_the_node_is_out_of_what_does_not_fit(resource: str, held: str, asked: str, numbers: str) -> None:
    with pytest.raises(AdmissionRejected) as rejected:
        holding(asking("there", **{resource: held})).check(asking("late", **{resource: asked}), NODE)
    assert rejected.value.reason == f"OutOf{resource}"
    assert rejected.value.message == f"Node didn't have enough resource: {resource}, {numbers}"


@pytest.mark.parametrize(
    ("resource", "held", "asked"),
    [
        pytest.param("cpu", "1", "3", id="to the last bit"),
        pytest.param("cpu", "9", "0", id="nothing asked of what is overdrawn"),
        pytest.param("example.org/fan", "0", "7", id="an extended resource that the node does not have"),
        pytest.param("wirelet.dev/esp32", "1", "1", id="slots of devices are counted elsewhere"),
    ],
)
def test_what_fits_is_let_in(resource: str, held: str, asked: str) -> None:
    holding(asking("there", **{resource: held})).check(asking("late", **{resource: asked}), NODE)


def test_a_pod_more_than_the_node_takes_is_out_of_pods() -> None:
    held = holding(*(asking(f"p{number}") for number in range(3)))
    with pytest.raises(AdmissionRejected) as rejected:
        held.check(asking("late"), NODE)
    assert rejected.value.reason == "OutOfpods"
    assert rejected.value.message == "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"


def test_of_several_reasons_the_kubelets_first_is_told() -> None:
    for first, second in (("cpu", "memory"), ("ephemeral-storage", "example.org/dongle")):
        with pytest.raises(AdmissionRejected) as rejected:
            Reservations().check(asking("late", **{second: "9Gi", first: "9Gi"}), NODE)
        assert rejected.value.reason == f"OutOf{first}"


def test_what_is_released_is_free_and_what_is_held_twice_counts_once() -> None:
    first, second = asking("first", cpu="3"), asking("second", cpu="3")
    held = holding(first, first)
    held.check(first, NODE)  # admitted once
    held.release(first.uid)
    held.release(first.uid)
    held.release(PodUid("nobody"))
    held.check(second, NODE)
    held.hold(second)
    with pytest.raises(AdmissionRejected):
        held.check(first, NODE)

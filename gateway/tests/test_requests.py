"""A pod needs what the scheduler and the kubelet would count: PodRequests in k8s.io/component-helpers/resource/helpers.go."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.pods.requests import requests_of
from gateway.pods.view import PodView
from gateway.tests.fakes_pods import pod


def container(name: str, restart: str | None = None, **requests: str) -> dict[str, Any]:
    policy = {} if restart is None else {"restartPolicy": restart}
    return {"name": name, "image": "hello", "resources": {"requests": requests}, **policy}


def needs(*containers: dict[str, Any], inits: tuple[dict[str, Any], ...] = (), **spec: Any) -> dict[str, int]:
    return dict(requests_of(PodView(pod(containers=list(containers), initContainers=list(inits), **spec))))


@pytest.mark.parametrize(
    ("written", "counted"),
    [
        ({"cpu": "1"}, {"cpu": 1000}),
        ({"cpu": "250m"}, {"cpu": 250}),
        ({"cpu": "0.0001"}, {"cpu": 1}),
        ({"memory": "64Mi"}, {"memory": 64 * 1024 * 1024}),
        ({"memory": "1500m"}, {"memory": 2}),
        ({"ephemeral-storage": "1k", "hugepages-2Mi": "4Mi"}, {"ephemeral-storage": 1000, "hugepages-2Mi": 4 * 1024 * 1024}),
        ({"cpu": "0"}, {}),
        ({"cpu": "lots"}, {}),
        ({}, {}),
    ],
)
def test_a_quantity_counts_in_whole_units_rounded_up(written: dict[str, str], counted: dict[str, int]) -> None:
    assert {name: amount for name, amount in needs(container("a", **written)).items() if amount} == counted


def test_limits_alone_are_no_request() -> None:
    assert needs({"name": "a", "resources": {"limits": {"cpu": "1"}}}) == {}


def test_regular_containers_are_summed() -> None:
    assert needs(container("a", cpu="1", memory="1Ki"), container("b", cpu="500m")) == {"cpu": 1500, "memory": 1024}


@pytest.mark.parametrize(
    ("inits", "cpu"),
    [
        pytest.param([("1", None)], 2000, id="a small init container hides behind the others"),
        pytest.param([("3", None)], 3000, id="a large one counts instead of them"),
        pytest.param([("3", None), ("2", None)], 3000, id="they run one after another"),
        pytest.param([("1", "Always")], 3000, id="a sidecar runs beside them"),
        pytest.param([("1", "Always"), ("3", None)], 4000, id="an init container runs beside the sidecars before it"),
        pytest.param([("3", None), ("1", "Always")], 3000, id="and not beside those after it"),
        pytest.param([("1", "Always"), ("1", "Always"), ("2", None)], 4000, id="sidecars add up"),
        pytest.param([("3", "OnFailure")], 3000, id="only Always makes a sidecar"),
    ],
)
def test_init_containers_count_at_the_busiest_moment(inits: list[tuple[str, str | None]], cpu: int) -> None:
    started = tuple(container(f"i{number}", restart, cpu=size) for number, (size, restart) in enumerate(inits))
    assert needs(container("a", cpu="1500m"), container("b", cpu="500m"), inits=started) == {"cpu": cpu}


def test_requests_of_the_pod_as_a_whole_stand_for_those_of_its_containers() -> None:
    whole = {"requests": {"cpu": "3", "hugepages-2Mi": "2Mi", "ephemeral-storage": "9"}}
    counted = needs(container("a", cpu="1", memory="5"), resources=whole)
    assert counted == {"cpu": 3000, "memory": 5, "hugepages-2Mi": 2 * 1024 * 1024}


def test_the_overhead_comes_on_top() -> None:
    assert needs(container("a", cpu="1"), overhead={"cpu": "100m", "memory": "8"}) == {"cpu": 1100, "memory": 8}

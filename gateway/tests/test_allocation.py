"""A container gets the device its pod asks for, or one clear reason why not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gateway.devices.allocation import DeviceView, choose
from gateway.pods.seams import AdmissionRejected, Claims, StartRefused


def device(name: str, class_name: str = "esp32", **changes: object) -> DeviceView:
    fields: dict[str, object] = {"shared": False, "slots": 1, "used": 0, "ending": 0, "is_ready": True, "is_dirty": False}
    return DeviceView(name=name, class_name=class_name, **(fields | changes))  # type: ignore[arg-type]  # a table of fields


def claims(request: Mapping[str, int] | None = None, annotation: str | None = None) -> Claims:
    return Claims(containers={"main": request or {}, "side": {}}, device=annotation)


A = device("board-a")
B = device("board-b")
SIM = device("sim-1", "sim", shared=True, slots=4, used=1)


@pytest.mark.parametrize(
    ("devices", "asked", "expected"),
    [
        pytest.param([B, A], claims({"esp32": 1}), "board-a", id="equal boards by name"),
        pytest.param([device("board-a", used=1), B], claims({"esp32": 1}), "board-b", id="a taken board is passed over"),
        pytest.param([device("board-a", is_ready=False), B], claims({"esp32": 1}), "board-b", id="a connected board comes first"),
        pytest.param([device("board-a", is_ready=False)], claims({"esp32": 1}), "board-a", id="one that is away is better than none"),
        pytest.param([device("board-a", is_dirty=True), B], claims({"esp32": 1}), "board-b", id="never a dirty one"),
        pytest.param([A, B], claims({"esp32": 1}, "board-b"), "board-b", id="the annotation narrows"),
        pytest.param([A, SIM], claims(), "sim-1", id="no request: a shared class"),
        pytest.param([A, SIM], claims({"esp32": 0}), "sim-1", id="a request of none is no request"),
    ],
)
def test_a_device_is_chosen(devices: list[DeviceView], asked: Claims, expected: str) -> None:
    assert choose(devices, asked, "main", {}) == expected


@pytest.mark.parametrize(
    ("devices", "asked", "reason", "words"),
    [
        pytest.param([A], claims({"esp32": 2}), "CreateContainerConfigError", "cannot have wirelet.dev/esp32: 2", id="two at once"),
        pytest.param(
            [A, SIM], claims({"sbc": 1}), "CreateContainerConfigError", "is of class sbc; there are: esp32, sim", id="unknown class"
        ),
        pytest.param(
            [A, SIM],
            claims({"sim": 1}, "board-a"),
            "CreateContainerConfigError",
            "device board-a, which the pod selects, is of class esp32, not sim",
            id="the device selected has another class",
        ),
        pytest.param([A], claims({"esp32": 1}, "board-z"), "CreateContainerConfigError", "there are: board-a", id="unknown device"),
        pytest.param([A], claims(), "CreateContainerConfigError", "request one of: wirelet.dev/esp32", id="nothing is shared"),
        pytest.param([device("s", "sim", shared=True, used=1)], claims(), "DeviceBusy", "every slot", id="shared but full"),
        pytest.param([device("a", used=1, ending=1)], claims({"esp32": 1}), "DeviceBusy", "pods that are ending", id="soon free"),
        pytest.param([device("a", is_dirty=True)], claims({"esp32": 1}), "DeviceBusy", "or dirty", id="free but dirty"),
    ],
)
def test_a_container_waits_with_a_reason(devices: list[DeviceView], asked: Claims, reason: str, words: str) -> None:
    with pytest.raises(StartRefused) as caught:
        choose(devices, asked, "main", {})
    assert caught.value.reason == reason
    assert words in caught.value.message


def test_a_full_class_rejects_the_pod_as_the_kubelet_does() -> None:
    with pytest.raises(AdmissionRejected) as caught:
        choose([device("board-a", used=1), device("board-b", used=1)], claims({"esp32": 1}), "main", {})
    assert caught.value.reason == "OutOfwirelet.dev/esp32"
    assert caught.value.message == "Node didn't have enough resource: wirelet.dev/esp32, requested: 1, used: 2, capacity: 2"


TWO = Claims(containers={"init": {"esp32": 1}, "a": {"esp32": 1}, "b": {"esp32": 1}}, inits=frozenset({"init"}))


@pytest.mark.parametrize("container", ["init", "a"])
def test_a_pod_gets_slots_for_all_of_its_containers_or_none(container: str) -> None:
    assert choose([A, B], TWO, container, {}) == "board-a"
    with pytest.raises(AdmissionRejected) as caught:
        choose([A, device("board-b", used=1)], TWO, container, {})
    assert caught.value.message == "Node didn't have enough resource: wirelet.dev/esp32, requested: 2, used: 1, capacity: 2"
    with pytest.raises(StartRefused, match="pods that are ending"):
        choose([A, device("board-b", used=1, ending=1)], TWO, container, {})


def test_a_container_beside_one_that_has_its_slot_needs_only_its_own() -> None:
    assert choose([device("board-a", used=1), B], TWO, "b", {"a": "board-a"}) == "board-b"


def test_a_container_without_a_request_runs_beside_its_pod() -> None:
    roomy = device("board-b", slots=2, used=1)
    assert choose([A, roomy, SIM], claims({"esp32": 1}), "side", {"main": "board-b"}) == "board-b"


def test_a_container_without_a_request_is_told_when_its_pods_device_is_full() -> None:
    with pytest.raises(StartRefused, match="has no further slot for a container without a request"):
        choose([device("board-a", used=1), SIM], claims({"esp32": 1}), "side", {"main": "board-a"})

"""A row of the patch table each: what is sent for a field of a pod's status, and what is left alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.kube.status import ASSIGNED_DEVICE, FIELDS, FieldPatch, same, status_patch

T1, T2 = "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"


def pod(status: Any = None, **requests: str) -> dict[str, Any]:
    container = {"name": "main", "resources": {"requests": requests}}
    return {"metadata": {"uid": "u", "name": "p", "namespace": "n"}, "spec": {"containers": [container]}, "status": status or {}}


def changes(known: Any, wanted: Any) -> Any:
    patch = status_patch(pod(known), wanted)
    return None if patch is None else patch["status"]


@pytest.mark.parametrize("field", [name for name, kind in FIELDS.items() if kind in (FieldPatch.VALUE, FieldPatch.CLEARED)])
def test_a_value_is_sent_when_it_differs(field: str) -> None:
    assert changes({field: "a"}, {field: "b"}) == {field: "b"}
    assert changes({field: "a"}, {field: "a"}) is None
    assert changes({}, {field: "a"}) == {field: "a"}


@pytest.mark.parametrize("field", [name for name, kind in FIELDS.items() if kind is FieldPatch.VALUE])
def test_a_value_that_is_not_wanted_stays(field: str) -> None:
    assert changes({field: "a"}, {}) is None


@pytest.mark.parametrize("field", ["reason", "message"])
def test_what_is_no_longer_said_is_cleared(field: str) -> None:
    assert FIELDS[field] is FieldPatch.CLEARED
    assert changes({field: "a"}, {}) == {field: None}


@pytest.mark.parametrize(("field", "single"), [("hostIPs", "ip"), ("podIPs", "ip")])
def test_addresses_replace_the_old_ones(field: str, single: str) -> None:
    assert changes({field: [{single: "1"}]}, {field: [{single: "2"}]}) == {field: [{"$patch": "replace"}, {single: "2"}]}
    assert changes({field: [{single: "1"}]}, {field: [{single: "1"}]}) is None


@pytest.mark.parametrize("field", ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"])
def test_container_statuses_are_sent_whole(field: str) -> None:
    one, two = {"name": "a", "ready": False}, {"name": "b", "ready": True}
    assert changes({field: [one, two]}, {field: [one, {**two, "ready": False}]}) == {field: [one, {**two, "ready": False}]}
    assert changes({field: [{**one, "image": "", "lastState": {}}]}, {field: [one]}) is None


def test_only_our_changed_conditions_are_sent() -> None:
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": T1}
    foreign = {"type": "example.com/Gate", "status": "False"}
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": T1}
    wanted = [{"type": "Ready", "status": "False", "reason": "DeviceDisconnected", "lastTransitionTime": T2}, scheduled]
    assert changes({"conditions": [foreign, ready, scheduled]}, {"conditions": wanted}) == {"conditions": [wanted[0]]}


def test_a_condition_keeps_the_time_of_its_last_change() -> None:
    known = {"type": "Ready", "status": "True", "lastTransitionTime": T1, "lastProbeTime": None}
    assert changes({"conditions": [known]}, {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": T2}]}) is None
    told = {"type": "Ready", "status": "True", "message": "m", "lastTransitionTime": T2}
    assert changes({"conditions": [known]}, {"conditions": [told]}) == {"conditions": [{**told, "lastTransitionTime": T1}]}


def test_the_reason_of_a_condition_is_taken_back() -> None:
    known = {"type": "Ready", "status": "False", "reason": "DeviceDisconnected", "lastTransitionTime": T1}
    patch = changes({"conditions": [known]}, {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": T2}]})
    assert patch == {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": T2, "reason": None}]}


def test_an_unknown_field_is_a_bug_and_not_a_guess() -> None:
    with pytest.raises(KeyError, match="resize"):
        status_patch(pod(), {"resize": "Proposed"})


def test_the_patch_carries_the_uid() -> None:
    patch = status_patch(pod(), {"phase": "Running"})
    assert patch == {"metadata": {"uid": "u"}, "status": {"phase": "Running"}}


def test_the_assigned_devices_are_on_the_pod_and_health_only_for_what_was_requested() -> None:
    health = [{"name": "wirelet.dev/esp32", "resources": [{"resourceID": "board-b"}, {"resourceID": "board-a"}]}]
    wanted = {"containerStatuses": [{"name": "main", "allocatedResourcesStatus": health}]}
    paid = status_patch(pod(**{"wirelet.dev/esp32": "1"}), wanted)
    assert paid is not None
    assert paid["metadata"]["annotations"] == {ASSIGNED_DEVICE: "board-a,board-b"}
    assert paid["status"] == wanted
    shared = status_patch(pod(), wanted)
    assert shared is not None
    assert shared["metadata"]["annotations"] == {ASSIGNED_DEVICE: "board-a,board-b"}
    assert shared["status"] == {"containerStatuses": [{"name": "main", "allocatedResourcesStatus": []}]}


@pytest.mark.parametrize(
    ("known", "wanted", "equal"),
    [
        ({"a": None}, {}, True),
        ({"a": "", "b": [], "c": {}}, {}, True),
        ({"a": False}, {}, False),
        ({"a": 0}, {}, False),
        ({"state": {"running": {"startedAt": None}}}, {"state": {"running": {}}}, True),
        ({"state": {"running": {}}}, {"state": {"waiting": {}}}, False),
        ([{"a": 1}, {}], [{"a": 1}], False),
    ],
)
def test_the_server_leaves_out_what_is_empty(known: Any, wanted: Any, equal: bool) -> None:
    assert same(known, wanted) is equal


def pruned(value: Any) -> Any:
    """What the server keeps."""
    if isinstance(value, dict):
        pairs = ((name, pruned(content)) for name, content in value.items())
        return {name: content for name, content in pairs if name in ("waiting", "running") or content not in (None, "", [], {})}
    return [pruned(item) for item in value] if isinstance(value, list | tuple) else value


FIELD_VALUES = st.recursive(
    st.sampled_from([None, "", "x", 0, 1, False]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["running", "waiting", "a", "b"]), inner, max_size=3),
    max_leaves=6,
)


@given(FIELD_VALUES, FIELD_VALUES)
def test_two_values_are_the_same_when_the_server_keeps_the_same_of_them(known: Any, wanted: Any) -> None:
    if known is None or wanted is None:
        assert same(known, wanted) is (known is wanted)
    else:
        assert same(known, wanted) is (pruned(known) == pruned(wanted))


@given(FIELD_VALUES.filter(lambda value: value is not None))
def test_what_the_server_keeps_is_the_same_as_what_it_was_sent(value: Any) -> None:
    assert same(pruned(value), value)
    assert same(value, pruned(value))

"""From facts to the Node object, and the PATCH for what differs: one row of the table each."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.node.facts import DEFAULT_TAINT, ClassSlots, HostFacts, NodeCondition, NodeFacts, Taint
from gateway.node.host import read_host
from gateway.node.status import FIELDS, HEARTBEAT_S, heartbeat_due_s, labels, metadata_patch, missing_taints, node_object, status_patch

NOW = 1_767_225_600.0
HOST = HostFacts("machine-1", "uuid-1", "boot-1", "6.1.0-rpi7", "Debian GNU/Linux 12", "arm64")
FACTS = NodeFacts("pi", "192.0.2.7", "pi.lab", 10250, HOST, {"esp32": ClassSlots(4, 3)})


def stored(facts: NodeFacts = FACTS, now: float = NOW) -> dict[str, Any]:
    """The Node as the server keeps it after its creation."""
    node: dict[str, Any] = json.loads(json.dumps(node_object(facts, now)))
    node["metadata"]["uid"] = "u"
    if not node["status"]["declaredFeatures"]:
        del node["status"]["declaredFeatures"]
    return node


def changed(node: dict[str, Any], facts: NodeFacts, now: float = NOW + 1) -> Any:
    patch = status_patch(node, facts, now)
    return None if patch is None else {name: value for name, value in patch["status"].items() if name != "conditions"}


def test_a_node_says_everything_from_the_start() -> None:
    node = node_object(FACTS, NOW)
    assert node["metadata"]["labels"] == {
        "type": "virtual-kubelet",
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "arm64",
        "kubernetes.io/hostname": "pi.lab",
        "node.kubernetes.io/instance-type": "wirelet",
    }
    assert node["spec"]["taints"] == [{"key": "virtual-kubelet.io/provider", "value": "wirelet", "effect": "NoSchedule"}]
    status = node["status"]
    assert status["capacity"] == {"cpu": "100", "memory": "100Gi", "pods": "100", "wirelet.dev/esp32": "4"}
    assert status["allocatable"]["wirelet.dev/esp32"] == "3"
    assert status["addresses"] == [{"type": "InternalIP", "address": "192.0.2.7"}, {"type": "Hostname", "address": "pi.lab"}]
    assert all(status["nodeInfo"][key] for key in status["nodeInfo"] if key != "kubeProxyVersion")
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
        "Ready": "True",
    }
    assert set(status) == set(FIELDS)


def test_no_taints_and_own_labels_are_possible() -> None:
    facts = replace(FACTS, taints=(), labels={"room": "b12", "type": "bench"})
    assert "taints" not in node_object(facts, NOW)["spec"]
    assert labels(facts)["room"] == "b12"
    assert labels(facts)["type"] == "bench"


def test_nothing_is_written_while_nothing_differs() -> None:
    assert status_patch(stored(), FACTS, NOW + 1) is None
    assert metadata_patch(stored(), FACTS) is None


def test_slots_come_and_go() -> None:
    fewer = replace(FACTS, classes={"esp32": ClassSlots(4, 2)})
    assert changed(stored(), fewer) == {"allocatable": {"wirelet.dev/esp32": "2"}}
    other = replace(FACTS, classes={"rpi": ClassSlots(1, 1)})
    gone = {"wirelet.dev/rpi": "1", "wirelet.dev/esp32": None}
    assert changed(stored(), other) == {"capacity": gone, "allocatable": gone}


def test_resources_of_others_stay_and_the_servers_spelling_is_no_difference() -> None:
    node = stored()
    node["status"]["capacity"] |= {"example.com/fan": "3", "memory": "102400Mi", "cpu": "100000m"}
    assert changed(node, FACTS) is None


def test_addresses_replace_the_old_ones() -> None:
    patch = changed(stored(), replace(FACTS, internal_ip="192.0.2.8"))
    assert patch["addresses"][0] == {"$patch": "replace"}
    assert patch["addresses"][1:] == [{"type": "InternalIP", "address": "192.0.2.8"}, {"type": "Hostname", "address": "pi.lab"}]


def test_a_new_kernel_or_port_is_written() -> None:
    host = replace(HOST, boot_id="boot-2", kernel_version="6.6.1")
    patch = changed(stored(), replace(FACTS, host=host, port=10260))
    assert patch["nodeInfo"]["kernelVersion"] == "6.6.1"
    assert patch["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10260}}
    node = stored()
    node["status"]["nodeInfo"]["swap"] = {"capacity": 1}
    assert changed(node, FACTS) is None


def test_declared_features_are_sorted_and_unique() -> None:
    facts = replace(FACTS, declared_features=("Zeta", "Alpha", "Zeta"))
    assert changed(stored(), facts) == {"declaredFeatures": ["Alpha", "Zeta"]}
    assert changed(stored(facts), replace(facts, declared_features=())) == {"declaredFeatures": []}


def test_a_condition_of_our_own_is_told_and_those_of_others_are_left_alone() -> None:
    node = stored()
    node["status"]["conditions"].append({"type": "NetworkUnavailable", "status": "True", "reason": "NoRoute"})
    self_signed = NodeCondition("ServingCertificate", False, "SelfSigned", "nobody signed it")
    patch = status_patch(node, replace(FACTS, conditions=(self_signed,)), NOW + 1)
    assert patch is not None
    sent = {condition["type"]: condition for condition in patch["status"]["conditions"]}
    assert "NetworkUnavailable" not in sent
    assert sent["ServingCertificate"]["lastTransitionTime"] == "2026-01-01T00:00:01Z"
    assert sent["Ready"]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert sent["Ready"]["lastHeartbeatTime"] == "2026-01-01T00:00:01Z"


def test_ready_is_said_again_when_somebody_else_took_it_away() -> None:
    node = stored()
    node["status"]["conditions"][-1] |= {"status": "Unknown", "reason": "NodeStatusUnknown"}
    patch = status_patch(node, FACTS, NOW + 1)
    assert patch is not None
    assert patch["status"]["conditions"][-1]["status"] == "True"
    assert patch["status"]["conditions"][-1]["lastTransitionTime"] == "2026-01-01T00:00:01Z"


def test_a_condition_of_the_facts_replaces_the_standard_one() -> None:
    facts = replace(FACTS, conditions=(NodeCondition("Ready", False, "NoDevices", "no device is connected"),))
    ready = [c for c in node_object(facts, NOW)["status"]["conditions"] if c["type"] == "Ready"]
    assert [c["status"] for c in ready] == ["False"]


def test_conditions_are_a_heartbeat_every_five_minutes() -> None:
    assert heartbeat_due_s(stored(), FACTS, NOW + 1) == HEARTBEAT_S - 1
    assert status_patch(stored(), FACTS, NOW + HEARTBEAT_S - 1) is None
    assert changed(stored(), FACTS, NOW + HEARTBEAT_S) == {}


def test_heartbeats_go_on_after_the_clock_was_set_back() -> None:
    assert changed(stored(now=NOW + 86400), FACTS, NOW) == {}


@given(st.integers(1, 31), st.integers(0, 31), st.floats(0, 1e6))
def test_a_node_as_it_was_just_patched_needs_no_patch(capacity: int, allocatable: int, later: float) -> None:
    facts = replace(FACTS, classes={"esp32": ClassSlots(capacity, allocatable)})
    node, now = stored(), NOW + later
    patch = status_patch(node, facts, now)
    for name, value in ((patch or {}).get("status") or {}).items():
        node["status"][name] = {**node["status"][name], **value} if isinstance(value, dict) else value
    assert status_patch(node, facts, now) is None


@pytest.mark.parametrize(
    ("text", "taint"),
    [("virtual-kubelet.io/provider=wirelet:NoSchedule", DEFAULT_TAINT), ("lab:NoExecute", Taint("lab", "", "NoExecute"))],
)
def test_a_taint_is_written_as_kubectl_writes_it(text: str, taint: Taint) -> None:
    assert Taint.parse(text) == taint


@pytest.mark.parametrize("text", ["", "key=value", "key:Sometimes", ":NoSchedule", "=v:NoSchedule"])
def test_a_wrong_taint_says_what_is_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="NoSchedule, PreferNoSchedule, NoExecute"):
        Taint.parse(text)


def test_a_taint_that_an_old_node_lacks_is_named() -> None:
    node = stored()
    assert missing_taints(node, FACTS) == []
    node["spec"]["taints"] = [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]
    assert missing_taints(node, FACTS) == ["virtual-kubelet.io/provider=wirelet:NoSchedule"]


def test_labels_that_differ_are_patched_and_others_are_not_named() -> None:
    node = stored()
    node["metadata"]["labels"] |= {"room": "b12", "kubernetes.io/arch": "amd64"}
    assert metadata_patch(node, FACTS) == {"metadata": {"uid": "u", "labels": {"kubernetes.io/arch": "arm64"}}}


def test_the_machine_is_read_from_its_files(tmp_path: Path) -> None:
    for path, text in {
        "etc/machine-id": "0123456789abcdef\n",
        "etc/os-release": 'NAME=x\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "proc/sys/kernel/random/boot_id": "b007\n",
        "proc/device-tree/serial-number": "10000000abcdef\0",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    host = read_host(tmp_path)
    assert host.machine_id == "0123456789abcdef"
    assert host.system_uuid == "10000000abcdef"
    assert host.boot_id == "b007"
    assert host.os_image == "Debian GNU/Linux 12 (bookworm)"


def test_a_machine_without_these_files_still_has_an_identity() -> None:
    host = read_host()
    assert host.machine_id
    assert host.kernel_version
    assert host.architecture


def test_a_machine_id_comes_from_the_boot_when_the_image_has_none(tmp_path: Path) -> None:
    (tmp_path / "proc/sys/kernel/random").mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/random/boot_id").write_text("b0-07")
    assert read_host(tmp_path).machine_id == "b007"

"""From pod to program and claims, and what is left out or refused on the way."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from gateway.pods.env import References
from gateway.pods.fields import unknown_fields
from gateway.pods.refusal import TranslationError
from gateway.pods.seams import Claims, Program
from gateway.pods.translate import claims_of, translate
from gateway.pods.view import PodView
from gateway.tests.fakes_pods import NODE, pod

# As the ServiceAccount admission plug-in of a 1.36 API server writes them.
API_ACCESS = {
    "name": "kube-api-access-x7k2p",
    "projected": {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
            {"downwardAPI": {"items": [{"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}]}},
        ],
    },
}
API_MOUNT = {"name": "kube-api-access-x7k2p", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}
# What `kubectl run hello --image=hello` leaves in the API server.
KUBECTL_RUN: dict[str, Any] = {
    "containers": [
        {
            "image": "hello",
            "imagePullPolicy": "Always",
            "name": "hello",
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "volumeMounts": [API_MOUNT],
        }
    ],
    "dnsPolicy": "ClusterFirst",
    "enableServiceLinks": True,
    "nodeName": "pi-3",
    "preemptionPolicy": "PreemptLowerPriority",
    "priority": 0,
    "restartPolicy": "Always",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "serviceAccount": "default",
    "serviceAccountName": "default",
    "terminationGracePeriodSeconds": 30,
    "tolerations": [{"operator": "Exists"}],
    "volumes": [API_ACCESS],
}


def program_of(spec: dict[str, Any]) -> Program:
    view = PodView(pod(**spec))
    return translate(view, view.containers[0], References(), NODE)


def refusal(spec: dict[str, Any]) -> TranslationError:
    with pytest.raises(TranslationError) as caught:
        program_of(spec)
    return caught.value


def test_plain_kubectl_run_works_and_the_automatic_volume_is_left_out_silently() -> None:
    assert program_of(KUBECTL_RUN) == Program("hello")
    assert list(unknown_fields(PodView(pod(**KUBECTL_RUN)))) == []


def test_command_and_args_become_one_argv_expanded_with_the_containers_env() -> None:
    container = {
        "name": "main",
        "image": "lab/blink:1.2",
        "command": ["$(GREETING)", "$$(GREETING)"],
        "args": ["--to=$(WHO)", "$(UNKNOWN)"],
        "env": [{"name": "GREETING", "value": "hello"}, {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "tty": True,
        "stdin": True,
        "workingDir": "/srv",
    }
    assert program_of({"containers": [container]}) == Program(
        "lab/blink:1.2",
        ("hello", "$(GREETING)", "--to=p", "$(UNKNOWN)"),
        (("GREETING", "hello"), ("WHO", "p")),
        tty=True,
        stdin=True,
        working_dir="/srv",
    )


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"hostNetwork": True}, "spec.hostNetwork"),
        ({"hostPID": True}, "spec.hostPID"),
        ({"shareProcessNamespace": True}, "spec.shareProcessNamespace"),
        ({"runtimeClassName": "gvisor"}, "spec.runtimeClassName"),
        ({"volumes": [API_ACCESS, {"name": "data", "emptyDir": {}}]}, "spec.volumes[1].emptyDir"),
        ({"volumes": [{"name": "kube-api-access-fake", "hostPath": {"path": "/"}}]}, "spec.volumes[0].hostPath"),
        ({"volumes": [{**API_ACCESS, "projected": {"sources": [{"secret": {"name": "s"}}]}}]}, "spec.volumes[0].projected"),
    ],
)
def test_what_a_device_cannot_honour_is_refused_with_its_path(change: dict[str, Any], path: str) -> None:
    error = refusal({**copy.deepcopy(KUBECTL_RUN), **change})
    assert (error.reason, error.path, error.is_unsupported) == ("CreateContainerConfigError", path, True)
    assert error.message.endswith(f"({path})")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"readinessProbe": {"exec": {"command": ["true"]}}}, "readinessProbe"),
        ({"lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}, "lifecycle"),
        ({"restartPolicy": "Always"}, "restartPolicy"),
        ({"volumeMounts": [{**API_MOUNT, "mountPath": "/elsewhere"}]}, "volumeMounts[0]"),
        ({"image": ""}, "image"),
    ],
)
def test_a_containers_refused_field_is_named(change: dict[str, Any], key: str) -> None:
    spec = copy.deepcopy(KUBECTL_RUN)
    spec["containers"][0].update(change)
    assert refusal(spec).path == f"spec.containers[0].{key}"


def test_a_refusal_says_the_reason_once() -> None:
    spec = copy.deepcopy(KUBECTL_RUN)
    spec["containers"][0]["livenessProbe"] = {"exec": {"command": ["true"]}}
    told = "livenessProbe is refused: probes are not supported yet (spec.containers[0].livenessProbe)"
    assert refusal(spec).message == told


def test_false_and_empty_fields_are_as_good_as_absent() -> None:
    assert program_of({**KUBECTL_RUN, "hostNetwork": False, "runtimeClassName": None, "resourceClaims": []}) == Program("hello")


def test_claims_come_from_requests_and_limits_of_every_container() -> None:
    spec: dict[str, Any] = {
        "initContainers": [{"name": "init", "image": "hello"}],
        "containers": [
            {"name": "one", "image": "hello", "resources": {"limits": {"wirelet.dev/esp32": "1", "cpu": "2"}}},
            {"name": "two", "image": "hello", "resources": {"requests": {"wirelet.dev/sbc": 1}, "limits": {"wirelet.dev/sbc": "1"}}},
            {"name": "none", "image": "hello", "resources": {"requests": {"wirelet.dev/sbc": "0", "example.org/gpu": "1"}}},
        ],
    }
    pinned = pod(**spec)
    pinned["metadata"]["annotations"] = {"wirelet.dev/device": "board-a"}
    expected = Claims({"init": {}, "one": {"esp32": 1}, "two": {"sbc": 1}, "none": {}}, "board-a", frozenset({"init"}))
    assert claims_of(PodView(pinned)) == expected


@pytest.mark.parametrize(
    ("requests", "words"),
    [
        ({"wirelet.dev/esp32": "2"}, "wirelet.dev/esp32: 2 must be 1"),
        ({"wirelet.dev/esp32": "many"}, "is no quantity"),
        ({"wirelet.dev/esp32": "500m"}, "must be 1"),
        ({"wirelet.dev/esp32": "1", "wirelet.dev/sbc": "1"}, "cannot have all of wirelet.dev/esp32, wirelet.dev/sbc"),
    ],
)
def test_more_than_one_slot_for_a_container_is_refused(requests: dict[str, str], words: str) -> None:
    view = PodView(pod(containers=[{"name": "main", "image": "hello", "resources": {"requests": requests}}]))
    with pytest.raises(TranslationError, match=words) as caught:
        claims_of(view)
    assert caught.value.path.startswith("spec.containers[0].resources")


@pytest.mark.parametrize(("written", "log_bytes"), [("8Mi", 8 << 20), ("65536", 65536), ("", None)])
def test_a_pod_says_how_much_its_logs_may_take(written: str, log_bytes: int | None) -> None:
    assert claims_of(with_log_bytes(written)).log_bytes == log_bytes


@pytest.mark.parametrize("written", ["much", "0", "-1Mi", "0.5"])
def test_a_size_that_is_none_is_refused_with_its_key(written: str) -> None:
    with pytest.raises(TranslationError, match=r"metadata\.annotations\.wirelet\.dev/log-bytes"):
        claims_of(with_log_bytes(written))


@pytest.mark.parametrize(("written", "from_boot"), [("boot", True), ("start", False), ("", False)])
def test_a_pod_says_where_its_logs_begin(written: str, from_boot: bool) -> None:
    assert claims_of(with_annotation("wirelet.dev/log-from", written)).from_boot is from_boot


def test_a_place_where_no_log_begins_is_refused_with_its_key() -> None:
    with pytest.raises(TranslationError, match="yesterday must be start or boot") as caught:
        claims_of(with_annotation("wirelet.dev/log-from", "yesterday"))
    assert caught.value.path == "metadata.annotations.wirelet.dev/log-from"


def with_log_bytes(written: str) -> PodView:
    return with_annotation("wirelet.dev/log-bytes", written)


def with_annotation(name: str, written: str) -> PodView:
    made = pod()
    made["metadata"]["annotations"] = {name: written}
    return PodView(made)

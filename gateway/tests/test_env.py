"""The environment as the kubelet resolves it: expansion, references, downward fields."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pods.env import NeededReferences, References, needed_references, resolve_env
from gateway.pods.expansion import expand
from gateway.pods.node import NodeAddresses
from gateway.pods.quantity import parse_quantity
from gateway.pods.refusal import TranslationError
from gateway.pods.view import PodView
from gateway.tests.fakes_pods import pod

NODE = NodeAddresses("192.0.2.7", allocatable={"cpu": "4", "memory": "1Gi"})
REFERENCES = References(
    {"settings": {"mode": "fast", "a.b": "dotted"}, "gone": None},
    {"login": {"user": b"ada", "key": b"\xff\xfe"}, "gone": None},
)


def resolve(env: list[Any] | None = None, env_from: list[Any] | None = None, **container: Any) -> dict[str, str]:
    view = PodView(
        {
            **pod(containers=[{"name": "main", "image": "hello", "env": env, "envFrom": env_from, **container}], nodeName="pi-3"),
            "metadata": {
                "name": "p",
                "namespace": "lab",
                "uid": "u-1",
                "labels": {"app": "blink", "a/b.c": "x"},
                "annotations": {"note": "hi"},
            },
        }
    )
    return resolve_env(view, view.containers[0], REFERENCES, NODE)


def refusal(env: list[Any] | None = None, env_from: list[Any] | None = None, **container: Any) -> str:
    with pytest.raises(TranslationError) as caught:
        resolve(env, env_from, **container)
    assert caught.value.reason == "CreateContainerConfigError"
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # From the table of third_party/forked/golang/expansion/expand_test.go
        ("$(VAR_A)", "A"),
        ("___$(VAR_B)___", "___B___"),
        ("$(VAR_A)$(VAR_B)", "AB"),
        ("$$(VAR_B)_$(VAR_A)", "$(VAR_B)_A"),
        ("$$$(VAR_A)", "$A"),
        ("$$$$(VAR_A)", "$$(VAR_A)"),
        ("$VAR_A", "$VAR_A"),
        ("$(VAR_DNE)", "$(VAR_DNE)"),
        ("foo$(", "foo$("),
        ("foo$((VAR_A)", "foo$((VAR_A)"),
        ("$", "$"),
        ("$$", "$"),
        ("$?_boo_$!", "$?_boo_$!"),
        ("$(VAR_REF)", "$(VAR_A)"),
        ("$()", "$()"),
        ("$(VAR_EMPTY)end", "end"),
    ],
)
def test_expansion_is_that_of_kubernetes(text: str, expected: str) -> None:
    assert expand(text, {"VAR_A": "A", "VAR_B": "B", "VAR_REF": "$(VAR_A)", "VAR_EMPTY": ""}) == expected


def expand_by_hand(text: str, variables: dict[str, str]) -> str:
    """The same rules, read from left to right."""
    out, at = "", 0
    while at < len(text):
        if text.startswith("$$", at):
            out, at = out + "$", at + 2
        elif text.startswith("$(", at) and (end := text.find(")", at)) > 0:
            name = text[at + 2 : end]
            out, at = out + variables.get(name, text[at : end + 1]), end + 1
        elif text.startswith("$", at):
            out, at = out + text[at : at + 2], at + 2
        else:
            out, at = out + text[at], at + 1
    return out


@given(st.text(alphabet="$()AB\n", max_size=20))
def test_expansion_agrees_with_a_reader_from_left_to_right(text: str) -> None:
    variables = {"A": "1", "B": "$(A)", "AB": ""}
    assert expand(text, variables) == expand_by_hand(text, variables)


def test_env_overrides_env_from_and_sees_what_stands_before_it() -> None:
    env = resolve(
        [
            {"name": "mode", "value": "slow"},
            {"name": "LATER", "value": "$(AFTER)"},
            {"name": "AFTER", "value": "x"},
            {"name": "BOTH", "value": "$(mode)-$(CFG_mode)"},
            {"name": "EMPTY"},
        ],
        [{"configMapRef": {"name": "settings"}}, {"prefix": "CFG_", "configMapRef": {"name": "settings"}}],
    )
    assert env == {
        "a.b": "dotted",
        "mode": "slow",
        "CFG_a.b": "dotted",
        "CFG_mode": "fast",
        "LATER": "$(AFTER)",
        "AFTER": "x",
        "BOTH": "slow-fast",
        "EMPTY": "",
    }


@pytest.mark.parametrize(
    ("field_path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.namespace", "lab"),
        ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "blink"),
        ("metadata.labels['a/b.c']", "x"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['note']", "hi"),
        ("spec.nodeName", "pi-3"),
        ("spec.serviceAccountName", "default"),
        ("status.hostIP", "192.0.2.7"),
        ("status.hostIPs", "192.0.2.7"),
        ("status.podIP", "192.0.2.7"),
        ("status.podIPs", "192.0.2.7"),
    ],
)
def test_downward_fields(field_path: str, value: str) -> None:
    assert resolve([{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": field_path}}}]) == {"X": value}


@pytest.mark.parametrize(
    ("resource", "divisor", "value"),
    [
        ("limits.cpu", None, "2"),
        ("limits.cpu", "1m", "1500"),
        ("requests.cpu", "1m", "500"),
        ("limits.memory", "1Mi", "1024"),
        ("limits.memory", "0", "1073741824"),
        ("requests.memory", None, "0"),
    ],
)
def test_resource_fields_are_rounded_up_in_units_of_the_divisor(resource: str, divisor: str | None, value: str) -> None:
    reference = {"resource": resource, **({"divisor": divisor} if divisor else {})}
    resources = {"limits": {"cpu": "1500m"}, "requests": {"cpu": "0.5"}}
    assert resolve([{"name": "X", "valueFrom": {"resourceFieldRef": reference}}], resources=resources) == {"X": value}


def test_optional_references_without_a_target_leave_the_variable_out() -> None:
    env = [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "gone", "key": "k", "optional": True}}},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "none", "optional": True}}},
        {"name": "C", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "k", "optional": True}}},
        {"name": "D", "valueFrom": {"secretKeyRef": {"name": "login", "key": "user"}}},
    ]
    sources = [{"configMapRef": {"name": "gone", "optional": True}}, {"secretRef": {"name": "gone", "optional": True}}]
    assert resolve(env, sources) == {"D": "ada"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "gone", "key": "k"}}, 'configmap "gone" not found'),
        ({"secretKeyRef": {"name": "gone", "key": "k"}}, 'secret "gone" not found'),
        ({"configMapKeyRef": {"name": "settings", "key": "k"}}, "couldn't find key k in ConfigMap lab/settings"),
        ({"secretKeyRef": {"name": "login", "key": "k"}}, "couldn't find key k in Secret lab/login"),
        ({"fieldRef": {"fieldPath": "spec.volumes"}}, "field label not supported: spec.volumes"),
        ({"fileKeyRef": {"path": "x"}}, "is not supported on a device"),
    ],
)
def test_what_is_missing_is_said_in_the_kubelets_words_with_the_path(source: dict[str, Any], message: str) -> None:
    assert refusal([{"name": "OK", "value": "1"}, {"name": "X", "valueFrom": source}]) == (
        f"{message} (spec.containers[0].env[1].valueFrom.{next(iter(source))})"
    )


def test_a_binary_secret_is_refused_without_showing_it() -> None:
    message = refusal([{"name": "X", "valueFrom": {"secretKeyRef": {"name": "login", "key": "key"}}}])
    assert "not UTF-8" in message
    assert "\\xff" not in message


def test_a_name_no_variable_can_have_is_refused() -> None:
    assert "is not a name" in refusal([{"name": "A=B", "value": "1"}])


def test_only_what_the_container_refers_to_is_asked_for() -> None:
    container = {
        "name": "main",
        "image": "hello",
        "envFrom": [{"configMapRef": {"name": "c1"}}, {"secretRef": {"name": "s1"}}],
        "env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c2", "key": "k"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s2", "key": "k", "optional": True}}},
            {"name": "C", "value": "x"},
        ],
    }
    view = PodView(pod(containers=[container, {"name": "other", "image": "hello"}]))
    assert needed_references(view.containers[:1]) == NeededReferences(frozenset({"c1", "c2"}), frozenset({"s1", "s2"}))
    assert needed_references(view.containers[1:]) == NeededReferences()


@pytest.mark.parametrize("broken", ["", "abc", "1.2.3", "1kk", "1mi", "--1", "1e999", ".", "1 Gi", "9" * 31])
def test_a_broken_quantity_is_refused(broken: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        parse_quantity(broken)

"""Whether this node can ever run a pod that it has not run yet: what a kubelet's admission says, in its words. Pure.

The scheduler has looked already; this is for pods that name their node themselves, and for nodes that changed meanwhile. What a device
lacks is no business of this file, and neither are taints with another effect than NoExecute: those steer the scheduler only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.pods.reservations import Reservations
from gateway.pods.seams import AdmissionRejected, JsonObject
from gateway.pods.view import PodView

OS_LABEL: Final = "kubernetes.io/os"
DEFAULT_OS: Final = "linux"


def admit(pod: PodView, node: JsonObject | None, reservations: Reservations) -> None:
    """Raise AdmissionRejected with the first reason that the kubelet would give, in its words (pkg/kubelet/lifecycle/predicate.go).

    node is the Node object as it is now; without one (no cluster, or not read yet) only the operating system is looked at. Nothing is
    reserved. The kubelet stops other pods for a critical one; here a critical pod is rejected like any other.
    """
    labels: Mapping[str, str] = (node or {}).get("metadata", {}).get("labels") or {}
    system = labels.get(OS_LABEL, DEFAULT_OS)
    if pod.labels.get(OS_LABEL, system) != system:  # the pod's label, whatever the kubelet's function is named
        text = f"Failed to admit pod as the `{OS_LABEL}` label doesn't match node label"
        raise AdmissionRejected("PodOSSelectorNodeLabelDoesNotMatch", text)
    if ((pod.spec.get("os") or {}).get("name") or system) != system:
        raise AdmissionRejected("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    if node is None:
        return
    allocatable = (node.get("status") or {}).get("allocatable")
    if allocatable is not None:
        reservations.check(pod, allocatable)
    if not (_has_all(labels, pod.spec.get("nodeSelector") or {}) and _is_wanted(pod, node, labels)):
        raise _predicate_failed("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
    tolerations: Sequence[JsonObject] = pod.spec.get("tolerations") or ()
    for taint in (node.get("spec") or {}).get("taints") or ():
        if taint.get("effect") == "NoExecute" and not any(_tolerates(toleration, taint) for toleration in tolerations):
            raise _predicate_failed("TaintToleration", "node(s) had taints that the pod didn't tolerate")


def _predicate_failed(name: str, text: str) -> AdmissionRejected:
    return AdmissionRejected(name, f"Predicate {name} failed: {text}")


def _has_all(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())


def _is_wanted(pod: PodView, node: JsonObject, labels: Mapping[str, str]) -> bool:
    """Any term of the required node affinity matches, or there is none. A term without expressions matches nothing."""
    affinity = (pod.spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    fields = {"metadata.name": str(node["metadata"]["name"])}
    return any(_matches(term, labels, fields) for term in required.get("nodeSelectorTerms") or ())


def _matches(term: JsonObject, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    expressions: Sequence[JsonObject] = term.get("matchExpressions") or ()
    on_fields: Sequence[JsonObject] = term.get("matchFields") or ()
    if not expressions and not on_fields:
        return False
    return all(_holds(each, labels) for each in expressions) and all(_holds(each, fields) for each in on_fields)


def _holds(expression: JsonObject, values: Mapping[str, str]) -> bool:
    value = values.get(str(expression.get("key")))
    allowed: Sequence[str] = expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return value in allowed
        case "NotIn":
            return value not in allowed
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return _is_above(value, allowed[:1])
        case "Lt":
            return value is not None and any(_is_above(limit, [value]) for limit in allowed[:1])
    return False  # newer than this gateway: the scheduler knew it, and a match cannot be claimed


def _is_above(value: str | None, limits: Sequence[str]) -> bool:
    try:
        return value is not None and all(int(value) > int(limit) for limit in limits) and bool(limits)
    except ValueError:
        return False


def _tolerates(toleration: JsonObject, taint: JsonObject) -> bool:
    """Toleration.ToleratesTaint in k8s.io/api/core/v1."""
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("key") not in (None, "", taint.get("key")):
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")

"""What the admitted pods of this node hold of its cpu, memory, pods and the like, and whether one more fits: the kubelet's PodFitsResources
(fitsRequest in pkg/scheduler/framework/plugins/noderesources/fit.go), in its words. Pure.

A sum is kept, so that a start costs the same beside 5 pods and beside 500. Slots of devices are no business of this file: who has one is
known exactly (gateway.devices.allocation), and here would be guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gateway.pods.requests import CPU, MEMORY, Amounts, amounts_of, requests_of
from gateway.pods.seams import AdmissionRejected, PodUid
from gateway.pods.translate import RESOURCE_PREFIX
from gateway.pods.view import PodView

PODS: Final = "pods"
EPHEMERAL_STORAGE: Final = "ephemeral-storage"
_FIRST: Final = (CPU, MEMORY, EPHEMERAL_STORAGE)
"""In this order; the kubelet looks at the others in none."""


class Reservations:
    """hold() a pod when it is admitted, or was by an earlier life of the gateway; release() it when it is terminal or gone."""

    def __init__(self) -> None:
        self._held: dict[PodUid, Amounts] = {}
        self._sum = Amounts()

    def hold(self, pod: PodView) -> None:
        """Idempotent: requests of a pod do not change on a node that resizes none."""
        if pod.uid not in self._held:
            self._held[pod.uid] = requests_of(pod)
            self._sum += self._held[pod.uid]

    def release(self, uid: PodUid) -> None:
        """Idempotent."""
        if uid in self._held:
            self._sum -= self._held.pop(uid)

    def check(self, pod: PodView, allocatable: Mapping[str, Any]) -> None:
        """Raise AdmissionRejected when pod does not fit beside those that are held. One that is held fits."""
        if pod.uid in self._held:
            return
        there = amounts_of(allocatable)
        if len(self._held) + 1 > there[PODS]:
            raise _out_of(PODS, 1, len(self._held), there[PODS])
        requests = requests_of(pod)
        for resource in (*_FIRST, *sorted(requests.keys() - _FIRST)):
            if _counts(resource, there) and 0 < requests[resource] > there[resource] - self._sum[resource]:
                raise _out_of(resource, requests[resource], self._sum[resource], there[resource])


def _counts(resource: str, there: Amounts) -> bool:
    """An extended resource that the node does not have is the whole cluster's, or nobody's, and lets the pod in."""
    if resource.startswith(RESOURCE_PREFIX):
        return False
    return resource in there or "/" not in resource


def _out_of(resource: str, requested: int, used: int, capacity: int) -> AdmissionRejected:
    text = f"Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
    return AdmissionRejected(f"OutOf{resource}", text)

"""What a pod needs of its node, as scheduler and kubelet count it (PodRequests in k8s.io/component-helpers/resource/helpers.go). Pure.

Regular containers run at once and are summed; init containers run one after another, beside the sidecars that stand before them, so that
the largest moment of the start counts if it is larger. It says what is asked for and judges nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from gateway.pods.quantity import parse_quantity
from gateway.pods.view import PodView

CPU: Final = "cpu"
MEMORY: Final = "memory"
HUGE_PAGES_PREFIX: Final = "hugepages-"
_OF_WHOLE_PODS: Final = frozenset({CPU, MEMORY})

Amounts: TypeAlias = Counter[str]
"""Resource -> how much: thousandths of a processor, else whole units. Both are rounded up, as the kubelet does."""


def requests_of(pod: PodView) -> Amounts:
    """What the pod needs at its busiest moment, with its overhead."""
    needed, sidecars, at_start = Amounts(), Amounts(), Amounts()
    for container in pod.containers:
        needed += amounts_of(container.resources("requests"))
    for container in pod.init_containers:
        own = amounts_of(container.resources("requests"))
        if container.is_sidecar:
            needed += own
            sidecars += own
            at_start |= sidecars
        else:
            at_start |= own + sidecars
    needed |= at_start
    for resource, amount in amounts_of((pod.spec.get("resources") or {}).get("requests") or {}).items():
        if resource in _OF_WHOLE_PODS or resource.startswith(HUGE_PAGES_PREFIX):
            needed[resource] = amount  # for the pod as a whole, instead of the sum of its containers
    return needed + amounts_of(pod.spec.get("overhead") or {})


def amounts_of(quantities: Mapping[str, Any]) -> Amounts:
    """A ResourceList as numbers. What is no quantity counts nothing: the API server would not have taken it."""
    amounts = Amounts()
    for resource, written in quantities.items():
        try:
            size = parse_quantity(written)
        except ValueError:
            continue
        amounts[resource] = math.ceil(size * 1000 if resource == CPU else size)
    return amounts

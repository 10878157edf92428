"""What pods are told about the node they run on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from gateway.pods.seams import JsonObject

NodeLookup: TypeAlias = Callable[[], JsonObject | None]
"""The Node object as it is now; None where there is no cluster, and until it was read."""


@dataclass(frozen=True, slots=True)
class NodeAddresses:
    """host_ip is the gateway's address; pods without an address of their own have it as podIP too (pod_ip empty).

    Services to pods behind a serial line lead nowhere, but a Ready pod must have a podIP.
    """

    host_ip: str
    pod_ip: str = ""
    allocatable: Mapping[str, str] = field(default_factory=dict)
    """cpu, memory ... of the node: what resourceFieldRef gives for a limit that is not set."""

    @property
    def pod_address(self) -> str:
        return self.pod_ip or self.host_ip

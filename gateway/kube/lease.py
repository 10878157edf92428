"""The node's heartbeat: one Lease in kube-node-lease, renewed every 10 s and owned by the Node, so that it goes when the node goes.

While there is no Node there is no lease: one without a node would say that something lives which the cluster does not know.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import anyio

from gateway.kube.api import KubeApi, PatchKind
from gateway.kube.backoff import Backoff
from gateway.kube.errors import AlreadyExists, KubeApiError, NotFound, TooManyRequests
from gateway.pods.seams import JsonObject

_logger = logging.getLogger(__name__)

LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
DURATION_S: Final = 40
RENEW_S: Final = 10.0
"""The kubelet's values: nodeLeaseDurationSeconds and a quarter of it."""
RETRY_CAP_S: Final = 7.0
"""The kubelet's maxBackoff; three tries fit before the lease runs out."""


class NodeLease:
    """node_uid says the uid of the Node object, or None while there is none. run() renews until cancelled."""

    def __init__(
        self,
        api: KubeApi,
        node_name: str,
        node_uid: Callable[[], str | None],
        *,
        now: Callable[[], float] = time.time,
        renew_s: float = RENEW_S,
    ) -> None:
        self._api = api
        self._node_name = node_name
        self._node_uid = node_uid
        self._now = now
        self._renew_s = renew_s
        self._trouble = ""
        self._owner: str | None = None
        """The uid that the stored lease names as its owner."""

    async def run(self) -> None:
        backoff = Backoff(cap_s=RETRY_CAP_S)
        while True:
            try:
                await self.renew()
            except KubeApiError as error:
                if str(error) != self._trouble:
                    _logger.warning("cannot renew the lease: %s", error)
                    self._trouble = str(error)
                await anyio.sleep(max(backoff.next_s(), error.retry_after_s if isinstance(error, TooManyRequests) else 0.0))
            else:
                backoff.reset()
                self._trouble = ""
                await anyio.sleep(self._renew_s if self._node_uid() is not None else min(1.0, self._renew_s))

    async def renew(self) -> None:
        """Make the lease or renew it, once; nothing without a node. Raises KubeApiError."""
        uid = self._node_uid()
        if uid is None:
            return
        try:
            await self._api.patch(f"{LEASES}/{self._node_name}", self._patch(uid), PatchKind.MERGE)
        except NotFound:
            await self._create(uid)
        self._owner = uid

    async def _create(self, uid: str) -> None:
        try:
            await self._api.create(LEASES, self._object(uid))
        except AlreadyExists:  # between our two requests; the next renewal finds it
            _logger.info("the lease was made by someone else")

    def _patch(self, uid: str) -> JsonObject:
        spec: JsonObject = {"renewTime": _micro_time(self._now())}
        if uid == self._owner:
            return {"spec": spec}
        # The first renewal of a life: whatever is stored, it becomes ours.
        return {"metadata": {"ownerReferences": [self._owner_reference(uid)]}, "spec": self._identity() | spec}

    def _object(self, uid: str) -> JsonObject:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._node_name, "namespace": "kube-node-lease", "ownerReferences": [self._owner_reference(uid)]},
            "spec": self._identity() | {"renewTime": _micro_time(self._now())},
        }

    def _identity(self) -> JsonObject:
        return {"holderIdentity": self._node_name, "leaseDurationSeconds": DURATION_S}

    def _owner_reference(self, uid: str) -> JsonObject:
        return {"apiVersion": "v1", "kind": "Node", "name": self._node_name, "uid": uid}


def _micro_time(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

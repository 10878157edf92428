"""The heartbeat lives with the Node: made, renewed, made again."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from gateway.kube.errors import Unavailable
from gateway.kube.lease import LEASES, NodeLease
from gateway.tests.kube_server import Answer, kube_server

LEASE = f"{LEASES}/pi"
NOT_FOUND = Answer(404, {"kind": "Status", "reason": "NotFound"})


async def test_the_first_renewal_finds_nothing_and_makes_the_lease(tmp_path: Path) -> None:
    async with kube_server(tmp_path) as (server, api):
        server.will("PATCH", LEASE, NOT_FOUND, Answer())
        server.will("POST", LEASES, Answer(201))
        lease = NodeLease(api, "pi", lambda: "uid-1", now=lambda: 1_767_225_600.25)
        await lease.renew()
        await lease.renew()
    (made,) = server.seen("POST", LEASES)
    assert made.body["spec"] == {"holderIdentity": "pi", "leaseDurationSeconds": 40, "renewTime": "2026-01-01T00:00:00.250000Z"}
    assert made.body["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Node", "name": "pi", "uid": "uid-1"}]
    assert server.asked[-1].body == {"spec": {"renewTime": "2026-01-01T00:00:00.250000Z"}}


async def test_a_lease_of_a_former_life_becomes_ours_by_the_first_renewal(tmp_path: Path) -> None:
    uid = "uid-1"
    async with kube_server(tmp_path) as (server, api):
        server.will("PATCH", LEASE, Answer())
        lease = NodeLease(api, "pi", lambda: uid, now=lambda: 0.0)
        await lease.renew()
        await lease.renew()
        uid = "uid-2"  # the Node was deleted and made again
        await lease.renew()
    owners = [asked.body.get("metadata", {}).get("ownerReferences", [{}])[0].get("uid") for asked in server.asked]
    assert owners == ["uid-1", None, "uid-2"]


async def test_without_a_node_there_is_no_lease(tmp_path: Path) -> None:
    async with kube_server(tmp_path) as (server, api):
        await NodeLease(api, "pi", lambda: None).renew()
    assert server.asked == []


async def test_two_that_make_it_at_once_are_no_error(tmp_path: Path) -> None:
    async with kube_server(tmp_path) as (server, api):
        server.will("PATCH", LEASE, NOT_FOUND)
        server.will("POST", LEASES, Answer(409, {"kind": "Status", "reason": "AlreadyExists"}))
        await NodeLease(api, "pi", lambda: "uid-1").renew()


async def test_renewals_go_on_after_the_server_was_away(tmp_path: Path) -> None:
    async with kube_server(tmp_path) as (server, api):
        server.will("PATCH", LEASE, Answer(503), Answer(429, {}, {"Retry-After": "0"}), Answer())
        lease = NodeLease(api, "pi", lambda: "uid-1", renew_s=0.0)
        with pytest.raises(Unavailable):
            await lease.renew()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lease.run)
            await server.until("PATCH", LEASE, 5)
            tasks.cancel_scope.cancel()

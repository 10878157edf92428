"""The Node by the API: a refusal tells that it is gone, or another one, before the watch does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.kube.node import NODES, KubeNode
from gateway.pods.seams import SourceUnavailable
from gateway.tests.kube_server import Answer, WatchAnswer, kube_server

NODE: dict[str, Any] = {"metadata": {"name": "pi", "uid": "u", "resourceVersion": "1", "managedFields": [1]}}
PATCH = {"metadata": {"uid": "u"}, "status": {}}


async def patch_refused(folder: Path, answer: Answer) -> KubeNode:
    """The Node of an API server that knows it and refuses a patch."""
    async with kube_server(folder) as (server, api), anyio.create_task_group() as tasks:
        server.will("GET", NODES, Answer(200, {"metadata": {"resourceVersion": "1"}, "items": [NODE]}))
        server.will("WATCH", NODES, WatchAnswer([], ends=anyio.Event()))
        server.will("PATCH", f"{NODES}/pi/status", answer)
        node = KubeNode(api, "pi")
        tasks.start_soon(node.run)
        (watch,) = await server.until("WATCH", NODES, 1)
        assert watch.query["fieldSelector"] == "metadata.name=pi"
        assert node.uid() == "u"
        with pytest.raises(SourceUnavailable):
            await node.patch(PATCH, "status")
        tasks.cancel_scope.cancel()
    return node


async def test_a_node_that_was_deleted_is_forgotten(tmp_path: Path) -> None:
    node = await patch_refused(tmp_path, Answer(404, {"kind": "Status", "reason": "NotFound"}))
    assert node.get() is None


async def test_a_node_that_was_made_again_is_forgotten(tmp_path: Path) -> None:
    causes = {"causes": [{"field": "metadata.uid"}]}
    node = await patch_refused(tmp_path, Answer(422, {"kind": "Status", "reason": "Invalid", "details": causes}))
    assert node.get() is None


@pytest.mark.parametrize(
    "answer",
    [
        Answer(503),
        Answer(404, b"404 page not found\n"),
        Answer(422, {"kind": "Status", "details": {"causes": [{"field": "status.addresses"}]}}),
    ],
)
async def test_a_refusal_for_another_reason_changes_nothing(tmp_path: Path, answer: Answer) -> None:
    node = await patch_refused(tmp_path, answer)
    assert node.uid() == "u"

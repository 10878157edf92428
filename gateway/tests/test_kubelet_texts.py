"""Golden texts: what `kubectl logs` shows when there is no log, word for word as the kubelet of Kubernetes 1.36.3 says it.

Each row names the line of the kubelet's source. Where that source is in Go's module cache (it is after `make test` has built the control
plane) the line is looked up.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.kubelet.container_logs import ContainerLogsHandler
from gateway.kubelet.exchange import Peer, Request, RequestRefused, parse_target
from gateway.tests.endpoint_fakes import FakeLogs, FakePods, pod

SOURCE: Final = Path(os.environ.get("GOMODCACHE") or Path.home() / "go" / "pkg" / "mod") / "k8s.io" / "kubernetes@v1.36.3"
SERVER: Final = "pkg/kubelet/server/server.go"
PODS: Final = "pkg/kubelet/kubelet_pods.go"


@dataclass(frozen=True)
class Golden:
    """What the kubelet says at file:line, and how to make this gateway say it: the container's status and the query."""

    file: str
    line: int
    said: str
    words: tuple[str, ...] = ()
    status: int = 400
    entry: dict[str, Any] | None = None
    query: str = ""
    name: str = "p"
    container: str = "c"

    @property
    def text(self) -> str:
        words = iter(self.words)
        return re.sub(r"%[qv]", lambda verb: f'"{next(words)}"' if verb[0] == "%q" else next(words), self.said)


def waiting(reason: str, **more: Any) -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason}}, **more}


RUNNING: Final = {"state": {"running": {}}, "containerID": "wirelet://p-c-1"}
CP: Final = ("c", "p")
GOLDEN: Final = [
    Golden(SERVER, 817, '{"message": "Unable to decode query."}', query="tailLines=ten"),
    Golden(SERVER, 829, '{"message": "Invalid request."}', status=422, query="limitBytes=0"),
    Golden(SERVER, 835, "pod %q does not exist", ("x",), 404, name="x"),
    Golden(SERVER, 840, "container %q not found in pod %q", ("x", "p"), 404, container="x"),
    Golden(
        SERVER,
        874,
        "unable to return the given log stream: %q. Please enable PodLogsQuerySplitStreams feature gate in kubelet",
        ("Stdout",),
        query="stream=Stdout",
        entry=RUNNING,
    ),
    Golden(PODS, 1539, "container %q in pod %q is not available", CP),
    Golden(PODS, 1547, "previous terminated container %q in pod %q not found", CP, query="previous=true", entry=RUNNING),
    Golden(PODS, 1560, "container %q in pod %q is terminated", CP, entry={"state": {"terminated": {"containerID": ""}}}),
    Golden(PODS, 1568, "container %q in pod %q is terminated", CP, entry=waiting("", lastState={"terminated": {"containerID": ""}})),
    Golden(PODS, 1576, "container %q in pod %q is waiting to start: image can't be pulled", CP, entry=waiting("ErrImagePull")),
    Golden(
        PODS, 1578, "container %q in pod %q is waiting to start: trying and failing to pull image", CP, entry=waiting("ImagePullBackOff")
    ),
    Golden(PODS, 1580, "container %q in pod %q is waiting to start: %v", (*CP, "PodInitializing"), entry=waiting("PodInitializing")),
    Golden(PODS, 1584, "container %q in pod %q is waiting to start - no logs yet", CP, entry={"state": {}}),
]


def place(golden: Golden) -> str:
    return f"{Path(golden.file).name}:{golden.line}"


@pytest.mark.parametrize("golden", GOLDEN, ids=place)
async def test_the_text_is_the_kubelets(golden: Golden) -> None:
    statuses = [] if golden.entry is None else [{"name": "c", **golden.entry}]
    handler = ContainerLogsHandler(FakePods([pod("p", "c", containerStatuses=statuses)]), FakeLogs())
    path, query = parse_target(f"/containerLogs/default/{golden.name}/{golden.container}?{golden.query}".encode())
    with pytest.raises(RequestRefused) as caught:
        await handler(Request("GET", path, query, {}, Peer("x")), ("default", golden.name, golden.container))
    assert (caught.value.reply.status, caught.value.reply.body.decode()) == (golden.status, golden.text)


@pytest.mark.skipif(not SOURCE.is_dir(), reason="the kubelet's source is not in Go's module cache")
@pytest.mark.parametrize("golden", GOLDEN, ids=place)
def test_the_kubelet_says_it_at_this_line(golden: Golden) -> None:
    line = (SOURCE / golden.file).read_text().splitlines()[golden.line - 1]
    assert golden.said in line
